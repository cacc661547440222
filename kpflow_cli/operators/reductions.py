"""Reductions of an operator over some axes of its domain (trial, time, unit), by averaging (Fig. 7 of arXiv 2605.08746)."""

from __future__ import annotations

import math

from torch import Tensor

from kpflow_cli.operators.base import LinearOperator
from kpflow_cli.operators.gram import GramOperator


class AxisMean(LinearOperator):
    """Mean over some axes times sqrt(their size): the co-isometry E^* onto tensors constant along the reduced axes."""

    def __init__(self, operator: LinearOperator, reduced_axes: tuple[int, ...]) -> None:
        shape = operator.out_shape
        self.reduced_axes = reduced_axes
        self.in_shape = shape
        self.out_shape = tuple(size for axis, size in enumerate(shape) if axis not in reduced_axes)
        self.dtype, self.device = operator.dtype, operator.device
        self._scale = math.prod(shape[axis] for axis in reduced_axes) ** -0.5

    def _apply(self, block: Tensor) -> Tensor:
        return block.sum(dim=[axis + 1 for axis in self.reduced_axes]) * self._scale

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        for axis in self.reduced_axes:
            block = block.unsqueeze(axis + 1)
        return (block * self._scale).expand(-1, *self.in_shape).contiguous()


def axis_mean(operator: GramOperator, reduced_axes: tuple[int, ...]) -> GramOperator:
    """The ``mean`` reduction of A = F F^*: apply A to tensors constant along the reduced axes and average the result along them.

    With E the isometry onto such tensors this is E^* A E, positive semi-definite on the kept axes. Axes are those of ``A.in_shape``,
    in ascending order.
    """
    return GramOperator(AxisMean(operator, reduced_axes) @ operator.factor)
