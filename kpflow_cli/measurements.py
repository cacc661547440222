"""Which quantities are measured at a checkpoint, and how: from a linearized trajectory to rows of tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from kpflow_cli.estimators.compression import compress
from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.frame_statistics import FrameStatistics
from kpflow_cli.estimators.partial_trace import PartialTraceSampler
from kpflow_cli.estimators.probes import extend, orthonormalize, random_frame, range_sketch
from kpflow_cli.estimators.spectrum import LeadingEigenpairs, leading_eigenpairs, leading_singular_triplets
from kpflow_cli.estimators.statistics import Sampler, rayleigh_quotient, until
from kpflow_cli.operators import STATE_AXES, GlobalNTK, GramOperator, LinearOperator, ModuleNTK, mean_over

NTK = GlobalNTK | ModuleNTK

# the axes that each reduction is over, and those that stay
_REDUCED_AXES = {"temporal": ("unit",), "spatial": ("trial", "time")}
_KEPT_AXES = {name: tuple(index for index, axis in enumerate(STATE_AXES) if axis not in axes) for name, axes in _REDUCED_AXES.items()}


@dataclass(frozen=True)
class Analysis:
    """What is measured, and how much work goes into the estimates; the meaning of each stands in schema.py under the same name."""

    measures: tuple[str, ...]
    records: tuple[str, ...]
    probes: int
    tolerance: float | None
    most_probes: int
    eigenvalues: int
    sketch: int
    krylov_block: int
    krylov_depth: int
    propagator_krylov_block: int
    propagator_krylov_depth: int
    block_size: int | None


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
def measure(ntk: NTK, target_directions: Tensor, analysis: Analysis, generator: torch.Generator) -> Measured:
    """The chosen quantities of one checkpoint.

    ``target_directions`` are the target modes carried back through the readout, unit vectors ``(k, B, T, n)``. Where
    ``analysis.probes`` reaches the dimension N = B T n every estimate is exact.
    """
    rows: list[Measurement] = []
    spectra: list[Spectrum] = []
    pairs = _leading(ntk, analysis, generator) if {"ntk", "trace"} & set(analysis.measures) else None
    for name in analysis.measures:
        if name == "trace":
            assert pairs is not None
            rows += _trace_reductions(ntk, pairs, analysis, generator)
        elif name == "mean":
            rows += _mean_reductions(ntk, analysis, generator)
        else:
            if name == "ntk":
                assert pairs is not None
                found, spectrum = _full(ntk, pairs, target_directions, analysis, generator)
            else:
                found, spectrum = _FACTORS[name](ntk, analysis, generator)
            rows += found
            spectra.append(spectrum)
    return Measured(tuple(rows), tuple(spectra))


def _core(ntk: NTK, analysis: Analysis, generator: torch.Generator) -> tuple[list[Measurement], Spectrum]:
    """The core; V, exact; of each site's own variables the effective rank."""
    rows, _ = _semidefinite("core", ntk.core, analysis, generator)
    singular = ntk.core.singular_values()
    squares = singular.square()
    # V is rectangular: it has no trace, and its effective rank is that of V V^T
    rows += _exact_norms("v", singular, weights=squares)
    for site, variables in ntk.core.variables_by_site.items():
        flat = variables.flatten(0, -2).double()
        gram = flat.T @ flat if flat.shape[0] > flat.shape[1] else flat @ flat.T
        # h_{t-1} of a single time step is 0, of rank 0
        rank = gram.trace().square() / gram.square().sum() if gram.any() else gram.new_zeros(())
        rows.append(_exact(f"v_{site}", "effective_rank", rank))
    return rows, _spectrum("v", singular, squares, analysis.eigenvalues)


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


def _parameter_operator(ntk: NTK, analysis: Analysis, generator: torch.Generator) -> tuple[list[Measurement], Spectrum]:
    return _semidefinite("k", ntk.parameter_operator, analysis, generator)


