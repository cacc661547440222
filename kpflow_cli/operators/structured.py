"""Operators with an explicit matrix."""

from __future__ import annotations

import math

from torch import Tensor

from kpflow_cli.operators.base import LinearOperator


class DenseOperator(LinearOperator):
    """A matrix ``(prod(out_shape), prod(in_shape))`` as an operator; shapes default to flat vectors."""

    def __init__(self, matrix: Tensor, in_shape: tuple[int, ...] | None = None, out_shape: tuple[int, ...] | None = None) -> None:
        self.matrix = matrix
        self.in_shape = in_shape or (matrix.shape[1],)
        self.out_shape = out_shape or (matrix.shape[0],)
        if (math.prod(self.out_shape), math.prod(self.in_shape)) != tuple(matrix.shape):
            raise ValueError(f"a {tuple(matrix.shape)} matrix cannot map shape {self.in_shape} to {self.out_shape}")
        self.dtype, self.device = matrix.dtype, matrix.device

    def _apply(self, block: Tensor) -> Tensor:
        return (block.flatten(1) @ self.matrix.T).reshape(-1, *self.out_shape)

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return (block.flatten(1) @ self.matrix).reshape(-1, *self.in_shape)
