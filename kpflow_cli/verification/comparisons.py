"""The falsification test of Theorem 1: every operator and every exact quantity against dense
automatic differentiation, in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kpflow_cli.measures.checkpoint import measure
from kpflow_cli.models.attention import SelfAttention
from kpflow_cli.models.base import Model, RecurrentModel
from kpflow_cli.ntk import GlobalNTK, Trajectory, global_ntk, linearize
from kpflow_cli.run.plan import Plan
from kpflow_cli.tracing.site_search import TracedPass
from kpflow_cli.tracing.watched_module import evaluating
from kpflow_cli.verification.dense import (
    dense_global_ntk,
    dense_gram,
    dense_inverse_propagator,
    dense_parameter_operator,
    dense_site_parameter_operator,
    dense_site_propagator,
)
from kpflow_cli.verification.dense_statistics import dense_spectrum, dense_statistics
from kpflow_cli.verification.site_variables import direct_sum_core, layer_inputs


@dataclass(frozen=True)
class Comparison:
    """What is compared, its exact value, and what kpflow finds; a part of a whole is compared with
    the ``whole``.
    """

    name: str
    exact: Tensor
    found: Tensor
    whole: float | None = None

    @property
    def relative_error(self) -> float:
        """||found - exact|| over ||exact|| or over the whole; the absolute error where
        that is 0.
        """
        scale = self.exact.norm().item() if self.whole is None else self.whole
        return (self.found.to(self.exact.device) - self.exact).norm().item() / (
            scale if scale > 0 else 1.0
        )


def comparisons(plan: Plan) -> Iterator[Comparison]:
    """Everything there is to compare."""
    inputs = plan.evaluation.batch.inputs
    trajectory = plan.trajectory()
    ntk = global_ntk(trajectory)
    exact = _dense_operators(plan, trajectory)
    propagator, parameter_operator = ntk.propagator, ntk.parameter_operator
    yield Comparison("P", exact["p"], propagator.dense())
    yield Comparison("P^*", exact["p"].T, propagator.adjoint.dense())
    if (inverse := propagator.inverse) is not None:
        yield Comparison("P^{-1}", exact["p_inverse"], inverse.dense())
        yield Comparison("(P^{-1})^*", exact["p_inverse"].T, inverse.adjoint.dense())
    yield Comparison("K", exact["k"], parameter_operator.dense())
    if not ntk.why_no_core:
        yield Comparison("V V^T (x) I", exact["core"], ntk.core.dense())
    yield Comparison("NTK_S as J J^*", exact["ntk"], ntk.dense())
    yield Comparison(
        "NTK_S as P K P^*",
        exact["ntk"],
        (propagator @ parameter_operator @ propagator.adjoint).dense(),
    )
    if trajectory.traced is not None:
        yield _on_all_site_outputs(plan.model, inputs)
    # of an NTK_S that is 0 there is nothing to measure
    if exact["ntk"].any():
        yield from _measured_comparisons(plan, ntk, exact, plan.target_directions(trajectory))


def _on_all_site_outputs(model: Model, inputs: Tensor) -> Comparison:
    """NTK_S where the state is every site's output, against the outputs differentiated with respect
    to the parameters themselves.
    """
    with evaluating(model):
        trajectory = linearize(model, inputs, others=model.others)
    return Comparison(
        "NTK_S of all site outputs",
        dense_gram(model, _state(trajectory.traced)),
        trajectory.ntk().dense(),
    )


def _state(traced: TracedPass) -> Tensor:
    """The state again, as a function of the parameters."""
    with torch.enable_grad():
        return traced.perturb_state(
            [traced.state.new_zeros(call.shape, dtype=call.dtype) for call in traced.calls]
        )


def _measured_comparisons(
    plan: Plan, ntk: GlobalNTK, exact: dict[str, Tensor], directions: Tensor
) -> Iterator[Comparison]:
    """The rows of measurements.csv and spectra.csv, with as many probes as there are dimensions."""
    size = max(ntk.in_size, ntk.propagator.in_size)
    everything = replace(
        plan.analysis, probes=size, krylov_block=size, propagator_krylov_block=size
    )
    inputs = plan.evaluation.batch.inputs
    measured = measure(ntk, directions, everything, torch.Generator().manual_seed(plan.config.seed))
    for spectrum in measured.spectra:
        values = dense_spectrum(exact[spectrum.operator], spectrum.operator)
        shares = values if spectrum.operator in ("ntk", "k") else values.square()
        # singular values of P are found as roots of eigenvalues of P P^*: to these a value of 0 is
        # as good as any
        power = 2 if spectrum.operator == "p" else 1
        yield Comparison(
            f"{spectrum.operator} spectrum",
            values[: len(spectrum.values)] ** power,
            spectrum.values**power,
        )
        cumulative = (shares.cumsum(0) / shares.sum())[: len(spectrum.values)]
        yield Comparison(f"{spectrum.operator} cumulative", cumulative, spectrum.cumulative)
    # overlaps and Rayleigh quotients of modes that NTK_S does not see are 0 but for rounding
    wholes = {"target_overlap": 1.0, "rayleigh_quotient": exact["ntk"].trace().item()}
    statistics = dict(dense_statistics(exact, directions, (*inputs.shape[:2], ntk.in_shape[2])))
    for row in measured.measurements:
        name = f"{row.operator} {row.quantity} {row.reduction}"
        found = torch.tensor(row.estimate.value, dtype=torch.float64)
        yield Comparison(
            name,
            statistics[row.operator, row.quantity, row.reduction],
            found,
            wholes.get(row.quantity.rstrip("0123456789").rstrip("_")),
        )


def _dense_operators(plan: Plan, trajectory: Trajectory) -> dict[str, Tensor]:
    """P, K, NTK_S, V and the core, and V of each site alone as ``v_<site>``."""
    model, inputs = plan.model, plan.evaluation.batch.inputs
    own = plan.config.analysis.state == "own" or (
        isinstance(model, SelfAttention) and plan.config.analysis.state == "site_outputs"
    )
    traced = trajectory.traced
    if traced is None:
        assert isinstance(model, RecurrentModel)
        inverse = dense_inverse_propagator(model, inputs)
        found = {
            "p": torch.linalg.inv(inverse),
            "p_inverse": inverse,
            "k": dense_parameter_operator(model, inputs),
        }
    else:
        found = {"p": dense_site_propagator(traced), "k": dense_site_parameter_operator(traced)}
    if own or traced is None:
        found["ntk"] = dense_global_ntk(model, inputs)
    else:
        found["ntk"] = dense_gram(model, _state(traced))
    ntk = global_ntk(trajectory)
    if ntk.why_no_core:
        return found
    core = ntk.core
    variables = layer_inputs(model, inputs) if own else {}
    # of other networks the core's own; how it comes by them is for the tests
    variables = variables or {
        site: each.flatten(0, -2) for site, each in core.variables_by_site.items()
    }
    found["v"] = torch.cat(list(variables.values()), dim=-1)
    if isinstance(model, SelfAttention) and own:
        found["core"] = direct_sum_core(model, variables)
    elif traced is not None and traced.site_places is not None:
        found["core"] = core.dense()
    else:
        units = len(found["ntk"]) // len(found["v"])
        found["core"] = torch.kron(
            found["v"] @ found["v"].T, torch.eye(units, dtype=plan.dtype, device=plan.device)
        )
    return {**found, **{f"v_{site}": each for site, each in variables.items()}}
