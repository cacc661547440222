"""Trace, Frobenius norm, effective rank and alignment of an operator, as many probes as an error
asks for.

Each function takes an operator and returns an ``Estimate``. An operator whose spectrum is known in
closed form gives exact values, one with as few dimensions as probes does too. ``generator`` is the
source of all draws, None a fresh one of seed 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from kpflow_cli.estimators.compression import images
from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.frame_statistics import FrameStatistics, PairStatistics, VectorStatistics
from kpflow_cli.estimators.partial_trace import partial_trace_alignment, partial_trace_of
from kpflow_cli.estimators.probes import Frame, grow, probe_block_size, random_frame, range_sketch
from kpflow_cli.operators.base import LinearOperator
from kpflow_cli.operators.gram import GramOperator
from kpflow_cli.operators.reductions import PartialTrace

PROBES, MOST_PROBES = 40, 640
# vectors near the leading eigenspace that every estimate counts exactly: they carry most of the
# variance of a plain one
_SKETCH = 8


class Sampler:
    """Probes shared by operators on one space, with what their images of them contribute to every
    statistic; more can be added, nothing is computed twice.

    ``sketch`` holds orthonormal vectors ``(r, *shape)`` that count exactly, such as leading
    eigenvectors. Products are made ``block_size`` at a time, None chooses by memory.
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
        self._operators, self._sketch = operators, sketch
        self._block_size = block_size or min(probe_block_size(operator) for operator in operators)
        self._generator = generator or torch.Generator().manual_seed(0)
        # <x, A x> by operator and vector; <A x, C x> by both operators and vector
        self._contributions = torch.empty(len(operators), 0, dtype=torch.float64)
        self._products = torch.empty(len(operators), len(operators), 0, dtype=torch.float64)
        self._frame: Frame | None = None

    @property
    def frame(self) -> Frame:
        """Sketch and probes. Raises ValueError before any were added."""
        if self._frame is None:
            raise ValueError("no probes yet: add some")
        return self._frame

    @property
    def num_probes(self) -> int:
        """Probes so far."""
        return 0 if self._frame is None else self._frame.num_probes

    def add(self, probes: int) -> None:
        """Draw more probes, or as many as there are dimensions left, and multiply them."""
        known = 0 if self._frame is None else len(self._frame.vectors)
        self._frame = _enlarged(
            self._frame, self._operators[0], probes, self._generator, self._sketch
        )
        added = self._frame.vectors[known:]
        for part in added.split(self._block_size) if len(added) else ():
            applied = [_applied(operator, part) for operator in self._operators]
            contributions = torch.stack([contribution for contribution, _ in applied])
            products = torch.stack(
                [torch.stack([_inner(one, other) for _, one in applied]) for _, other in applied]
            )
            self._contributions = torch.cat([self._contributions, contributions], dim=-1)
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


def _applied(operator: LinearOperator, block: Tensor) -> tuple[Tensor, Tensor]:
    """<x, A x> of each vector, never negative where A = F F^*, and the images A x."""
    factor = operator.gram_factor
    if factor is None:
        image = operator.matblock(block)
        return _inner(block, image), image
    half = factor.adjoint_matblock(block)
    return _inner(half, half), factor.matblock(half)


def _inner(first: Tensor, second: Tensor) -> Tensor:
    """Inner products of two blocks, vector by vector: ``(m,)`` float64 on the CPU, without a copy
    of the blocks in double precision.
    """
    return torch.stack(
        [
            one.double().flatten() @ other.double().flatten()
            for one, other in zip(first, second, strict=True)
        ]
    ).cpu()


class _PartialTraceSampler:
    """The same for the partial trace of J J^*: probes of J's domain."""

    def __init__(
        self, partial: PartialTrace, factor: LinearOperator, generator: torch.Generator
    ) -> None:
        self._partial, self._factor, self._generator = partial, factor, generator
        self._sketch = range_sketch(GramOperator(factor).companion, _SKETCH, generator=generator)
        self._images = torch.empty(0, *factor.out_shape, dtype=factor.dtype, device=factor.device)
        self._frame: Frame | None = None

    def add(self, probes: int) -> None:
        self._frame = _enlarged(self._frame, self._factor, probes, self._generator, self._sketch)
        parts = self._frame.vectors[len(self._images) :].split(probe_block_size(self._factor))
        self._images = torch.cat([self._images, *(self._factor.matblock(part) for part in parts)])

    def statistics(self) -> PairStatistics:
        assert self._frame is not None
        return partial_trace_of(self._images, self._partial.kept, self._frame)

    def alignment_with(self, other: _PartialTraceSampler) -> Callable[[], Estimate]:
        def found() -> Estimate:
            assert self._frame is not None
            assert other._frame is not None
            kept = {"first_kept": self._partial.kept, "second_kept": other._partial.kept}
            return partial_trace_alignment(
                self._images, self._frame, other._images, other._frame, **kept
            )

        return found


def _partial_samplers(
    first: LinearOperator, second: LinearOperator, generator: torch.Generator
) -> tuple[_PartialTraceSampler, _PartialTraceSampler] | None:
    """A sampler for each of two partial traces on one space whose operators have factors; None for
    anything else.
    """
    if (
        not isinstance(first, PartialTrace)
        or not isinstance(second, PartialTrace)
        or first.in_shape != second.in_shape
    ):
        return None
    factors = first.operator.gram_factor, second.operator.gram_factor
    if factors[0] is None or factors[1] is None:
        return None
    return _PartialTraceSampler(first, factors[0], generator), _PartialTraceSampler(
        second, factors[1], generator
    )