def _semidefinite(
    name: str, operator: LinearOperator, analysis: Analysis, generator: torch.Generator
) -> tuple[list[Measurement], Spectrum]:
    """K or the core: exact where its spectrum is known in closed form, else estimated as NTK_S is."""
    eigenvalues = operator.eigenvalues()
    if eigenvalues is not None:
        rows = [_exact(name, "trace", eigenvalues.sum()), *_exact_norms(name, eigenvalues)]
        return rows, _spectrum(name, eigenvalues, eigenvalues, analysis.eigenvalues)
    pairs = _leading(operator, analysis, generator)
    sampler = Sampler(operator, generator=generator, sketch=pairs.vectors, block_size=analysis.block_size)
    sampler.add(analysis.probes)
    found = sampler.statistics()
    rows = [*_statistics(name, "full", found), _largest(name, pairs.values, pairs.residuals, analysis.krylov_block)]
    return rows, _spectrum(name, pairs.values, pairs.values, analysis.eigenvalues, found.trace().value)


def _leading(operator: LinearOperator, analysis: Analysis, generator: torch.Generator) -> LeadingEigenpairs:
    block, depth = analysis.krylov_block, analysis.krylov_depth
    return leading_eigenpairs(operator, analysis.eigenvalues, krylov_block=block, krylov_depth=depth, generator=generator)


def _propagator(ntk: NTK, analysis: Analysis, generator: torch.Generator) -> tuple[list[Measurement], Spectrum]:
    """P: its Frobenius norm, exact where there is a closed form; its leading singular values by Krylov iteration, within each trial where
    P is known to be block diagonal over trials."""
    norm = ntk.propagator.frobenius_norm()
    by_trial = isinstance(ntk, GlobalNTK)
    block = analysis.propagator_krylov_block if by_trial else analysis.krylov_block
    triplets = leading_singular_triplets(
        ntk.propagator,
        analysis.eigenvalues,
        krylov_block=block,
        krylov_depth=analysis.propagator_krylov_depth if by_trial else analysis.krylov_depth,
        generator=generator,
        summands=ntk.in_shape[0] if by_trial else 1,
    )
    if norm is None:
        gram = GramOperator(ntk.propagator)
        frame = random_frame(gram, analysis.probes, generator=generator, sketch=triplets.left)
        norm_estimate = compress(gram, frame, block_size=analysis.block_size).trace_total().sqrt().estimate()
    else:
        norm_estimate = Estimate(norm)
    rows = [
        Measurement("p", "frobenius_norm", "full", norm_estimate),
        _largest("p", triplets.values, triplets.residuals, block),
    ]
    return rows, _spectrum("p", triplets.values, triplets.values.square(), analysis.eigenvalues, norm_estimate.value**2)


_FACTORS = {"k": _parameter_operator, "p": _propagator, "v": _core}


def _largest(operator: str, values: Tensor, residuals: Tensor, start_vectors: int) -> Measurement:
    """The operator norm, from the leading pair and its residual."""
    estimate = Estimate(values[0].item(), residuals[0].item(), start_vectors, "block Krylov, residual bound")
    return Measurement(operator, "operator_norm", "full", estimate)


