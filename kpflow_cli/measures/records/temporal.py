"""Modes over trial and time: the leading ones of NTK_S and V, and how many make up NTK_S, V and P
(Fig. 3 of arXiv 2605.08746).
"""

from __future__ import annotations

import torch
from torch import Tensor

from kpflow_cli.estimators.probes import orthonormalize
from kpflow_cli.estimators.samplers import Sampler
from kpflow_cli.estimators.spectrum import LeadingEigenpairs, leading_eigenpairs
from kpflow_cli.measures.records.outputs import SHOWN_TRIALS
from kpflow_cli.measures.records.scene import Rows, Scene, choose_indices
from kpflow_cli.ntk import GlobalNTK
from kpflow_cli.operators import LinearOperator, mean_over

_SHOWN_MODES = 3
# enough of NTK_S: its temporal mean is of a few dimensions, and at this depth those are converged
# to rounding
_COUNTED_MODES, _KRYLOV_DEPTH, _TRACE_PROBES = 40, 4, 32
# up to here every mode has a row, from here on as many as are evenly spaced on a logarithmic axis
_DENSE_MODES, _SPARSE_MODES = 40, 60
# the modes that make up so much have rows too, and those before them, so that their numbers can be
# read off exactly
_SHARES = (0.9, 0.95, 0.99)


def record_temporal_modes(scene: Scene) -> dict[str, Rows]:
    """temporal_modes.csv: one row for each operator, mode (from 1), shown trial and time."""
    rows = [
        {
            "operator": operator,
            "mode": mode,
            "eigenvalue": eigenvalue,
            "trial": trial,
            "time": time,
            "value": value,
        }
        for operator, (modes, eigenvalues) in temporal_modes(
            scene.ntk, _SHOWN_MODES, scene.generator
        ).items()
        for mode, (vector, eigenvalue) in enumerate(
            zip(modes, eigenvalues.tolist(), strict=True), start=1
        )
        for trial in choose_indices(len(vector), SHOWN_TRIALS)
        for time, value in enumerate(vector[trial].tolist())
    ]
    return {"temporal_modes": rows}


def temporal_modes(
    ntk: GlobalNTK, count: int, generator: torch.Generator
) -> dict[str, tuple[Tensor, Tensor]]:
    """Leading temporal modes ``(count, B, T)`` with eigenvalues ``(count,)`` by operator: of V its
    left singular vectors, the eigenvectors of V V^T, if there is a core; of NTK_S those of its
    temporal ``mean`` reduction. Unit vectors, largest entry positive.
    """
    pairs = _leading(ntk, count, generator)
    found = {"ntk": (_with_positive_peak(pairs.vectors), pairs.values)}
    if not ntk.why_no_core:
        found["v"] = (
            _with_positive_peak(ntk.core.temporal_modes(count)),
            ntk.core.singular_values()[:count].square(),
        )
    return found


def record_temporal_spectra(scene: Scene) -> dict[str, Rows]:
    """temporal_spectra.csv: for V, NTK_S and P (``mean`` over units) the shares of variance that 1,
    2, ... temporal modes make up.

    Variance is the square of a singular value of V and of the reduced P. Of NTK_S = J J^* it is
    counted twice: ``ntk`` by the eigenvalues lambda, squares of J's singular values, as V's are V
    V^T's eigenvalues; ``ntk_squared`` by lambda^2, squares of its own.
    """
    ntk = scene.ntk
    pairs = _leading(ntk, _COUNTED_MODES, scene.generator)
    reduced = Sampler(
        mean_over(ntk, "unit"), generator=scene.generator, sketch=orthonormalize(pairs.vectors)
    )
    reduced.add(_TRACE_PROBES)
    found, squares = reduced.statistics(), pairs.values.square()
    variances = {
        "v": ntk.core.singular_values().square(),
        "ntk": pairs.values,
        "ntk_squared": squares,
        "p": temporal_propagator_singular_values(ntk.propagator).square(),
    }
    # of NTK_S not all eigenvalues are known, but their sums are estimated
    totals = {operator: variance.sum().item() for operator, variance in variances.items()}
    totals["ntk"] = max(totals["ntk"], found.trace().value)
    totals["ntk_squared"] = max(totals["ntk_squared"], found.frobenius_norm().value ** 2)
    rows: Rows = []
    for operator, variance in variances.items():
        cumulative = (variance.double().cumsum(0) / totals[operator]).clamp_max(1.0).tolist()
        rows += [
            {"operator": operator, "modes": index + 1, "cumulative": cumulative[index]}
            for index in _choose_kept(cumulative)
        ]
    return {"temporal_spectra": rows}


def temporal_propagator_singular_values(propagator: LinearOperator) -> Tensor:
    """All singular values of P's ``mean`` reduction over units, descending, float64: of one T x T
    matrix a trial, exact.
    """
    trials, steps, _ = propagator.in_shape
    impulses = (
        torch.eye(steps, dtype=propagator.dtype, device=propagator.device)
        .unsqueeze(1)
        .expand(-1, trials, -1)
    )
    responses = torch.cat(
        [mean_over(propagator, "unit").matblock(part.contiguous()) for part in impulses.split(16)]
    )
    return (
        torch.linalg.svdvals(responses.permute(1, 2, 0).double())
        .flatten()
        .sort(descending=True)
        .values
    )


def _leading(ntk: GlobalNTK, count: int, generator: torch.Generator) -> LeadingEigenpairs:
    reduced = mean_over(ntk, "unit")
    count = min(count, reduced.in_size)
    return leading_eigenpairs(
        reduced, count, krylov_block=count + 5, krylov_depth=_KRYLOV_DEPTH, generator=generator
    )


def _with_positive_peak(modes: Tensor) -> Tensor:
    flat = modes.double().flatten(1)
    return (flat * flat.gather(1, flat.abs().argmax(1, keepdim=True)).sign()).reshape(modes.shape)


def _choose_kept(cumulative: list[float]) -> list[int]:
    """Indices that have rows: all at first, then ever sparser, and on both sides of where a share
    is reached.
    """
    count = len(cumulative)
    sparse = (
        torch.logspace(
            0, torch.tensor(float(count)).log10().item(), _SPARSE_MODES, dtype=torch.float64
        )
        .round()
        .long()
        - 1
    )
    reached = [
        next((index for index, share in enumerate(cumulative) if share >= least), count - 1)
        for least in _SHARES
    ]
    around = [max(index - step, 0) for index in reached for step in (0, 1)]
    return sorted({*range(min(count, _DENSE_MODES)), *sparse.clamp(0, count - 1).tolist(), *around})
