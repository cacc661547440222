"""The contract of every linear operator (shapes, dtype, device, products with blocks of vectors), its adjoint A^* and composition A B."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor


class LinearOperator(ABC):
    """An immutable linear map from tensors of shape ``in_shape`` to tensors of shape ``out_shape``.

    A subclass sets the four attributes and writes two private products, both over a leading probe axis: ``_apply``
    takes ``(m, *in_shape)`` to ``(m, *out_shape)``, ``_apply_adjoint`` the other way. Arguments are validated here, once.
    """

    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @abstractmethod
    def _apply(self, block: Tensor) -> Tensor: ...

    @abstractmethod
    def _apply_adjoint(self, block: Tensor) -> Tensor: ...

    def matvec(self, vector: Tensor) -> Tensor:
        """A q for one vector q of shape ``in_shape``; returns shape ``out_shape``. Raises ValueError on a mismatch."""
        return self.matblock(vector.unsqueeze(0)).squeeze(0)

    def matblock(self, block: Tensor) -> Tensor:
        """A applied to each of m vectors, ``(m, *in_shape)`` to ``(m, *out_shape)``. Raises ValueError on a mismatch."""
        self._validate(block, self.in_shape)
        return self._apply(block)

    def adjoint_matblock(self, block: Tensor) -> Tensor:
        """A^* applied to each of m vectors, ``(m, *out_shape)`` to ``(m, *in_shape)``. Raises ValueError on a mismatch."""
        self._validate(block, self.out_shape)
        return self._apply_adjoint(block)

    def adjoint(self) -> LinearOperator:
        """The adjoint A^* as an operator."""
        return Adjoint(self)

    def compress(self, block: Tensor, *, block_size: int) -> Tensor:
        """The ``(m, m)`` matrix of <x_i, A x_j> for a block ``(m, *in_shape)``, ``block_size`` products at a time."""
        images = torch.cat([self.matblock(part).flatten(1) for part in block.split(block_size)])
        return block.flatten(1) @ images.T

    def dense(self) -> Tensor:
        """The matrix ``(prod(out_shape), prod(in_shape))``; for small operators only."""
        identity = torch.eye(self.in_size, dtype=self.dtype, device=self.device)
        return self.matblock(identity.reshape(self.in_size, *self.in_shape)).reshape(self.in_size, -1).T

    @property
    def in_size(self) -> int:
        """Dimension of the domain."""
        return math.prod(self.in_shape)

    @property
    def out_size(self) -> int:
        """Dimension of the range space."""
        return math.prod(self.out_shape)

    def __matmul__(self, other: LinearOperator) -> Composition:
        return Composition(self, other)

    def _validate(self, block: Tensor, shape: tuple[int, ...]) -> None:
        if tuple(block.shape[1:]) != shape:
            raise ValueError(f"{type(self).__name__} takes vectors of shape {shape}, got {tuple(block.shape[1:])}")
        if block.dtype != self.dtype:
            raise ValueError(f"{type(self).__name__} is of {self.dtype}, the vectors are of {block.dtype}")


class Adjoint(LinearOperator):
    """A^* of an operator A."""

    def __init__(self, operator: LinearOperator) -> None:
        self.operator = operator
        self.in_shape, self.out_shape = operator.out_shape, operator.in_shape
        self.dtype, self.device = operator.dtype, operator.device

    def _apply(self, block: Tensor) -> Tensor:
        return self.operator._apply_adjoint(block)

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return self.operator._apply(block)

    def adjoint(self) -> LinearOperator:
        """A itself."""
        return self.operator


class Composition(LinearOperator):
    """The product A B: apply B, then A. Raises ValueError unless ``A.in_shape == B.out_shape``."""

    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        if outer.in_shape != inner.out_shape:
            raise ValueError(f"cannot compose: outer takes shape {outer.in_shape}, inner gives shape {inner.out_shape}")
        if outer.dtype != inner.dtype:
            raise ValueError(f"cannot compose: outer is of {outer.dtype}, inner of {inner.dtype}")
        self.outer, self.inner = outer, inner
        self.in_shape, self.out_shape = inner.in_shape, outer.out_shape
        self.dtype, self.device = inner.dtype, inner.device

    def _apply(self, block: Tensor) -> Tensor:
        return self.outer._apply(self.inner._apply(block))

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return self.inner._apply_adjoint(self.outer._apply_adjoint(block))
