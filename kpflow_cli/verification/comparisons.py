"""The falsification test of Theorem 1: every operator and every exact quantity against dense
automatic differentiation, in float64.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from tqdm import tqdm

from kpflow_cli.errors import FailedRunError, UserError
from kpflow_cli.measures.checkpoint import measure
from kpflow_cli.models.attention import SelfAttention
from kpflow_cli.models.base import Model, RecurrentModel
from kpflow_cli.ntk import GlobalNTK, Trajectory, global_ntk, linearize, previous_states
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

TOLERANCE = 1e-10
_LARGEST = 3000
# of the table's first column
_NAME_WIDTH = 44


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


def verify(config: DictConfig) -> None:
    """Print a table of relative errors.

    Raises FailedRunError if one is above 1e-10, UserError for an instance that is large or not in
    float64.
    """
    torch.set_num_threads(config.threads)
    plan = Plan(config)
    inputs = plan.evaluation.batch.inputs
    trajectory = plan.trajectory()
    size = trajectory.state.numel()
    if size > _LARGEST:
        raise UserError(
            f"B T n = {size}: too large to form NTK_S densely; verify takes at most {_LARGEST}"
        )
    if plan.dtype != torch.float64:
        raise UserError(f"dtype={config.dtype}: verify works in float64")
    print(
        f"{type(plan.model).__name__} on {type(plan.task).__name__}: {inputs.shape[0]} trials, "
        f"{inputs.shape[1]} steps, N = {size}"
    )
    print(f"{'quantity':<{_NAME_WIDTH}}  relative error")
    errors = []
    for comparison in tqdm(
        comparisons(plan), unit="quantity", disable=not sys.stderr.isatty(), leave=False
    ):
        error = comparison.relative_error
        errors.append(error)
        # not a number is no small number
        mark = "" if error <= TOLERANCE else "  <- above 1e-10"
        tqdm.write(f"{comparison.name:<{_NAME_WIDTH}}  {error:.1e}{mark}", file=sys.stdout)
    worst = math.nan if any(math.isnan(error) for error in errors) else max(errors)
    if not worst <= TOLERANCE:
        raise FailedRunError(
            f"verification failed: largest relative error {worst:.1e}, above {TOLERANCE:.0e}"
        )
    print(f"all below {TOLERANCE:.0e}; largest {worst:.1e}")


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
        return traced.perturbed_state(
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
        values = _dense_spectrum(exact[spectrum.operator], spectrum.operator)
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
    statistics = dict(_dense_statistics(exact, directions, (*inputs.shape[:2], ntk.in_shape[2])))
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
    variables = _variables_by_site(model, inputs) if own else {}
    # of other networks the core's own; how it comes by them is for the tests
    variables = variables or {
        site: each.flatten(0, -2) for site, each in core.variables_by_site.items()
    }
    found["v"] = torch.cat(list(variables.values()), dim=-1)
    if isinstance(model, SelfAttention) and own:
        found["core"] = _direct_sum(model, variables)
    elif traced is not None and traced.site_places is not None:
        found["core"] = core.dense()
    else:
        units = len(found["ntk"]) // len(found["v"])
        found["core"] = torch.kron(
            found["v"] @ found["v"].T, torch.eye(units, dtype=plan.dtype, device=plan.device)
        )
    return {**found, **{f"v_{site}": each for site, each in variables.items()}}


def _direct_sum(model: SelfAttention, variables: dict[str, Tensor]) -> Tensor:
    """sum_s V_s V_s^T (x) E_s of all layers, E_s the identity on the units that are the site's
    outputs, zero on all others.
    """
    sizes = [
        model.get_parameter(f"{site}.weight").shape[1 if site == "positions" else 0]
        for site in variables
    ]
    owner = torch.repeat_interleave(torch.tensor(sizes))
    return torch.stack(
        [
            torch.kron(each @ each.T, (owner == index).to(each).diag())
            for index, each in enumerate(variables.values())
        ]
    ).sum(0)


@torch.no_grad()
def _variables_by_site(model: Model, inputs: Tensor) -> dict[str, Tensor]:
    """v_s ``(BT, d)`` as the layers of a network of ours see it: what goes into each linear layer
    that trains, step by step; of torch's recurrent layers h_{t-1} and x_t, each if its weight
    trains. Nothing of any other network.
    """
    if not isinstance(model, RecurrentModel | SelfAttention):
        return {}
    recorded: dict[str, list[Tensor]] = {}
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Embedding) and name != "readout"
    }
    hooks = [
        layer.register_forward_hook(_recorder(recorded, name))
        for name, layer in layers.items()
        if layer.weight.requires_grad
    ]
    states = model(inputs)[1]
    for hook in hooks:
        hook.remove()
    if not layers:
        assert isinstance(model, RecurrentModel)
        parameters = {"recurrent": model.recurrent_weight, "input": model.input_weight}
        variables = {"recurrent": previous_states(states), "input": inputs}
        return {
            name: variables[name].flatten(0, 1)
            for name, weight in parameters.items()
            if model.get_parameter(weight).requires_grad
        }
    # a layer called once takes all times at once, one called at each time takes (B, d)
    whole = {
        name: calls[0] if len(calls) == 1 and calls[0].ndim == 3 else torch.stack(calls, dim=1)
        for name, calls in recorded.items()
    }
    return {name: each.flatten(0, 1) for name, each in whole.items()}


def _recorder(
    recorded: dict[str, list[Tensor]], name: str
) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
    def record(layer: nn.Module, given: tuple[Tensor], output: Tensor) -> None:
        variables = given[0]
        if isinstance(layer, nn.Embedding):
            variables = nn.functional.one_hot(variables, layer.num_embeddings).to(output.dtype)
        recorded.setdefault(name, []).append(variables)

    return record


def _dense_spectrum(matrix: Tensor, operator: str) -> Tensor:
    if operator in ("ntk", "k"):
        return torch.linalg.eigvalsh(matrix).flip(0).clamp_min(0)
    return torch.linalg.svdvals(matrix)


def _dense_statistics(
    exact: dict[str, Tensor], directions: Tensor, shape: tuple[int, int, int]
) -> Iterator[tuple[tuple[str, str, str], Tensor]]:
    """Every row of measurements.csv from the dense operators, by its (operator, quantity,
    reduction).
    """
    for operator in ("ntk", "k", "p", "core", "v"):
        if operator not in exact:
            continue
        matrix = exact[operator]
        yield (operator, "operator_norm", "full"), torch.linalg.matrix_norm(matrix, 2)
        squared = matrix if operator in ("ntk", "k", "core") else matrix @ matrix.T
        yield (operator, "frobenius_norm", "full"), matrix.norm()
        yield (operator, "trace", "full"), matrix.diagonal().sum()
        yield (operator, "effective_rank", "full"), squared.trace() ** 2 / squared.norm() ** 2
    for operator in exact.keys() - {"ntk", "k", "p", "p_inverse", "core", "v"}:
        gram = exact[operator] @ exact[operator].T
        yield (
            (operator, "effective_rank", "full"),
            (gram.trace() ** 2 / gram.norm() ** 2).nan_to_num(nan=0.0),
        )
    ntk = exact["ntk"]
    if (core := exact.get("core")) is not None:
        norms = ntk.norm() * core.norm()
        yield ("ntk", "alignment", "full"), (ntk * core).sum() / norms
        yield (
            ("ntk", "random_core_alignment", "full"),
            ntk.trace() * core.trace() / (len(ntk) * norms),
        )
    for index, direction in enumerate(directions.flatten(1), start=1):
        yield ("ntk", f"rayleigh_quotient_{index}", "full"), direction @ ntk @ direction
        yield ("ntk", f"target_overlap_{index}", "full"), direction @ ntk @ direction / ntk.trace()
    trials, steps, units = shape
    blocks = ntk.reshape(trials * steps, units, trials * steps, units)
    reductions = {
        "temporal_mean": blocks.sum((1, 3)) / units,
        "temporal_trace": torch.einsum("aibi->ab", blocks),
        "spatial_mean": blocks.sum((0, 2)) / (trials * steps),
        "spatial_trace": torch.einsum("aiaj->ij", blocks),
    }
    for name, matrix in reductions.items():
        yield ("ntk", "trace", name), matrix.trace()
        yield ("ntk", "frobenius_norm", name), matrix.norm()
        yield ("ntk", "effective_rank", name), matrix.trace() ** 2 / matrix.norm() ** 2
