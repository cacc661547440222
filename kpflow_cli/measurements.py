"""Which quantities are measured at a checkpoint, and how: from a linearized trajectory to rows of tables."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from kpflow_cli.estimators.compression import (
    Compression,
    compress,
    cosine_alignment,
    effective_rank,
    frobenius_norm,
    trace,
    trace_fraction,
)
from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.partial_trace import partial_traces
from kpflow_cli.estimators.probes import extend, orthonormalize, random_frame, range_sketch
from kpflow_cli.estimators.spectrum import LeadingEigenpairs, leading_eigenpairs
from kpflow_cli.models.sites import Linearization
from kpflow_cli.operators import GlobalNTK, GramOperator, axis_mean

# axes of the state (trial, time, unit) that stay under each reduction
_KEPT_AXES = {"temporal": (0, 1), "spatial": (2,)}

# the temporal mean is of nearly one dimension: at this depth a few modes are converged to rounding
_MODES_KRYLOV_DEPTH = 4


@dataclass(frozen=True)
class Analysis:
    """How much work goes into the estimates; the meaning of each number stands in schema.py under the same name."""

    probes: int
    eigenvalues: int
    sketch: int
    krylov_block: int
    krylov_depth: int
    propagator_krylov_block: int
    propagator_krylov_depth: int
    block_size: int


@dataclass(frozen=True)
class Measurement:
    """One row of measurements.csv, its step apart."""

    operator: str
    quantity: str
    reduction: str
    estimate: Estimate


@dataclass(frozen=True)
class Spectrum:
    """Leading values of one operator, descending, with their cumulative share of its trace (or squared Frobenius norm), in [0, 1]."""

    operator: str
    values: Tensor
    cumulative: Tensor


@dataclass(frozen=True)
class Measured:
    """All that is measured at one checkpoint."""

    measurements: tuple[Measurement, ...]
    spectra: tuple[Spectrum, ...]

    def overflows(self) -> bool:
        """Whether a value is beyond the range of its dtype."""
        return any(math.isinf(row.estimate.value) for row in self.measurements)


@torch.no_grad()
def measure(linearization: Linearization, target_directions: Tensor, analysis: Analysis, generator: torch.Generator) -> Measured:
    """Every quantity of one checkpoint.

    ``target_directions`` are the target modes carried back through the readout, orthonormal ``(k, B, T, n)``. Where
    ``analysis.probes`` reaches the dimension N = B T n every estimate is exact.
    """
    ntk = GlobalNTK(linearization)
    core_rows, core_spectrum = _core(ntk, analysis.eigenvalues)
    parameter_rows, parameter_spectrum = _parameter_operator(ntk, analysis.eigenvalues)
    propagator_rows, propagator_spectrum = _propagator(ntk, analysis, generator)
    pairs = leading_eigenpairs(
        ntk, analysis.eigenvalues, krylov_block=analysis.krylov_block, krylov_depth=analysis.krylov_depth, generator=generator
    )
    full_rows, full_spectrum = _full(ntk, pairs, target_directions, analysis, generator)
    rows = (*full_rows, *_trace_reductions(ntk, pairs, analysis, generator), *_mean_reductions(ntk, analysis, generator))
    return Measured(
        (*rows, *parameter_rows, *propagator_rows, *core_rows),
        (full_spectrum, parameter_spectrum, propagator_spectrum, core_spectrum),
    )


@torch.no_grad()
def temporal_modes(linearization: Linearization, count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Leading temporal modes by operator, ``(count, B, T)``: of V its left singular vectors, of NTK_S the eigenvectors of its
    temporal ``mean`` reduction. Unit vectors, largest entry positive."""
    ntk = GlobalNTK(linearization)
    pairs = leading_eigenpairs(axis_mean(ntk, (2,)), count, krylov_block=count + 5, krylov_depth=_MODES_KRYLOV_DEPTH, generator=generator)
    return {"ntk": _with_positive_peak(pairs.vectors), "v": _with_positive_peak(ntk.core.temporal_modes(count))}


def _with_positive_peak(modes: Tensor) -> Tensor:
    flat = modes.double().flatten(1)
    return (flat * flat.gather(1, flat.abs().argmax(1, keepdim=True)).sign()).reshape(modes.shape)


def _core(ntk: GlobalNTK, count: int) -> tuple[list[Measurement], Spectrum]:
    """V and the core V V^T (x) I_n, exact."""
    units = ntk.in_shape[2]
    singular = ntk.core.singular_values()
    squares = singular.square()
    rows = [_exact("core", "trace", units * squares.sum()), *_exact_norms("core", squares.repeat_interleave(units))]
    # V is rectangular: it has no trace, and its effective rank is that of V V^T
    rows += _exact_norms("v", singular, weights=squares)
    return rows, _spectrum("v", singular, squares, count)


def _exact(operator: str, quantity: str, value: Tensor) -> Measurement:
    return Measurement(operator, quantity, "full", Estimate(value.item()))


def _exact_norms(operator: str, values: Tensor, weights: Tensor | None = None) -> list[Measurement]:
    """Norms and effective rank of an operator whose singular values are all known; ``weights``, by default the values, go into the rank."""
    weights = values if weights is None else weights
    return [
        _exact(operator, "frobenius_norm", values.norm()),
        _exact(operator, "effective_rank", weights.sum().square() / weights.square().sum()),
        _exact(operator, "operator_norm", values.max()),
    ]


def _spectrum(operator: str, values: Tensor, shares: Tensor, count: int, total: float | None = None) -> Spectrum:
    total = shares.sum().item() if total is None else total
    return Spectrum(operator, values[:count], (shares[:count].cumsum(0) / total).clamp_max(1.0))


