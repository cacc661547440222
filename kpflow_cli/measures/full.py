"""``ntk``: NTK_S without reduction, its alignment with the core and its overlap with the targets,
all from one frame.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from kpflow_cli.estimators.estimate import Estimate
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
    analysis, pairs, target_directions = (
        subject.analysis,
        subject.leading,
        subject.target_directions,
    )
    filled = subject.ntk.in_size <= analysis.probes + len(target_directions) + len(pairs.vectors)
    ntk = subject.precise if filled else subject.ntk
    directions, eigenvectors = (
        vectors.to(ntk.device, ntk.dtype) for vectors in (target_directions, pairs.vectors)
    )
    sketch = extend(orthonormalize(directions), eigenvectors) if len(directions) else eigenvectors
    cores = [] if ntk.why_no_core else [ntk.core]
    sampler = Sampler(
        ntk, *cores, generator=subject.generator, sketch=sketch, block_size=analysis.block_size
    )

    def least_certain() -> Estimate:
        found = sampler.statistics()
        # a cosine's error counts against its range, 1: near 0 it is known well long before its
        # digits are
        against_range = [replace(sampler.alignment(), value=1.0)] if cores else []
        estimates = (found.trace(), found.frobenius_norm(), found.effective_rank(), *against_range)
        return max(estimates, key=lambda estimate: estimate.relative_error)

    subject.draw_to_tolerance(
        sampler, least_certain, analysis.probes, None if filled else ntk.in_size - len(sketch)
    )
    found = sampler.statistics()
    rows = [
        *statistics_rows("ntk", "full", found),
        largest_row("ntk", pairs.values, pairs.residuals, analysis.krylov_block),
    ]
    if cores and (of_core := sampler.statistics(1)).frobenius_norm().value:
        rows.append(Measurement("ntk", "alignment", "full", sampler.alignment()))
        rows.append(
            Measurement("ntk", "random_core_alignment", "full", found.random_alignment(of_core))
        )
    trace = found.trace().value
    for index, direction in enumerate(
        target_directions.to(ntk.device, subject.precise.dtype), start=1
    ):
        quotient = _quotient(subject.precise, direction, trace)
        share = found.trace_share(quotient.value)
        # where the quotient is below its rounding, so is the share
        with_rounding = replace(
            share, standard_error=math.hypot(share.standard_error, quotient.standard_error / trace)
        )
        rows.append(Measurement("ntk", f"rayleigh_quotient_{index}", "full", quotient))
        rows.append(Measurement("ntk", f"target_overlap_{index}", "full", with_rounding))
    return Measured(
        tuple(rows), (spectrum_of("ntk", pairs.values, pairs.values, analysis.eigenvalues, trace),)
    )


def _quotient(ntk: GlobalNTK, direction: Tensor, trace: float) -> Estimate:
    """<q, NTK_S q> / <q, q> = ||J^* q||^2 / ||q||^2, with what rounding may do to it where that is
    more than a small share.

    J^* q is a sum over T steps, each rounded: right to 4 T eps ||J||_F, ||J||_F^2 = ``trace``.
    """
    quotient = rayleigh_quotient(ntk, direction).value
    length = 4 * ntk.in_shape[1] * torch.finfo(ntk.dtype).eps * math.sqrt(trace)
    return exact(quotient, 2 * math.sqrt(quotient) * length + length**2)