def _full(
    ntk: NTK, pairs: LeadingEigenpairs, target_directions: Tensor, analysis: Analysis, generator: torch.Generator
) -> tuple[list[Measurement], Spectrum]:
    """NTK_S without reduction, its alignment with the core and its overlap with the targets, all from one frame.

    The frame's sketch holds the target directions, whose Rayleigh quotients are thus exact, and the leading eigenvectors, which carry
    most of the variance of a plain estimate.
    """
    directions = target_directions.to(ntk.device, ntk.dtype)
    quotients = [rayleigh_quotient(ntk, direction).value for direction in directions]
    sketch = extend(orthonormalize(directions), pairs.vectors) if len(directions) else pairs.vectors
    sampler = Sampler(ntk, ntk.core, generator=generator, sketch=sketch, block_size=analysis.block_size)

    def least_certain() -> Estimate:
        found, alignment = sampler.statistics(), sampler.alignment()
        # a cosine's error counts against its range, 1: near 0 it is known well long before its digits are
        against_range = replace(alignment, value=1.0)
        estimates = (found.trace(), found.frobenius_norm(), found.effective_rank(), against_range)
        return max(estimates, key=lambda estimate: estimate.relative_error)

    _to_tolerance(analysis, sampler, least_certain, analysis.probes)
    found = sampler.statistics()
    rows = [
        *_statistics("ntk", "full", found),
        _largest("ntk", pairs.values, pairs.residuals, analysis.krylov_block),
        Measurement("ntk", "alignment", "full", sampler.alignment()),
        Measurement("ntk", "random_core_alignment", "full", found.random_alignment(sampler.statistics(1))),
    ]
    for index, quotient in enumerate(quotients, start=1):
        rows.append(Measurement("ntk", f"rayleigh_quotient_{index}", "full", Estimate(quotient)))
        rows.append(Measurement("ntk", f"target_overlap_{index}", "full", found.trace_share(quotient)))
    return rows, _spectrum("ntk", pairs.values, pairs.values, analysis.eigenvalues, found.trace().value)


def _statistics(operator: str, reduction: str, found: FrameStatistics) -> Iterator[Measurement]:
    yield Measurement(operator, "trace", reduction, found.trace())
    yield Measurement(operator, "frobenius_norm", reduction, found.frobenius_norm())
    yield Measurement(operator, "effective_rank", reduction, found.effective_rank())


def _mean_reductions(ntk: NTK, analysis: Analysis, generator: torch.Generator) -> Iterator[Measurement]:
    """The ``mean`` reductions; low-rank, so a sketch of their range comes first."""
    for name, axes in _REDUCED_AXES.items():
        reduced = mean_over(ntk, *axes)
        sketch = range_sketch(reduced, analysis.sketch, generator=generator)
        sampler = Sampler(reduced, generator=generator, sketch=sketch, block_size=analysis.block_size)
        _to_tolerance(analysis, sampler, sampler.effective_rank, _reduced_probes(ntk, reduced.in_size, analysis))
        yield from _statistics("ntk", f"{name}_mean", sampler.statistics())


def _trace_reductions(ntk: NTK, pairs: LeadingEigenpairs, analysis: Analysis, generator: torch.Generator) -> Iterator[Measurement]:
    """The partial traces, by products J w with vectors of parameter space: J's leading right singular vectors, then random ones."""
    deflated = min(analysis.sketch, ntk.factor.in_size)
    sketch = orthonormalize(ntk.factor.adjoint_matblock(pairs.vectors[:deflated]))
    first = _reduced_probes(ntk, ntk.factor.in_size, analysis)
    frame = random_frame(ntk.factor, first, generator=generator, sketch=sketch)
    sampler = PartialTraceSampler(ntk.factor, frame, generator=generator, block_size=analysis.block_size)
    for name, kept in _KEPT_AXES.items():
        _to_tolerance(analysis, sampler, partial(sampler.effective_rank, kept), first)
        yield from _statistics("ntk", f"{name}_trace", sampler.keeping(kept))


def _to_tolerance(analysis: Analysis, sampler: Sampler | PartialTraceSampler, found: Callable[[], Estimate], first: int) -> None:
    """Give a sampler its ``first`` probes, then more until what is found from them is as certain as the analysis asks for."""
    most = max(analysis.most_probes, first, sampler.num_probes)
    until(analysis.tolerance, found, sampler.add, first, most, drawn=sampler.num_probes)


def _reduced_probes(ntk: NTK, dimension: int, analysis: Analysis) -> int:
    """A reduction needs fewer probes than the full operator: half; all there are where ``analysis.probes`` reaches its dimension."""
    return dimension if analysis.probes >= min(dimension, ntk.in_size) else math.ceil(max(analysis.probes / 2, 2))
