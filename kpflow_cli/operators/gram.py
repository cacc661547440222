"""The Gram operator F F^*."""

from __future__ import annotations

import torch
from torch import Tensor

from kpflow_cli.operators.base import LinearOperator


class GramOperator(LinearOperator):
    """F F^*, symmetric positive semi-definite by construction, from its factor F.

    Compressions <x_i, F F^* x_j> = <F^* x_i, F^* x_j> cost one one-sided product a vector and are positive semi-definite too.
    """

    def __init__(self, factor: LinearOperator) -> None:
        self.factor = factor
        self.in_shape = self.out_shape = factor.out_shape
        self.dtype, self.device = factor.dtype, factor.device

    def _apply(self, block: Tensor) -> Tensor:
        return self.factor._apply(self.factor._apply_adjoint(block))

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return self._apply(block)

    def adjoint(self) -> LinearOperator:
        """The operator itself."""
        return self

    def compress(self, block: Tensor, *, block_size: int) -> Tensor:
        """<F^* x_i, F^* x_j> of a block of m vectors, ``(m, m)``."""
        parts = [self.factor.adjoint_matblock(part).flatten(1) for part in block.split(block_size)]
        images = torch.cat(parts)
        return images @ images.T