def _enlarged(
    frame: Frame | None,
    operator: LinearOperator,
    probes: int,
    generator: torch.Generator,
    sketch: Tensor | None,
) -> Frame:
    if frame is None:
        return random_frame(operator, probes, generator=generator, sketch=sketch)
    return grow(frame, probes, generator=generator)


def trace(
    operator: LinearOperator,
    num_probes: int = PROBES,
    *,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
    most_probes: int = MOST_PROBES,
) -> Estimate:
    """tr A of a symmetric positive semi-definite operator; with a ``tolerance`` probes are added
    until the standard error is at most that share of the value, up to ``most_probes``.
    """
    eigenvalues = operator.eigenvalues()
    if eigenvalues is not None:
        return Estimate(eigenvalues.sum().item())
    return _estimate(operator, FrameStatistics.trace, num_probes, generator, tolerance, most_probes)


def frobenius_norm(
    operator: LinearOperator,
    num_probes: int = PROBES,
    *,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
    most_probes: int = MOST_PROBES,
) -> Estimate:
    """||A||_F of a symmetric positive semi-definite operator; ``tolerance`` as for ``trace``."""
    norm = operator.frobenius_norm()
    if norm is not None:
        return Estimate(norm)
    return _estimate(
        operator, FrameStatistics.frobenius_norm, num_probes, generator, tolerance, most_probes
    )


def effective_rank(
    operator: LinearOperator,
    num_probes: int = PROBES,
    *,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
    most_probes: int = MOST_PROBES,
) -> Estimate:
    """Participation ratio tr(A)^2 / ||A||_F^2 of a symmetric positive semi-definite operator;
    ``tolerance`` as for ``trace``.

    Of a partial trace of J J^*, such as ``trace_over(ntk, "unit")``, it costs forward products J w
    only.
    """
    eigenvalues = operator.eigenvalues()
    if eigenvalues is not None:
        return Estimate((eigenvalues.sum().square() / eigenvalues.square().sum()).item())
    return _estimate(
        operator, FrameStatistics.effective_rank, num_probes, generator, tolerance, most_probes
    )


def cosine_alignment(
    first: LinearOperator,
    second: LinearOperator,
    num_probes: int = PROBES,
    *,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
    most_probes: int = MOST_PROBES,
) -> Estimate:
    """<A, C>_F / (||A||_F ||C||_F) of two symmetric positive semi-definite operators on one space,
    within [0, 1].

    Two partial traces of operators F F^* are sampled by products with each F, on probes of its own.
    """
    generator = generator or torch.Generator().manual_seed(0)
    partials = _partial_samplers(first, second, generator)
    if partials is not None:
        one, two = partials

        def add(probes: int) -> None:
            one.add(probes)
            two.add(probes)

        return until(tolerance, one.alignment_with(two), add, num_probes, most_probes)
    sampler = Sampler(
        first, second, generator=generator, sketch=range_sketch(first, _SKETCH, generator=generator)
    )
    return until(tolerance, sampler.alignment, sampler.add, num_probes, most_probes)


def rayleigh_quotient(operator: LinearOperator, vector: Tensor) -> Estimate:
    """<q, A q> / <q, q>, exact."""
    image = images(operator, vector.unsqueeze(0))[0].double()
    flat = vector.flatten().double()
    quadratic = image.square().sum() if operator.gram_factor is not None else flat @ image
    return Estimate((quadratic / flat.square().sum()).item())


def until(
    tolerance: float | None,
    found: Callable[[], Estimate],
    add: Callable[[int], None],
    num_probes: int,
    most_probes: int,
    *,
    drawn: int = 0,
) -> Estimate:
    """The estimate from ``num_probes``, ``drawn`` of which are there already, then from more until
    its relative standard error is at most ``tolerance``.

    The number is raised by what the error so far says is missing, to at most twice as many at a
    time. An estimate that stops at ``most_probes`` above the tolerance says so in its method.
    Raises ValueError for a tolerance that is not positive.
    """
    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"tolerance must be above 0, got {tolerance}")
    probes = max(num_probes, drawn)
    if probes > drawn:
        add(probes - drawn)
    estimate = found()
    while tolerance is not None and not estimate.relative_error <= tolerance:
        missing = (
            probes * ((estimate.relative_error / tolerance) ** 2 - 1)
            if math.isfinite(estimate.relative_error)
            else probes
        )
        more = min(max(math.ceil(missing), 4), probes, most_probes - probes)
        if more <= 0:
            reached = (
                f"{estimate.method}; {tolerance:.2%} not met at the limit of {most_probes} probes"
            )
            return replace(estimate, method=reached)
        add(more)
        probes += more
        estimate = found()
    return estimate


def _estimate(
    operator: LinearOperator,
    statistic: Callable[[FrameStatistics], Estimate],
    num_probes: int,
    generator: torch.Generator | None,
    tolerance: float | None,
    most_probes: int,
) -> Estimate:
    generator = generator or torch.Generator().manual_seed(0)
    factor = operator.operator.gram_factor if isinstance(operator, PartialTrace) else None
    if isinstance(operator, PartialTrace) and factor is not None:
        partial = _PartialTraceSampler(operator, factor, generator)
        return until(
            tolerance, lambda: statistic(partial.statistics()), partial.add, num_probes, most_probes
        )
    sampler = Sampler(
        operator, generator=generator, sketch=range_sketch(operator, _SKETCH, generator=generator)
    )
    return until(
        tolerance, lambda: statistic(sampler.statistics()), sampler.add, num_probes, most_probes
    )
