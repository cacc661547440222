"""Operators of known structure: the identity, an explicit matrix, tensor products, and what other
libraries call an operator.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from kpflow_cli.operators.base import TENSOR, LinearOperator


class Identity(LinearOperator):
    """I on tensors of one shape.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> kp.Identity((2, 3), dtype=torch.float64)
        <I: (2, 3) -> (2, 3), torch.float64>
    """

    symbol = "I"

    def __init__(
        self, shape: tuple[int, ...], *, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> None:
        self.in_shape = self.out_shape = shape
        self.dtype, self.device = dtype, torch.device(device)

    def _apply(self, block: Tensor) -> Tensor:
        return block

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return block

    @property
    def adjoint(self) -> LinearOperator:
        """The identity itself."""
        return self

    @property
    def gram_factor(self) -> LinearOperator:
        """I = I I^*."""
        return self


class DenseOperator(LinearOperator):
    """A matrix ``(prod(out_shape), prod(in_shape))`` as an operator; shapes default to flat
    vectors, ``symbol`` is its name in formulas. Raises ValueError where they do not fit.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> kp.DenseOperator(torch.ones(6, 2), out_shape=(2, 3), symbol="V")
        <V: (2,) -> (2, 3), torch.float32>
    """

    def __init__(
        self,
        matrix: Tensor,
        in_shape: tuple[int, ...] | None = None,
        out_shape: tuple[int, ...] | None = None,
        *,
        symbol: str = "A",
    ) -> None:
        self.matrix, self.symbol = matrix, symbol
        self.in_shape = in_shape or (matrix.shape[1],)
        self.out_shape = out_shape or (matrix.shape[0],)
        if (math.prod(self.out_shape), math.prod(self.in_shape)) != tuple(matrix.shape):
            raise ValueError(
                f"a {tuple(matrix.shape)} matrix cannot map shape {self.in_shape} to "
                f"{self.out_shape}"
            )
        self.dtype, self.device = matrix.dtype, matrix.device

    def _apply(self, block: Tensor) -> Tensor:
        return (block.flatten(1) @ self.matrix.T).reshape(-1, *self.out_shape)

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return (block.flatten(1) @ self.matrix).reshape(-1, *self.in_shape)


class TensorProduct(LinearOperator):
    """A (x) B on tensors of shape ``(*A.in_shape, *B.in_shape)``: A acts on the leading axes, B on
    the trailing ones. Raises ValueError where dtypes or devices differ.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> v = kp.DenseOperator(torch.ones(3, 2), symbol="V")
        >>> print(kp.TensorProduct(v @ v.adjoint, kp.Identity((4,), dtype=torch.float32)))
        V V^* (x) I
    """

    binding = TENSOR

    def __init__(self, first: LinearOperator, second: LinearOperator) -> None:
        if (first.dtype, first.device) != (second.dtype, second.device):
            raise ValueError(
                f"{first} is of {first.dtype} on {first.device}, {second} of {second.dtype} on "
                f"{second.device}"
            )
        self.first, self.second = first, second
        self.in_shape, self.out_shape = (
            (*first.in_shape, *second.in_shape),
            (*first.out_shape, *second.out_shape),
        )
        self.dtype, self.device = first.dtype, first.device

    def _apply(self, block: Tensor) -> Tensor:
        return _on_trailing(self.second, _on_leading(self.first, block))

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return _on_trailing(self.second.adjoint, _on_leading(self.first.adjoint, block))

    @property
    def gram_factor(self) -> LinearOperator | None:
        """F (x) G of A = F F^* and B = G G^*."""
        factors = self.first.gram_factor, self.second.gram_factor
        return (
            None
            if factors[0] is None or factors[1] is None
            else TensorProduct(factors[0], factors[1])
        )

    def __str__(self) -> str:
        return f"{self.first._within(TENSOR)} (x) {self.second._within(TENSOR)}"


def _on_leading(operator: LinearOperator, block: Tensor) -> Tensor:
    """The operator on axes 1, 2, ... of a block, whatever follows them."""
    if isinstance(operator, Identity):
        return block
    trailing = block.shape[1 + len(operator.in_shape) :]
    columns = block.reshape(len(block), operator.in_size, math.prod(trailing))
    if isinstance(operator, DenseOperator):
        return (operator.matrix @ columns).reshape(len(block), *operator.out_shape, *trailing)
    images = operator._apply(columns.mT.reshape(-1, *operator.in_shape))
    return images.reshape(len(block), columns.shape[2], operator.out_size).mT.reshape(
        len(block), *operator.out_shape, *trailing
    )


def _on_trailing(operator: LinearOperator, block: Tensor) -> Tensor:
    """The operator on the last axes of a block."""
    if isinstance(operator, Identity):
        return block
    leading = block.shape[: block.ndim - len(operator.in_shape)]
    return operator._apply(block.reshape(-1, *operator.in_shape)).reshape(
        *leading, *operator.out_shape
    )


class WrappedOperator(LinearOperator):
    """Any object with ``matvec`` and an adjoint: ``adjoint`` (an object with ``matvec``, or a
    method that returns one) or ``rmatvec``.

    That of scipy.sparse.linalg, which takes flat numpy vectors, is one; shapes and dtype are those
    of the object where it has a ``shape`` and ``dtype``. Tensors go in as they are, or as numpy
    arrays if ``as_numpy``. Raises ValueError for an object without a shape where none is given.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> theirs = kp.DenseOperator(torch.ones(3, 2, dtype=torch.float64))
        >>> kp.WrappedOperator(theirs, in_shape=(2,), out_shape=(3,)).dense().shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        wrapped: Any,
        *,
        in_shape: tuple[int, ...] | None = None,
        out_shape: tuple[int, ...] | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        as_numpy: bool = False,
        symbol: str = "A",
    ) -> None:
        shape: Any = getattr(wrapped, "shape", None)
        if shape is None and (in_shape is None or out_shape is None):
            raise ValueError(
                f"{type(wrapped).__name__} has no shape of its own: give in_shape and out_shape"
            )
        rows, columns = shape if shape is not None else (0, 0)
        self.in_shape, self.out_shape = in_shape or (columns,), out_shape or (rows,)
        self.dtype, self.device, self.symbol = dtype, torch.device(device), symbol
        self._product = wrapped.matvec
        self._adjoint_product = _adjoint_product(wrapped)
        self._as_numpy = as_numpy

    def _apply(self, block: Tensor) -> Tensor:
        return self._images(self._product, block, self.out_shape)

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return self._images(self._adjoint_product, block, self.in_shape)

    def _images(self, product: Any, block: Tensor, shape: tuple[int, ...]) -> Tensor:
        images = block.new_empty(len(block), *shape)
        for image, vector in zip(images, block, strict=True):
            found = product(vector.flatten().cpu().numpy() if self._as_numpy else vector)
            image.copy_(torch.as_tensor(found).reshape(shape))
        return images


def _adjoint_product(wrapped: Any) -> Any:
    """The function that applies the adjoint of a foreign operator."""
    if hasattr(wrapped, "rmatvec"):
        return wrapped.rmatvec
    adjoint = wrapped.adjoint
    return (adjoint if hasattr(adjoint, "matvec") else adjoint()).matvec
