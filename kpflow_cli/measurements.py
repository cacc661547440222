"""Which quantities are measured at a checkpoint, and how: from a linearized trajectory to rows of tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from kpflow_cli import factors
from kpflow_cli.errors import FailedRunError
from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.partial_trace import PartialTraceSampler
from kpflow_cli.estimators.probes import extend, gaussian_block, orthonormalize, random_frame, range_sketch
from kpflow_cli.estimators.spectrum import LeadingEigenpairs
from kpflow_cli.estimators.statistics import Sampler, rayleigh_quotient, until
from kpflow_cli.measured import NTK, Analysis, Measured, Measurement, Spectrum, Subject, exact, largest_row, spectrum_of, statistics_rows
from kpflow_cli.operators import STATE_AXES, mean_over

# the axes that each reduction is over, and those that stay
_REDUCED_AXES = {"temporal": ("unit",), "spatial": ("trial", "time")}
_KEPT_AXES = {name: tuple(index for index, axis in enumerate(STATE_AXES) if axis not in axes) for name, axes in _REDUCED_AXES.items()}
# probes from which on 95 % intervals hold the exact value in about as many cases (make coverage): of partial traces errors rest on pairs
_LEAST_OF_MEANS, _LEAST_OF_TRACES = 16, 24
_FACTORS = {"k": factors.parameter_operator, "p": factors.propagator, "v": factors.core}


@torch.no_grad()
def measure(ntk: NTK, target_directions: Tensor, analysis: Analysis, generator: torch.Generator, *, precise: NTK | None = None) -> Measured:
    """The chosen quantities of one checkpoint.

    ``target_directions`` are the target modes carried back through the readout, unit vectors ``(k, B, T, n)``. Where
    ``analysis.probes`` reaches the dimension N = B T n every estimate is exact. Exact rows are those of ``precise``, NTK_S of the same
    trajectory in double precision; where there is none, and ``ntk`` itself is of single precision, their error is unknown. Raises
    FailedRunError where NTK_S is 0 or a value is beyond the range of its dtype. Without a core (``ntk.why_no_core``) there are no rows of
    it, of V and of alignments.
    """
    _refuse_zero(ntk)
    subject = Subject(ntk, precise or ntk)
    try:
        measured = _measured(subject, target_directions, analysis, generator)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        raise _overflow(ntk.dtype) from None
    if not all(math.isfinite(row.estimate.value) for row in measured.measurements):
        raise _overflow(ntk.dtype)
    return replace(measured, measurements=tuple(_with_rounding(row, subject) for row in measured.measurements))


def _measured(subject: Subject, target_directions: Tensor, analysis: Analysis, generator: torch.Generator) -> Measured:
    rows: list[Measurement] = []
    spectra: list[Spectrum] = []
    pairs = factors.leading(subject.ntk, analysis, generator) if {"ntk", "trace"} & set(analysis.measures) else None
    for name in analysis.measures:
        if name == "v" and subject.ntk.why_no_core:
            continue
        if name == "trace":
            assert pairs is not None
            rows += _trace_reductions(subject, pairs, analysis, generator)
        elif name == "mean":
            rows += _mean_reductions(subject, analysis, generator)
        else:
            if name == "ntk":
                assert pairs is not None
                found, spectrum = _full(subject, pairs, target_directions, analysis, generator)
            else:
                found, spectrum = _FACTORS[name](subject, analysis, generator)
            rows += found
            spectra.append(spectrum)
    return Measured(tuple(rows), tuple(spectra))


def _refuse_zero(ntk: NTK) -> None:
    """By one product with a random state, which nothing but 0 maps to 0."""
    image = ntk.factor.adjoint_matblock(gaussian_block(ntk.factor.adjoint, 1, torch.Generator().manual_seed(0)))
    if not image.any():
        raise FailedRunError(f"NTK_S is 0 in {_name(ntk.dtype)}: no trained parameter moves the state, on any trial, at any time")


def _overflow(dtype: torch.dtype) -> FailedRunError:
    wider = "dtype=float64, or " if dtype == torch.float32 else ""
    return FailedRunError(f"NTK_S exceeds the range of {_name(dtype)}; try {wider}a smaller model.gain or training.learning_rate")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _with_rounding(row: Measurement, subject: Subject) -> Measurement:
    """The row with rounding in its error: of an estimate that of T steps; of an exact value in single precision it is unknown."""
    estimate, dtype = row.estimate, subject.ntk.dtype
    if estimate.num_probes:
        rounding = subject.ntk.in_shape[1] * torch.finfo(dtype).eps * abs(estimate.value)
        error = math.hypot(estimate.standard_error, rounding)
    else:
        error = estimate.standard_error if subject.precise.dtype == torch.float64 else math.nan
    return replace(row, estimate=replace(estimate, standard_error=error))


def _full(
    subject: Subject, pairs: LeadingEigenpairs, target_directions: Tensor, analysis: Analysis, generator: torch.Generator
) -> tuple[list[Measurement], Spectrum]:
    """NTK_S without reduction, its alignment with the core and its overlap with the targets, all from one frame.

    The frame's sketch holds the target directions, whose Rayleigh quotients are thus exact, and the leading eigenvectors, which carry
    most of the variance of a plain estimate.
    """
    filled = subject.ntk.in_size <= analysis.probes + len(target_directions) + len(pairs.vectors)
    ntk = subject.precise if filled else subject.ntk
    directions, eigenvectors = (vectors.to(ntk.device, ntk.dtype) for vectors in (target_directions, pairs.vectors))
    sketch = extend(orthonormalize(directions), eigenvectors) if len(directions) else eigenvectors
    cores = [] if ntk.why_no_core else [ntk.core]
    sampler = Sampler(ntk, *cores, generator=generator, sketch=sketch, block_size=analysis.block_size)

    def least_certain() -> Estimate:
        found = sampler.statistics()
        # a cosine's error counts against its range, 1: near 0 it is known well long before its digits are
        against_range = [replace(sampler.alignment(), value=1.0)] if cores else []
        estimates = (found.trace(), found.frobenius_norm(), found.effective_rank(), *against_range)
        return max(estimates, key=lambda estimate: estimate.relative_error)

    _to_tolerance(analysis, sampler, least_certain, analysis.probes, None if filled else ntk.in_size - len(sketch))
    found = sampler.statistics()
    rows = [*statistics_rows("ntk", "full", found), largest_row("ntk", pairs.values, pairs.residuals, analysis.krylov_block)]
    if cores and (of_core := sampler.statistics(1)).frobenius_norm().value:
        rows.append(Measurement("ntk", "alignment", "full", sampler.alignment()))
        rows.append(Measurement("ntk", "random_core_alignment", "full", found.random_alignment(of_core)))
    trace = found.trace().value
    for index, direction in enumerate(target_directions.to(ntk.device, subject.precise.dtype), start=1):
        quotient = _quotient(subject.precise, direction, trace)
        share = found.trace_share(quotient.value)
        # where the quotient is below its rounding, so is the share
        with_rounding = replace(share, standard_error=math.hypot(share.standard_error, quotient.standard_error / trace))
        rows.append(Measurement("ntk", f"rayleigh_quotient_{index}", "full", quotient))
        rows.append(Measurement("ntk", f"target_overlap_{index}", "full", with_rounding))
    return rows, spectrum_of("ntk", pairs.values, pairs.values, analysis.eigenvalues, trace)


def _quotient(ntk: NTK, direction: Tensor, trace: float) -> Estimate:
    """<q, NTK_S q> / <q, q> = ||J^* q||^2 / ||q||^2, with what rounding may do to it where that is more than a small share.

    J^* q is a sum over T steps, each rounded: right to 4 T eps ||J||_F, ||J||_F^2 = ``trace``.
    """
    quotient = rayleigh_quotient(ntk, direction).value
    length = 4 * ntk.in_shape[1] * torch.finfo(ntk.dtype).eps * math.sqrt(trace)
    return exact(quotient, 2 * math.sqrt(quotient) * length + length**2)


def _mean_reductions(subject: Subject, analysis: Analysis, generator: torch.Generator) -> Iterator[Measurement]:
    """The ``mean`` reductions; low-rank, so a sketch of their range comes first, multiplied once more: what it leaves of the leading
    directions is what makes estimates uncertain, and their errors too."""
    for name, axes in _REDUCED_AXES.items():
        reduced = mean_over(subject.ntk, *axes)
        probes = _reduced_probes(subject.ntk, reduced.in_size, analysis, least=_LEAST_OF_MEANS)
        filled = reduced.in_size <= probes + analysis.sketch
        if filled:
            reduced = mean_over(subject.precise, *axes)
        sketch = orthonormalize(reduced.matblock(range_sketch(reduced, analysis.sketch, generator=generator)))
        sampler = Sampler(reduced, generator=generator, sketch=sketch, block_size=analysis.block_size)
        _to_tolerance(analysis, sampler, sampler.effective_rank, probes, None if filled else reduced.in_size - len(sketch))
        yield from statistics_rows("ntk", f"{name}_mean", sampler.statistics())


def _trace_reductions(subject: Subject, pairs: LeadingEigenpairs, analysis: Analysis, generator: torch.Generator) -> Iterator[Measurement]:
    """The partial traces, by products J w with vectors of parameter space: J's leading right singular vectors, then random ones."""
    ntk = subject.ntk
    probes = _reduced_probes(ntk, ntk.factor.in_size, analysis, least=_LEAST_OF_TRACES)
    filled = ntk.factor.in_size <= probes + analysis.sketch
    if filled:
        ntk = subject.precise
    deflated = min(analysis.sketch, ntk.factor.in_size)
    sketch = orthonormalize(ntk.factor.adjoint_matblock(pairs.vectors[:deflated].to(ntk.dtype)))
    frame = random_frame(ntk.factor, probes, generator=generator, sketch=sketch)
    sampler = PartialTraceSampler(ntk.factor, frame, generator=generator, block_size=analysis.block_size)
    below = None if filled else ntk.factor.in_size - len(sketch)
    for name, kept in _KEPT_AXES.items():
        _to_tolerance(analysis, sampler, partial(sampler.effective_rank, kept), probes, below)
        yield from statistics_rows("ntk", f"{name}_trace", sampler.keeping(kept))


def _to_tolerance(
    analysis: Analysis, sampler: Sampler | PartialTraceSampler, found: Callable[[], Estimate], first: int, below: int | None
) -> None:
    """Give a sampler its ``first`` probes, then more until what is found from them is as certain as the analysis asks for; fewer than
    ``below``, with which it would be exact: what is, is of double precision from the start."""
    most = max(analysis.most_probes, first, sampler.num_probes)
    most = most if below is None else min(most, below - 1)
    until(analysis.tolerance, found, sampler.add, first, most, drawn=sampler.num_probes)


def _reduced_probes(ntk: NTK, dimension: int, analysis: Analysis, *, least: int) -> int:
    """A reduction needs fewer probes than the full operator: half, but as many as its error takes to be known; all there are where
    ``analysis.probes`` reaches its dimension."""
    return dimension if analysis.probes >= min(dimension, ntk.in_size) else min(max(math.ceil(analysis.probes / 2), least), dimension)
