"""The contract of every linear operator: shapes, dtype, device, products with blocks of vectors,
and the algebra A B, A + B, c A, A^*.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from types import ModuleType
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator as ScipyOperator

STATE_AXES = ("trial", "time", "unit")

# how tightly the parts of a formula hold together: A + B, A (x) B, A B, and what needs no
# parentheses
SUM, TENSOR, PRODUCT, ATOM = range(4)


class LinearOperator(ABC):
    """An immutable linear map from tensors of shape ``in_shape`` to tensors of shape ``out_shape``.

    A subclass sets the four attributes and writes two private products, both over a leading probe
    axis: ``_apply`` takes ``(m, *in_shape)`` to ``(m, *out_shape)``, ``_apply_adjoint`` the other
    way. Arguments are validated here, once.

    ``P @ K @ P.adjoint``, ``A + B``, ``A - B``, ``2 * A`` and ``-A`` are operators again; ``str``
    prints their formula. ``A @ q`` is a product with a vector of shape ``in_shape`` or with a block
    of them. Operators, or vectors, whose shapes, dtypes or devices do not fit raise ValueError when
    they are put together.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> a = kp.DenseOperator(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
        >>> print(a @ a.adjoint, (a @ a.adjoint).dense().tolist())
        A A^* [[5.0, 2.0], [2.0, 1.0]]
        >>> a @ torch.tensor([1.0, 1.0])
        tensor([3., 1.])
    """

    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    # whether it is block diagonal over the leading axis of its domain and of its range, such as
    # trials
    block_diagonal: bool = False
    # what a formula calls the operator, and how tightly that name holds together
    symbol: str = "A"
    binding: int = ATOM

    @abstractmethod
    def _apply(self, block: Tensor) -> Tensor: ...

    @abstractmethod
    def _apply_adjoint(self, block: Tensor) -> Tensor: ...

    def matvec(self, vector: Tensor) -> Tensor:
        """A q for one vector q of shape ``in_shape``; returns shape ``out_shape``. Raises
        ValueError on a mismatch.
        """
        return self.matblock(vector.unsqueeze(0)).squeeze(0)

    def matblock(self, block: Tensor) -> Tensor:
        """A applied to each of m vectors, ``(m, *in_shape)`` to ``(m, *out_shape)``. Raises
        ValueError on a mismatch.
        """
        self._validate(block, self.in_shape)
        return self._apply(block)

    def adjoint_matblock(self, block: Tensor) -> Tensor:
        """A^* applied to each of m vectors, ``(m, *out_shape)`` to ``(m, *in_shape)``. Raises
        ValueError on a mismatch.
        """
        self._validate(block, self.out_shape)
        return self._apply_adjoint(block)

    @property
    def adjoint(self) -> LinearOperator:
        """The adjoint A^* as an operator."""
        return _algebra().Adjoint(self)

    @property
    def inverse(self) -> LinearOperator | None:
        """A^{-1} where the operator's structure gives it; None otherwise."""
        return None

    @property
    def gram_factor(self) -> LinearOperator | None:
        """F with A = F F^*, where the operator's structure gives one: A is then positive
        semi-definite by construction, and quadratic forms <x, A y> = <F^* x, F^* y> cost one-sided
        products only. None otherwise.
        """
        return None

    @property
    def factors(self) -> tuple[LinearOperator, ...]:
        """The operators whose product this is, outermost first; the operator itself if it is no
        product.
        """
        return (self,)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes of ``in_shape``: trial, time, unit where there are three."""
        return (
            STATE_AXES
            if len(self.in_shape) == len(STATE_AXES)
            else tuple(f"axis_{index}" for index in range(len(self.in_shape)))
        )

    def eigenvalues(self) -> Tensor | None:
        """All eigenvalues that can differ from 0, descending, float64, of a symmetric operator
        whose structure gives them, else None.
        """
        return None

    def trace(self) -> float | None:
        """tr A where the operator's structure gives it without its eigenvalues; None otherwise."""
        return None

    def frobenius_norm(self) -> float | None:
        """||A||_F where the operator's structure gives it in closed form; None otherwise."""
        eigenvalues = self.eigenvalues()
        return None if eigenvalues is None else eigenvalues.norm().item()

    def dense(self) -> Tensor:
        """The matrix ``(prod(out_shape), prod(in_shape))``; for small operators only."""
        identity = torch.eye(self.in_size, dtype=self.dtype, device=self.device)
        return (
            self.matblock(identity.reshape(self.in_size, *self.in_shape))
            .reshape(self.in_size, -1)
            .T.contiguous()
        )

    @property
    def in_size(self) -> int:
        """Dimension of the domain."""
        return math.prod(self.in_shape)

    @property
    def out_size(self) -> int:
        """Dimension of the range space."""
        return math.prod(self.out_shape)

    def to_scipy(self) -> ScipyOperator:
        """The operator on flat numpy vectors, for ``scipy.sparse.linalg``. Raises ImportError where
        scipy is not installed.
        """
        from scipy.sparse.linalg import LinearOperator as ScipyOperator

        def product(operator: LinearOperator) -> Any:
            def columns(array: Any) -> Any:
                # scipy gives vectors (n,), (n, 1) and blocks (n, m)
                block = (
                    torch.as_tensor(array)
                    .to(self.device, self.dtype)
                    .reshape(operator.in_size, -1)
                    .T
                )
                images = (
                    operator.matblock(block.reshape(-1, *operator.in_shape)).detach().flatten(1).T
                )
                return images.reshape(operator.out_size, *array.shape[1:]).cpu().numpy()

            return columns

        forward, backward = product(self), product(self.adjoint)
        return ScipyOperator(
            shape=(self.out_size, self.in_size),
            matvec=forward,
            rmatvec=backward,
            matmat=forward,
            rmatmat=backward,
            dtype=torch.empty(0, dtype=self.dtype).numpy().dtype,
        )

    @overload
    def __matmul__(self, other: LinearOperator) -> LinearOperator: ...

    @overload
    def __matmul__(self, other: Tensor) -> Tensor: ...

    def __matmul__(self, other: LinearOperator | Tensor) -> LinearOperator | Tensor:
        if isinstance(other, LinearOperator):
            return _algebra().Composition(self, other)
        if not isinstance(other, Tensor):
            return NotImplemented
        return self.matvec(other) if other.ndim == len(self.in_shape) else self.matblock(other)

    def __add__(self, other: LinearOperator) -> LinearOperator:
        return _algebra().Sum(self, other) if isinstance(other, LinearOperator) else NotImplemented

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        return _algebra().Sum(self, -other) if isinstance(other, LinearOperator) else NotImplemented

    def __mul__(self, scale: float) -> LinearOperator:
        return _algebra().Scaled(scale, self) if isinstance(scale, int | float) else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, scale: float) -> LinearOperator:
        return self * (1 / scale)

    def __neg__(self) -> LinearOperator:
        return _algebra().Scaled(-1, self)

    def __str__(self) -> str:
        return self.symbol

    def __repr__(self) -> str:
        return f"<{self}: {self.in_shape} -> {self.out_shape}, {self.dtype}>"

    def _within(self, binding: int) -> str:
        """The formula as part of one that binds as tightly as ``binding``."""
        return str(self) if self.binding >= binding else f"({self})"

    def _validate(self, block: Tensor, shape: tuple[int, ...]) -> None:
        if tuple(block.shape[1:]) != shape:
            raise ValueError(f"{self} takes vectors of shape {shape}, got {tuple(block.shape[1:])}")
        if block.dtype != self.dtype:
            raise ValueError(f"{self} is of {self.dtype}, the vectors are of {block.dtype}")


def _algebra() -> ModuleType:
    """Products, sums and adjoints, which are operators themselves: loaded when one is made."""
    from kpflow_cli.operators import algebra

    return algebra
