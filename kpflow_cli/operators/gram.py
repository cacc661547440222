"""The Gram operator F F^*."""

from __future__ import annotations

import torch
from torch import Tensor

from kpflow_cli.operators.base import PRODUCT, LinearOperator


class GramOperator(LinearOperator):
    """F F^*, symmetric positive semi-definite by construction, from its factor F.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> factor = kp.DenseOperator(torch.tensor([[1.0], [2.0]]), symbol="F")
        >>> print(kp.GramOperator(factor), kp.trace(kp.GramOperator(factor)))
        F F^* 5 (exact)
    """

    symbol = ""
    binding = PRODUCT

    def __init__(self, factor: LinearOperator) -> None:
        self.factor = factor
        self.in_shape = self.out_shape = factor.out_shape
        self.dtype, self.device = factor.dtype, factor.device
        self.block_diagonal = factor.block_diagonal

    def _apply(self, block: Tensor) -> Tensor:
        return self.factor._apply(self.factor._apply_adjoint(block))

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return self._apply(block)

    def dense(self) -> Tensor:
        """The matrix, from F^* alone: symmetric to the last digit."""
        identity = torch.eye(self.in_size, dtype=self.dtype, device=self.device)
        rows = self.factor.adjoint_matblock(identity.reshape(self.in_size, *self.in_shape)).flatten(
            1
        )
        return rows @ rows.T

    @property
    def adjoint(self) -> LinearOperator:
        """The operator itself."""
        return self

    @property
    def gram_factor(self) -> LinearOperator:
        """F."""
        return self.factor

    def __str__(self) -> str:
        return (
            self.symbol or f"{self.factor._within(PRODUCT)} {self.factor.adjoint._within(PRODUCT)}"
        )
