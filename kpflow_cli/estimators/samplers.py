"""Probes that more can be added to, with what operators make of them; nothing is computed twice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.frame_statistics import PairStatistics, VectorStatistics
from kpflow_cli.estimators.partial_trace import partial_trace_alignment, partial_trace_of
from kpflow_cli.estimators.probes import Frame, grow, probe_block_size, random_frame
from kpflow_cli.operators.base import LinearOperator


class ProbeSampler(ABC):
    """A frame of the domain of an operator that grows.

    Args:
        domain: the operator whose ``in_shape`` the vectors have.
        generator: of every draw, None for a fresh one of seed 0.
        sketch: orthonormal vectors ``(r, *in_shape)`` that count exactly, such as leading
            eigenvectors.
        block_size: vectors that are multiplied at a time, None chooses by memory.
    """

    def __init__(
        self,
        domain: LinearOperator,
        *,
        generator: torch.Generator | None = None,
        sketch: Tensor | None = None,
        block_size: int | None = None,
    ) -> None:
        self._domain, self._sketch = domain, sketch
        self._block_size = block_size or probe_block_size(domain)
        self._generator = generator or torch.Generator().manual_seed(0)
        self._frame: Frame | None = None

    @property
    def frame(self) -> Frame:
        """Sketch and probes. Raises ValueError before any were added."""
        if self._frame is None:
            raise ValueError("no probes yet: add some")
        return self._frame

    @property
    def num_probes(self) -> int:
        """Random vectors so far."""
        return 0 if self._frame is None else self._frame.num_probes

    def add(self, probes: int) -> None:
        """Draw more probes, or as many as there are dimensions left, and multiply them."""
        if self._frame is None:
            known = 0
            self._frame = random_frame(
                self._domain, probes, generator=self._generator, sketch=self._sketch
            )
        else:
            known = len(self._frame.vectors)
            self._frame = grow(self._frame, probes, generator=self._generator)
        added = self._frame.vectors[known:]
        if len(added):
            self._multiply(added.split(self._block_size))

    @abstractmethod
    def _multiply(self, blocks: Sequence[Tensor]) -> None: ...


class Sampler(ProbeSampler):
    """Probes shared by symmetric operators on one space, with what their images of them contribute
    to every statistic.
    """

    def __init__(
        self,
        *operators: LinearOperator,
        generator: torch.Generator | None = None,
        sketch: Tensor | None = None,
        block_size: int | None = None,
    ) -> None:
        first = operators[0]
        for operator in operators:
            if operator.in_shape != operator.out_shape:
                raise ValueError(
                    f"{operator} maps {operator.in_shape} to {operator.out_shape}: no operator on "
                    "one space"
                )
            if operator.in_shape != first.in_shape:
                raise ValueError(
                    f"{first} is on {first.in_shape}, {operator} on {operator.in_shape}: no "
                    "common probes"
                )
        size = block_size or min(probe_block_size(operator) for operator in operators)
        super().__init__(first, generator=generator, sketch=sketch, block_size=size)
        self._operators = operators
        # <x, A x> by operator and vector; <A x, C x> by both operators and vector
        self._contributions = torch.empty(len(operators), 0, dtype=torch.float64)
        self._products = torch.empty(len(operators), len(operators), 0, dtype=torch.float64)

    def _multiply(self, blocks: Sequence[Tensor]) -> None:
        for block in blocks:
            applied = [_apply_with_form(operator, block) for operator in self._operators]
            images = [image for _, image in applied]
            forms = torch.stack([form for form, _ in applied])
            products = torch.stack(
                [torch.stack([_inner_products(one, each) for one in images]) for each in images]
            )
            self._contributions = torch.cat([self._contributions, forms], dim=-1)
            self._products = torch.cat([self._products, products], dim=-1)

    def statistics(self, index: int = 0) -> VectorStatistics:
        """Those of one operator, from all vectors so far."""
        operator = self._operators[index]
        return VectorStatistics(
            self._contributions[index],
            operator.in_size,
            self.frame.sampling,
            self._products[index, index],
        )

    def effective_rank(self, index: int = 0) -> Estimate:
        """Of one operator."""
        return self.statistics(index).effective_rank()

    def alignment(self, first: int = 0, second: int = 1) -> Estimate:
        """Cosine alignment of two of the operators, within [0, 1]."""
        return self.statistics(first).alignment(
            self.statistics(second), self._products[first, second]
        )


class PartialTraceSampler(ProbeSampler):
    """Probes of J's domain with their images, which every partial trace of J J^* is made of; axes
    are those of J's ``out_shape``.
    """

    def __init__(
        self,
        factor: LinearOperator,
        *,
        generator: torch.Generator | None = None,
        sketch: Tensor | None = None,
        block_size: int | None = None,
    ) -> None:
        super().__init__(factor, generator=generator, sketch=sketch, block_size=block_size)
        self._images = torch.empty(0, *factor.out_shape, dtype=factor.dtype, device=factor.device)
        self._known: dict[tuple[int, ...], PairStatistics] = {}

    def _multiply(self, blocks: Sequence[Tensor]) -> None:
        self._known = {}
        self._images = torch.cat([self._images, *map(self._domain.matblock, blocks)])

    def keeping(self, kept: tuple[int, ...]) -> PairStatistics:
        """The partial trace of J J^* that keeps these axes, from all vectors so far."""
        if kept not in self._known:
            self._known[kept] = partial_trace_of(self._images, kept, self.frame)
        return self._known[kept]

    def effective_rank(self, kept: tuple[int, ...]) -> Estimate:
        """Of the partial trace that keeps these axes."""
        return self.keeping(kept).effective_rank()

    def alignment(
        self, kept: tuple[int, ...], other: PartialTraceSampler, other_kept: tuple[int, ...]
    ) -> Estimate:
        """Cosine alignment of a partial trace with one of another operator, within [0, 1]."""
        return partial_trace_alignment(
            self._images,
            self.frame,
            other._images,
            other.frame,
            first_kept=kept,
            second_kept=other_kept,
        )


def _apply_with_form(operator: LinearOperator, block: Tensor) -> tuple[Tensor, Tensor]:
    """<x, A x> of each vector, never negative where A = F F^*, and the images A x."""
    factor = operator.gram_factor
    if factor is None:
        image = operator.matblock(block)
        return _inner_products(block, image), image
    half = factor.adjoint_matblock(block)
    return _inner_products(half, half), factor.matblock(half)


def _inner_products(first: Tensor, second: Tensor) -> Tensor:
    """Inner products of two blocks, vector by vector: ``(m,)`` float64 on the CPU, without a copy
    of the blocks in double precision.
    """
    return torch.stack(
        [
            one.double().flatten() @ other.double().flatten()
            for one, other in zip(first, second, strict=True)
        ]
    ).cpu()
