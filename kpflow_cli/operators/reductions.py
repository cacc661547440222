"""Operators reduced over some of their named axes (trial, time, unit), in both senses of Fig. 7
(arXiv 2605.08746), and blocks of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from kpflow_cli.operators.base import LinearOperator

# products of F that a partial trace is summed over at a time
_COLUMNS_AT_ONCE = 32


def mean_over(operator: LinearOperator, *names: str) -> LinearOperator:
    """The ``mean`` reduction E^* A E: apply A to tensors constant along the named axes and average
    the result along them (arXiv 2605.08746, Fig. 7). E is the isometry onto such tensors.

    Args:
        operator: A, on one space.
        names: axes of ``operator.axes``, such as ``"trial"``, ``"time"``, ``"unit"``.

    Returns:
        An operator on the axes that stay.

    Raises:
        ValueError: for a name that is no axis of the operator.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> ntk = kp.GramOperator(kp.DenseOperator(torch.eye(24), out_shape=(2, 3, 4)))
        >>> kp.mean_over(ntk, "unit").in_shape, kp.mean_over(ntk, "trial", "time").in_shape
        ((2, 3), (4,))
    """
    constant = AxisConstant(operator, *names)
    return constant.adjoint @ operator @ constant


def trace_over(operator: LinearOperator, *names: str) -> PartialTrace:
    """The ``trace`` reduction: the partial trace over the named axes, which does not depend on a
    basis and keeps the trace (arXiv 2605.08746, Fig. 7).

    Args:
        operator: A, on one space.
        names: axes of ``operator.axes``, such as ``"trial"``, ``"time"``, ``"unit"``.

    Returns:
        An operator on the axes that stay.

    Raises:
        ValueError: for a name that is no axis of the operator.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> ntk = kp.GramOperator(kp.DenseOperator(torch.eye(24), out_shape=(2, 3, 4)))
        >>> kp.trace_over(ntk, "trial", "time").dense().diagonal().tolist()
        [6.0, 6.0, 6.0, 6.0]
    """
    return PartialTrace(operator, *names)


def restrict(operator: LinearOperator, **indices: int | slice | Sequence[int]) -> LinearOperator:
    """The block of an operator at chosen indices of named axes. Every axis stays; a single index
    leaves it with size 1.

    Args:
        operator: A, on one space.
        indices: an index, a slice or several indices by the name of an axis.

    Returns:
        An operator on the block.

    Raises:
        ValueError: for an axis that the operator does not have, or an index outside of it.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> ntk = kp.GramOperator(kp.DenseOperator(torch.eye(24), out_shape=(2, 3, 4)))
        >>> kp.restrict(ntk, trial=0, time=slice(1, 3)).in_shape
        (1, 2, 4)
    """
    block = _Block(operator, indices)
    return block.adjoint @ operator @ block


class AxisConstant(LinearOperator):
    """E: tensors on the kept axes to tensors constant along the reduced ones, divided by sqrt(their
    size).
    """

    symbol = "E"

    def __init__(self, operator: LinearOperator, *names: str) -> None:
        self.out_shape = operator.in_shape
        kept, self._reduced = _split_axes(operator, names)
        self.in_shape = tuple(self.out_shape[axis] for axis in kept)
        self.dtype, self.device = operator.dtype, operator.device
        self._axes = tuple(operator.axes[axis] for axis in kept)
        self._scale = math.prod(self.out_shape[axis] for axis in self._reduced) ** -0.5

    @property
    def axes(self) -> tuple[str, ...]:
        """The kept axes."""
        return self._axes

    def _apply(self, block: Tensor) -> Tensor:
        for axis in self._reduced:
            block = block.unsqueeze(axis + 1)
        return (block * self._scale).expand(-1, *self.out_shape).contiguous()

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return block.sum(dim=[axis + 1 for axis in self._reduced]) * self._scale


class _Block(LinearOperator):
    """E: tensors on a block to tensors that are zero outside of it."""

    symbol = "E"

    def __init__(
        self, operator: LinearOperator, indices: dict[str, int | slice | Sequence[int]]
    ) -> None:
        self.out_shape = operator.in_shape
        self.dtype, self.device = operator.dtype, operator.device
        self._axes = operator.axes
        chosen = {
            axis: indices[operator.axes[axis]]
            for axis in _split_axes(operator, tuple(indices), at_least=0)[1]
        }
        everything = slice(None)
        self._index = [
            _positions(chosen.get(axis, everything), size, operator.axes[axis])
            for axis, size in enumerate(self.out_shape)
        ]
        self.in_shape = tuple(len(positions) for positions in self._index)

    @property
    def axes(self) -> tuple[str, ...]:
        """Those of the whole."""
        return self._axes

    def _apply(self, block: Tensor) -> Tensor:
        whole = block.new_zeros(len(block), *self.out_shape)
        whole[self._grid(len(block))] = block
        return whole

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return block[self._grid(len(block))]

    def _grid(self, probes: int) -> tuple[Tensor, ...]:
        return torch.meshgrid(torch.arange(probes), *self._index, indexing="ij")


def _positions(index: int | slice | Sequence[int], size: int, name: str) -> Tensor:
    if isinstance(index, slice):
        return torch.arange(size)[index]
    positions = torch.tensor([index] if isinstance(index, int) else list(index))
    if bool(((positions < -size) | (positions >= size)).any()):
        raise ValueError(f"{name}={index}: outside of {size} indices")
    return positions % size


class PartialTrace(LinearOperator):
    """M = sum_i (I (x) e_i^T) A (I (x) e_i), the partial trace of A over the named axes, on tensors
    on the kept ones.

    A product costs as many products of A as the reduced axes have indices; estimates of M's trace,
    Frobenius norm and effective rank take a cheaper way where A = F F^*.

    Attributes:
        operator: A.
        kept: indices of the kept axes.
        reduced: indices of the reduced axes.
    """

    def __init__(self, operator: LinearOperator, *names: str) -> None:
        self.operator = operator
        self.kept, self.reduced = _split_axes(operator, names)
        self.in_shape = self.out_shape = tuple(operator.in_shape[axis] for axis in self.kept)
        self.dtype, self.device = operator.dtype, operator.device

    @property
    def axes(self) -> tuple[str, ...]:
        """The kept axes."""
        return tuple(self.operator.axes[axis] for axis in self.kept)

    def dense(self) -> Tensor:
        """The matrix; where A = F F^* with fewer columns than rows, from one product a column: the
        sum of Y Y^T over the columns Y.
        """
        factor = self.operator.gram_factor
        if factor is None or factor.in_size > self.operator.in_size:
            return super().dense()
        matrix = torch.zeros(self.in_size, self.in_size, dtype=self.dtype, device=self.device)
        order = [0, *(axis + 1 for axis in (*self.kept, *self.reduced))]
        for start in range(0, factor.in_size, _COLUMNS_AT_ONCE):
            columns = torch.arange(
                start, min(start + _COLUMNS_AT_ONCE, factor.in_size), device=self.device
            )
            impulses = torch.zeros(
                len(columns), factor.in_size, dtype=self.dtype, device=self.device
            )
            impulses.scatter_(1, columns.unsqueeze(1), 1.0)
            images = factor.matblock(impulses.view(-1, *factor.in_shape)).permute(order)
            by_kept = images.reshape(len(columns), self.in_size, -1).transpose(0, 1).flatten(1)
            matrix.addmm_(by_kept, by_kept.T)
        return matrix

    def _apply(self, block: Tensor) -> Tensor:
        return self._sum(self.operator, block)

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return self._sum(self.operator.adjoint, block)

    def _sum(self, operator: LinearOperator, block: Tensor) -> Tensor:
        total = torch.zeros_like(block)
        for index in self._reduced_indices():
            whole = block.new_zeros(len(block), *operator.in_shape)
            whole[index] = block
            total += operator.matblock(whole)[index]
        return total

    def _reduced_indices(self) -> Iterator[tuple[slice | int, ...]]:
        """An index into a block of A's domain for each index of the reduced axes."""
        sizes = [self.operator.in_shape[axis] for axis in self.reduced]
        for position in (
            torch.cartesian_prod(*(torch.arange(size) for size in sizes))
            .reshape(-1, len(sizes))
            .tolist()
        ):
            at = dict(zip(self.reduced, position, strict=True))
            yield (
                slice(None),
                *(at.get(axis, slice(None)) for axis in range(len(self.operator.in_shape))),
            )

    def __str__(self) -> str:
        names = ", ".join(self.operator.axes[axis] for axis in self.reduced)
        return f"tr_{{{names}}}({self.operator})"


def _split_axes(
    operator: LinearOperator, names: tuple[str, ...], *, at_least: int = 1
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Indices of the kept and of the named axes, ascending. Raises ValueError for an unknown name
    or fewer names than ``at_least``.
    """
    if operator.in_shape != operator.out_shape:
        raise ValueError(
            f"{operator} maps {operator.in_shape} to {operator.out_shape}: only an operator on "
            "one space is reduced"
        )
    unknown = [name for name in names if name not in operator.axes]
    if unknown or len(set(names)) != len(names) or len(names) < at_least:
        raise ValueError(
            f"{operator}: no reduction over {', '.join(unknown or names) or 'no axis'}; its axes "
            f"are {', '.join(operator.axes)}"
        )
    named = tuple(axis for axis, name in enumerate(operator.axes) if name in names)
    return tuple(axis for axis in range(len(operator.axes)) if axis not in named), named
