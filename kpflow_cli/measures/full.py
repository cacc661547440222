"""``ntk``: NTK_S without reduction, its alignment with the core and its overlap with the targets,
all from one frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.frame_statistics import VectorStatistics
from kpflow_cli.estimators.probes import extend, orthonormalize
from kpflow_cli.estimators.samplers import Sampler
from kpflow_cli.estimators.statistics import rayleigh_quotient
from kpflow_cli.measures.rows import (
    Measured,
    Measurement,
    exact,
    largest_row,
    spectrum_of,
    statistics_rows,
)
from kpflow_cli.measures.subject import Subject
from kpflow_cli.ntk import GlobalNTK


def measure_full(subject: Subject) -> Measured:
    """Trace, norms, effective rank, alignment, Rayleigh quotients and target overlaps of NTK_S, and
    its leading eigenvalues.

    The frame's sketch holds the target directions, whose Rayleigh quotients are thus exact, and the
    leading eigenvectors, which carry most of the variance of a plain estimate.
    """
    analysis, pairs = subject.analysis, subject.leading
    chosen = len(subject.target_directions) + len(pairs.vectors)
    filled = subject.ntk.in_size <= analysis.probes + chosen
    ntk = subject.precise if filled else subject.ntk
    sketch = _sketch(subject, ntk)
    cores = [] if ntk.why_no_core else [ntk.core]
    sampler = Sampler(
        ntk, *cores, generator=subject.generator, sketch=sketch, block_size=analysis.block_size
    )
    subject.draw_to_tolerance(
        sampler,
        partial(_least_certain, sampler, aligned=bool(cores)),
        analysis.probes,
        None if filled else ntk.in_size - len(sketch),
    )
    found = sampler.statistics()
    rows = [
        *statistics_rows("ntk", "full", found),
        largest_row("ntk", pairs.values, pairs.residuals, analysis.krylov_block),
        *(_alignment_rows(sampler) if cores else ()),
        *_target_rows(subject, found),
    ]
    trace = found.trace().value
    spectrum = spectrum_of("ntk", pairs.values, pairs.values, analysis.eigenvalues, trace)
    return Measured(tuple(rows), (spectrum,))


def _sketch(subject: Subject, ntk: GlobalNTK) -> Tensor:
    """Target directions and leading eigenvectors, orthonormal, as vectors of ``ntk``."""
    directions, eigenvectors = (
        vectors.to(ntk.device, ntk.dtype)
        for vectors in (subject.target_directions, subject.leading.vectors)
    )
    return extend(orthonormalize(directions), eigenvectors) if len(directions) else eigenvectors


def _least_certain(sampler: Sampler, *, aligned: bool) -> Estimate:
    """Of NTK_S's statistics, and of its alignment if ``aligned``, that of the largest error."""
    found = sampler.statistics()
    # a cosine's error counts against its range, 1: near 0 it is known well long before its digits
    against_range = [replace(sampler.alignment(), value=1.0)] if aligned else []
    estimates = (found.trace(), found.frobenius_norm(), found.effective_rank(), *against_range)
    return max(estimates, key=lambda estimate: estimate.relative_error)


def _alignment_rows(sampler: Sampler) -> Iterator[Measurement]:
    """The cosine with the core, and with cores of the same spectrum; of a core that is 0 none."""
    found, of_core = sampler.statistics(0), sampler.statistics(1)
    if of_core.frobenius_norm().value:
        yield Measurement("ntk", "alignment", "full", sampler.alignment())
        yield Measurement("ntk", "random_core_alignment", "full", found.random_alignment(of_core))


def _target_rows(subject: Subject, found: VectorStatistics) -> Iterator[Measurement]:
    """Of each target mode its Rayleigh quotient and its share of the trace."""
    precise, trace = subject.precise, found.trace().value
    directions = subject.target_directions.to(subject.ntk.device, precise.dtype)
    for index, direction in enumerate(directions, start=1):
        quotient = _quotient(precise, direction, trace)
        share = found.trace_share(quotient.value)
        # where the quotient is below its rounding, so is the share
        error = math.hypot(share.standard_error, quotient.standard_error / trace)
        yield Measurement("ntk", f"rayleigh_quotient_{index}", "full", quotient)
        overlap = replace(share, standard_error=error)
        yield Measurement("ntk", f"target_overlap_{index}", "full", overlap)


def _quotient(ntk: GlobalNTK, direction: Tensor, trace: float) -> Estimate:
    """<q, NTK_S q> / <q, q> = ||J^* q||^2 / ||q||^2, with what rounding may do to it where that is
    more than a small share.

    J^* q is a sum over T steps, each rounded: right to 4 T eps ||J||_F, ||J||_F^2 = ``trace``.
    """
    quotient = rayleigh_quotient(ntk, direction).value
    length = 4 * ntk.in_shape[1] * torch.finfo(ntk.dtype).eps * math.sqrt(trace)
    return exact(quotient, 2 * math.sqrt(quotient) * length + length**2)
