"""All that is measured at one checkpoint: the chosen measures, one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from kpflow_cli.config.schema import Analysis
from kpflow_cli.errors import FailedRunError
from kpflow_cli.estimators.probes import gaussian_block
from kpflow_cli.measures.registry import Measure, find_measure
from kpflow_cli.measures.rows import Measured, Measurement
from kpflow_cli.measures.subject import Subject
from kpflow_cli.ntk import GlobalNTK


@torch.no_grad()
def measure(
    ntk: GlobalNTK,
    target_directions: Tensor,
    analysis: Analysis,
    generator: torch.Generator,
    *,
    precise: GlobalNTK | None = None,
) -> Measured:
    """The quantities of one checkpoint that ``analysis.measures`` chooses.

    ``target_directions`` are the target modes carried back through the readout, unit vectors ``(k,
    B, T, n)``. Where ``analysis.probes`` reaches the dimension N = B T n every estimate is exact.
    Exact rows are those of ``precise``, NTK_S of the same trajectory in double precision; where
    there is none, and ``ntk`` itself is of single precision, their error is unknown. Raises
    FailedRunError where NTK_S is 0 or a value is beyond the range of its dtype. Without a core
    (``ntk.why_no_core``) there are no rows of it, of V and of alignments.
    """
    _refuse_zero(ntk)
    subject = Subject(ntk, precise or ntk, target_directions, analysis, generator)
    measures = [find_measure(name) for name in analysis.measures]
    try:
        found = _measure_all(subject, measures)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        raise _overflow(ntk.dtype) from None
    rows = tuple(row for each in found for row in each.measurements)
    if not all(math.isfinite(row.estimate.value) for row in rows):
        raise _overflow(ntk.dtype)
    spectra = tuple(spectrum for each in found for spectrum in each.spectra)
    return Measured(tuple(_with_rounding(row, subject) for row in rows), spectra)


def _measure_all(subject: Subject, measures: Sequence[Measure]) -> list[Measured]:
    if any(each.needs_leading for each in measures):
        # before anything else is drawn, whichever measure comes first
        _ = subject.leading
    return [
        each.rows(subject) for each in measures if not (each.needs_core and subject.ntk.why_no_core)
    ]


def _refuse_zero(ntk: GlobalNTK) -> None:
    """By one product with a random state, which nothing but 0 maps to 0."""
    image = ntk.factor.adjoint_matblock(
        gaussian_block(ntk.factor.adjoint, 1, torch.Generator().manual_seed(0))
    )
    if not image.any():
        raise FailedRunError(
            f"NTK_S is 0 in {_name(ntk.dtype)}: no trained parameter moves the state, on any "
            "trial, at any time"
        )


def _overflow(dtype: torch.dtype) -> FailedRunError:
    wider = "dtype=float64, or " if dtype == torch.float32 else ""
    return FailedRunError(
        f"NTK_S exceeds the range of {_name(dtype)}; try {wider}a smaller model.gain or "
        "training.learning_rate"
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _with_rounding(row: Measurement, subject: Subject) -> Measurement:
    """The row with rounding in its error: of an estimate that of T steps; of an exact value in
    single precision it is unknown.
    """
    estimate, dtype = row.estimate, subject.ntk.dtype
    if estimate.num_probes:
        rounding = subject.ntk.in_shape[1] * torch.finfo(dtype).eps * abs(estimate.value)
        error = math.hypot(estimate.standard_error, rounding)
    else:
        error = estimate.standard_error if subject.precise.dtype == torch.float64 else math.nan
    return replace(row, estimate=replace(estimate, standard_error=error))