def _parameter_operator(ntk: GlobalNTK, count: int) -> tuple[list[Measurement], Spectrum]:
    """K, exact."""
    eigenvalues = ntk.parameter_operator.eigenvalues()
    rows = [_exact("k", "trace", eigenvalues.sum()), *_exact_norms("k", eigenvalues)]
    return rows, _spectrum("k", eigenvalues, eigenvalues, count)


def _propagator(ntk: GlobalNTK, analysis: Analysis, generator: torch.Generator) -> tuple[list[Measurement], Spectrum]:
    """P: its Frobenius norm exactly, its leading singular values by Krylov iteration within each trial."""
    norm = ntk.propagator.frobenius_norm()
    pairs = leading_eigenpairs(
        GramOperator(ntk.propagator),
        analysis.eigenvalues,
        krylov_block=analysis.propagator_krylov_block,
        krylov_depth=analysis.propagator_krylov_depth,
        generator=generator,
        summands=ntk.in_shape[0],
    )
    singular = pairs.values.sqrt()
    # an error r of an eigenvalue s^2 is one of r / (2 s) of the singular value s
    largest = _ritz_estimate(singular[0].item(), pairs.residual / (2 * singular[0].item()), analysis.propagator_krylov_block)
    rows = [
        Measurement("p", "frobenius_norm", "full", Estimate(norm)),
        Measurement("p", "operator_norm", "full", largest),
    ]
    return rows, _spectrum("p", singular, pairs.values, analysis.eigenvalues, norm**2)


def _ritz_estimate(value: float, residual: float, start_vectors: int) -> Estimate:
    return Estimate(value, residual, start_vectors, "block Krylov, residual bound")


def _full(
    ntk: GlobalNTK, pairs: LeadingEigenpairs, target_directions: Tensor, analysis: Analysis, generator: torch.Generator
) -> tuple[list[Measurement], Spectrum]:
    """NTK_S without reduction, its alignment with the core and its overlap with the targets, all from one frame.

    The frame's sketch holds the target directions, whose Rayleigh quotients are thus exact, and the leading eigenvectors, which carry
    most of the variance of a plain estimate.
    """
    sketch = extend(target_directions.to(ntk.device, ntk.dtype), pairs.vectors)
    frame = random_frame(ntk, analysis.probes, generator=generator, sketch=sketch)
    compression = compress(ntk, frame, block_size=analysis.block_size)
    core = compress(ntk.core, frame, block_size=analysis.block_size)
    largest = _ritz_estimate(pairs.values[0].item(), pairs.residual, analysis.krylov_block)
    rows = [
        *_statistics("full", compression),
        Measurement("ntk", "operator_norm", "full", largest),
        Measurement("ntk", "alignment", "full", cosine_alignment(compression, core)),
    ]
    rows += [
        Measurement("ntk", f"target_overlap_{index + 1}", "full", trace_fraction(compression, index))
        for index in range(len(target_directions))
    ]
    return rows, _spectrum("ntk", pairs.values, pairs.values, analysis.eigenvalues, trace(compression).value)


def _statistics(reduction: str, compression: Compression) -> Iterator[Measurement]:
    for quantity, estimator in (("trace", trace), ("frobenius_norm", frobenius_norm), ("effective_rank", effective_rank)):
        yield Measurement("ntk", quantity, reduction, estimator(compression))


def _mean_reductions(ntk: GlobalNTK, analysis: Analysis, generator: torch.Generator) -> Iterator[Measurement]:
    """The ``mean`` reductions; low-rank, so a sketch of their range comes first."""
    for name, kept in _KEPT_AXES.items():
        reduced = axis_mean(ntk, tuple(axis for axis in range(3) if axis not in kept))
        sketch = range_sketch(reduced, analysis.sketch, generator=generator)
        frame = random_frame(reduced, _reduced_probes(ntk, reduced.in_size, analysis), generator=generator, sketch=sketch)
        yield from _statistics(f"{name}_mean", compress(reduced, frame, block_size=analysis.block_size))


def _trace_reductions(ntk: GlobalNTK, pairs: LeadingEigenpairs, analysis: Analysis, generator: torch.Generator) -> Iterator[Measurement]:
    """The partial traces, by products J w with vectors of parameter space: J's leading right singular vectors, then random ones."""
    deflated = min(analysis.sketch, ntk.factor.in_size)
    sketch = orthonormalize(ntk.factor.adjoint_matblock(pairs.vectors[:deflated]))
    frame = random_frame(ntk.factor, _reduced_probes(ntk, ntk.factor.in_size, analysis), generator=generator, sketch=sketch)
    reductions = partial_traces(ntk.factor, frame, tuple(_KEPT_AXES.values()), block_size=analysis.block_size)
    for name, partial in zip(_KEPT_AXES, reductions, strict=True):
        yield Measurement("ntk", "trace", f"{name}_trace", partial.trace())
        yield Measurement("ntk", "frobenius_norm", f"{name}_trace", partial.frobenius_norm())
        yield Measurement("ntk", "effective_rank", f"{name}_trace", partial.effective_rank())


def _reduced_probes(ntk: GlobalNTK, dimension: int, analysis: Analysis) -> int:
    """A reduction needs fewer probes than the full operator: a quarter; all there are where ``analysis.probes`` reaches its dimension."""
    return dimension if analysis.probes >= min(dimension, ntk.in_size) else math.ceil(max(analysis.probes / 4, 2))
