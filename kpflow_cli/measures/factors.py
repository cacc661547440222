"""``k``, ``p`` and ``v``: K, P, V and the core; exact, in double precision, where they have a
closed form, else estimated as NTK_S is.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from kpflow_cli.estimators.compression import compress
from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.probes import random_frame
from kpflow_cli.estimators.samplers import Sampler
from kpflow_cli.estimators.spectrum import leading_singular_triplets
from kpflow_cli.measures.rows import (
    Measured,
    Measurement,
    Spectrum,
    exact,
    largest_row,
    spectrum_of,
    statistics_rows,
)
from kpflow_cli.measures.subject import Subject
from kpflow_cli.operators import GramOperator, LinearOperator


def measure_parameter_operator(subject: Subject) -> Measured:
    """K."""
    operator, precise = subject.ntk.parameter_operator, subject.precise.parameter_operator
    rows, spectrum = _semidefinite("k", operator, precise, subject)
    trace = precise.trace()
    return Measured(tuple(rows if trace is None else _with_missing_trace(rows, trace)), (spectrum,))


def _with_missing_trace(rows: list[Measurement], trace: float) -> list[Measurement]:
    """The rows of a positive semi-definite operator whose known eigenvalues lack a little of its
    ``trace``: the norms and the rank of all of it differ by no more than that.
    """
    values = {row.quantity: row.estimate.value for row in rows}
    missing = abs(trace - values["trace"])
    bounds = {"trace": 0.0, "frobenius_norm": missing, "operator_norm": missing}
    if "effective_rank" in values:
        bounds["effective_rank"] = 4 * values["effective_rank"] * missing / values["frobenius_norm"]
    values["trace"] = trace
    return [
        replace(row, estimate=exact(values[row.quantity], bounds[row.quantity])) for row in rows
    ]


def measure_core(subject: Subject) -> Measured:
    """The core; V, exact; of each site's own variables the effective rank."""
    rows, _ = _semidefinite("core", subject.ntk.core, subject.precise.core, subject)
    singular = subject.precise.core.singular_values()
    squares = singular.square()
    # V is rectangular: it has no trace, and its effective rank is that of V V^T
    rows += _exact_norms("v", singular, weights=squares)
    for site, variables in subject.precise.core.variables_by_site.items():
        flat = variables.flatten(0, -2).double()
        gram = flat.T @ flat if flat.shape[0] > flat.shape[1] else flat @ flat.T
        # h_{t-1} of a single time step is 0, of rank 0
        rank = gram.trace().square() / gram.square().sum() if gram.any() else gram.new_zeros(())
        rows.append(_exact(f"v_{site}", "effective_rank", rank))
    return Measured(
        tuple(rows), (spectrum_of("v", singular, squares, subject.analysis.eigenvalues),)
    )


def measure_propagator(subject: Subject) -> Measured:
    """P: its Frobenius norm, exact where there is a closed form; its leading singular values by
    Krylov iteration, within each trial where P is known to be block diagonal over trials.
    """
    operator, analysis, generator = subject.ntk.propagator, subject.analysis, subject.generator
    norm = subject.precise.propagator.frobenius_norm()
    by_trial = operator.block_diagonal
    block = analysis.propagator_krylov_block if by_trial else analysis.krylov_block
    triplets = leading_singular_triplets(
        operator,
        analysis.eigenvalues,
        krylov_block=block,
        krylov_depth=analysis.propagator_krylov_depth if by_trial else analysis.krylov_depth,
        generator=generator,
    )
    if norm is None:
        filled = analysis.probes + len(triplets.left) >= operator.out_size
        gram = GramOperator(subject.precise.propagator if filled else operator)
        frame = random_frame(
            gram, analysis.probes, generator=generator, sketch=triplets.left.to(gram.dtype)
        )
        norm_estimate = (
            compress(gram, frame, block_size=analysis.block_size).trace_total().sqrt().estimate()
        )
    else:
        norm_estimate = Estimate(norm)
    rows = (
        Measurement("p", "frobenius_norm", "full", norm_estimate),
        largest_row("p", triplets.values, triplets.residuals, block),
    )
    total = norm_estimate.value**2
    return Measured(
        rows,
        (spectrum_of("p", triplets.values, triplets.values.square(), analysis.eigenvalues, total),),
    )


def _semidefinite(
    name: str, operator: LinearOperator, precise: LinearOperator, subject: Subject
) -> tuple[list[Measurement], Spectrum]:
    """K or the core."""
    analysis = subject.analysis
    eigenvalues = precise.eigenvalues()
    if eigenvalues is not None:
        rows = [_exact(name, "trace", eigenvalues.sum()), *_exact_norms(name, eigenvalues)]
        return rows, spectrum_of(name, eigenvalues, eigenvalues, analysis.eigenvalues)
    pairs = subject.leading_of(operator)
    sampled = precise if analysis.probes + len(pairs.vectors) >= operator.in_size else operator
    sampler = Sampler(
        sampled,
        generator=subject.generator,
        sketch=pairs.vectors.to(sampled.dtype),
        block_size=analysis.block_size,
    )
    sampler.add(analysis.probes)
    found = sampler.statistics()
    rows = [
        *statistics_rows(name, "full", found),
        largest_row(name, pairs.values, pairs.residuals, analysis.krylov_block),
    ]
    return rows, spectrum_of(
        name, pairs.values, pairs.values, analysis.eigenvalues, found.trace().value
    )


def _exact(operator: str, quantity: str, value: Tensor) -> Measurement:
    return Measurement(operator, quantity, "full", Estimate(value.item()))


def _exact_norms(operator: str, values: Tensor, weights: Tensor | None = None) -> list[Measurement]:
    """Norms and effective rank of an operator whose singular values are all known; ``weights``, by
    default the values, go into the rank, which an operator that is 0 does not have.
    """
    weights = values if weights is None else weights
    rows = [_exact(operator, "frobenius_norm", values.norm())]
    if weights.any():
        rows.append(
            _exact(operator, "effective_rank", weights.sum().square() / weights.square().sum())
        )
    return [*rows, _exact(operator, "operator_norm", values[:1].sum())]
