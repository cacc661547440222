"""The algebra of operators: A^*, A B, A + B, c A."""

from __future__ import annotations

import math

from torch import Tensor

from kpflow_cli.operators.base import ATOM, PRODUCT, SUM, TENSOR, LinearOperator


class Adjoint(LinearOperator):
    """A^* of an operator A."""

    def __init__(self, operator: LinearOperator) -> None:
        self.operator = operator
        self.in_shape, self.out_shape = operator.out_shape, operator.in_shape
        self.dtype, self.device = operator.dtype, operator.device
        self.block_diagonal = operator.block_diagonal

    def _apply(self, block: Tensor) -> Tensor:
        return self.operator._apply_adjoint(block)

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return self.operator._apply(block)

    @property
    def adjoint(self) -> LinearOperator:
        """A itself."""
        return self.operator

    def __str__(self) -> str:
        return f"{self.operator._within(ATOM)}^*"


class Composition(LinearOperator):
    """The product A B: apply B, then A. Raises ValueError unless ``A.in_shape == B.out_shape``, and
    dtype and device agree.

    A product that reads the same backwards, F F^* or P K P^* with K = F F^*, is positive
    semi-definite: it has a ``gram_factor``.
    """

    binding = PRODUCT

    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        if outer.in_shape != inner.out_shape:
            raise ValueError(
                f"cannot compose {outer} with {inner}: one takes shape {outer.in_shape}, the "
                f"other gives {inner.out_shape}"
            )
        _require_same_numbers(outer, inner)
        self.outer, self.inner = outer, inner
        self.in_shape, self.out_shape = inner.in_shape, outer.out_shape
        self.dtype, self.device = inner.dtype, inner.device

    def _apply(self, block: Tensor) -> Tensor:
        return self.outer._apply(self.inner._apply(block))

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return self.inner._apply_adjoint(self.outer._apply_adjoint(block))

    @property
    def factors(self) -> tuple[LinearOperator, ...]:
        """The factors of A, then those of B."""
        return (*self.outer.factors, *self.inner.factors)

    @property
    def gram_factor(self) -> LinearOperator | None:
        """F, if the product is F F^* or F K F^* with a K that has a factor."""
        factors = self.factors
        half = len(factors) // 2
        if any(
            not _are_adjoint(left, right)
            for left, right in zip(factors[:half], reversed(factors[-half:]), strict=True)
        ):
            return None
        middle = factors[half].gram_factor if len(factors) % 2 else None
        if len(factors) % 2 and middle is None:
            return None
        left = factors[0]
        for factor in (*factors[1:half], *([middle] if middle is not None else [])):
            left = left @ factor
        return left

    @property
    def axes(self) -> tuple[str, ...]:
        """Those of the inner operator."""
        return self.inner.axes

    def __str__(self) -> str:
        return f"{self.outer._within(PRODUCT)} {self.inner._within(PRODUCT)}"


def _are_adjoint(first: LinearOperator, second: LinearOperator) -> bool:
    """Whether one was made as the adjoint of the other."""
    return first.adjoint is second or second.adjoint is first


class Sum(LinearOperator):
    """A + B. Raises ValueError unless shapes, dtype and device agree."""

    binding = SUM

    def __init__(self, first: LinearOperator, second: LinearOperator) -> None:
        shapes = [(operator.in_shape, operator.out_shape) for operator in (first, second)]
        if shapes[0] != shapes[1]:
            (first_in, first_out), (second_in, second_out) = shapes
            raise ValueError(
                f"cannot add {first} and {second}: one takes {first_in} to {first_out}, the other "
                f"{second_in} to {second_out}"
            )
        _require_same_numbers(first, second)
        self.first, self.second = first, second
        self.in_shape, self.out_shape = first.in_shape, first.out_shape
        self.dtype, self.device = first.dtype, first.device

    def _apply(self, block: Tensor) -> Tensor:
        return self.first._apply(block) + self.second._apply(block)

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return self.first._apply_adjoint(block) + self.second._apply_adjoint(block)

    @property
    def axes(self) -> tuple[str, ...]:
        """Those of the first operator."""
        return self.first.axes

    def __str__(self) -> str:
        if isinstance(self.second, Scaled) and self.second.scale == -1:
            return f"{self.first} - {self.second.operator._within(TENSOR)}"
        return f"{self.first} + {self.second}"


class Scaled(LinearOperator):
    """c A of a number c."""

    binding = PRODUCT

    def __init__(self, scale: float, operator: LinearOperator) -> None:
        self.scale, self.operator = scale, operator
        self.in_shape, self.out_shape = operator.in_shape, operator.out_shape
        self.dtype, self.device = operator.dtype, operator.device

    def _apply(self, block: Tensor) -> Tensor:
        return self.scale * self.operator._apply(block)

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return self.scale * self.operator._apply_adjoint(block)

    @property
    def gram_factor(self) -> LinearOperator | None:
        """sqrt(c) F, if c is not negative."""
        factor = self.operator.gram_factor
        return None if factor is None or self.scale < 0 else Scaled(math.sqrt(self.scale), factor)

    @property
    def axes(self) -> tuple[str, ...]:
        """Those of A."""
        return self.operator.axes

    def __str__(self) -> str:
        return f"{'-' if self.scale == -1 else f'{self.scale:g} '}{self.operator._within(PRODUCT)}"


def _require_same_numbers(first: LinearOperator, second: LinearOperator) -> None:
    for attribute in ("dtype", "device"):
        of_first, of_second = getattr(first, attribute), getattr(second, attribute)
        if of_first != of_second:
            raise ValueError(f"{first} is of {of_first}, {second} of {of_second}")
