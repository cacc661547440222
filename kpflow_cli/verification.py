"""The falsification test of Theorem 1: every operator and every exact quantity against dense automatic differentiation, in float64."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from tqdm import tqdm

from kpflow_cli.errors import FailedRunError, UserError
from kpflow_cli.measurements import measure
from kpflow_cli.models.sites import Linearization, Model, RecurrentModel, previous_states
from kpflow_cli.models.tracing import ModuleTrajectory, trace
from kpflow_cli.operators import GlobalNTK, KroneckerCore, ModuleNTK, Propagator, global_ntk
from kpflow_cli.operators.dense import (
    dense_global_ntk,
    dense_gram,
    dense_inverse_propagator,
    dense_parameter_operator,
    dense_site_parameter_operator,
    dense_site_propagator,
)
from kpflow_cli.plan import Plan

TOLERANCE = 1e-10
_LARGEST = 3000


@dataclass(frozen=True)
class Comparison:
    """What is compared, its exact value, and what kpflow finds; a part of a whole is compared with the ``whole``."""

    name: str
    exact: Tensor
    found: Tensor
    whole: float | None = None

    @property
    def relative_error(self) -> float:
        """||found - exact|| over ||exact|| or over the whole; the absolute error where that is 0."""
        scale = self.exact.norm().item() if self.whole is None else self.whole
        return (self.found.to(self.exact.device) - self.exact).norm().item() / (scale if scale > 0 else 1.0)


def verify(config: DictConfig) -> None:
    """Print a table of relative errors.

    Raises FailedRunError if one is above 1e-10, UserError for an instance that is large or not in float64.
    """
    torch.set_num_threads(config.threads)
    plan = Plan(config)
    inputs = plan.evaluation.batch.inputs
    size = plan.model(inputs)[1].numel()
    if size > _LARGEST:
        raise UserError(f"B T n = {size}: too large to form NTK_S densely; verify takes at most {_LARGEST}")
    if plan.dtype != torch.float64:
        raise UserError(f"dtype={config.dtype}: verify works in float64")
    print(f"{type(plan.model).__name__} on {type(plan.task).__name__}: {inputs.shape[0]} trials, {inputs.shape[1]} steps, N = {size}")
    print(f"{'quantity':<44}relative error")
    worst = 0.0
    for comparison in tqdm(comparisons(plan), unit="quantity", disable=not sys.stderr.isatty(), leave=False):
        error = comparison.relative_error
        worst = max(worst, error)
        tqdm.write(f"{comparison.name:<44}{error:.1e}{'' if error <= TOLERANCE else '  <- above 1e-10'}", file=sys.stdout)
    if not worst <= TOLERANCE:
        raise FailedRunError(f"verification failed: largest relative error {worst:.1e}, above {TOLERANCE:.0e}")
    print(f"all below {TOLERANCE:.0e}; largest {worst:.1e}")


def comparisons(plan: Plan) -> Iterator[Comparison]:
    """Everything there is to compare."""
    inputs = plan.evaluation.batch.inputs
    trajectory = plan.model.linearize(inputs)
    ntk = global_ntk(trajectory)
    exact = _dense_operators(plan.model, inputs, trajectory)
    propagator, parameter_operator = ntk.propagator, ntk.parameter_operator
    yield Comparison("P", exact["p"], propagator.dense())
    yield Comparison("P^*", exact["p"].T, propagator.adjoint.dense())
    if isinstance(propagator, Propagator):
        yield Comparison("P^{-1}", exact["p_inverse"], propagator.inverse.dense())
        yield Comparison("(P^{-1})^*", exact["p_inverse"].T, propagator.inverse.adjoint.dense())
    yield Comparison("K", exact["k"], parameter_operator.dense())
    yield Comparison("V V^T (x) I", exact["core"], ntk.core.dense())
    yield Comparison("NTK_S as J J^*", exact["ntk"], ntk.dense())
    yield Comparison("NTK_S as P K P^*", exact["ntk"], (propagator @ parameter_operator @ propagator.adjoint).dense())
    if isinstance(trajectory, ModuleTrajectory):
        yield _on_all_site_outputs(plan.model, inputs)
    yield from _measured_comparisons(plan, ntk, exact)


def _on_all_site_outputs(model: Model, inputs: Tensor) -> Comparison:
    """NTK_S where the state is every site's output, against the outputs differentiated with respect to the parameters themselves."""
    trajectory = trace(model, inputs)
    with torch.enable_grad():
        outputs = trajectory.perturbed_state([inputs.new_zeros(call.shape) for call in trajectory.calls])
    return Comparison("NTK_S of all site outputs", dense_gram(model, outputs), ModuleNTK(trajectory).dense())


def _measured_comparisons(plan: Plan, ntk: GlobalNTK | ModuleNTK, exact: dict[str, Tensor]) -> Iterator[Comparison]:
    """The rows of measurements.csv and spectra.csv, with as many probes as there are dimensions."""
    size = max(ntk.in_size, ntk.propagator.in_size)
    everything = replace(plan.analysis, probes=size, krylov_block=size, propagator_krylov_block=size)
    inputs, directions = plan.evaluation.batch.inputs, plan.target_directions
    measured = measure(ntk, directions, everything, torch.Generator().manual_seed(plan.config.seed))
    for spectrum in measured.spectra:
        values = _dense_spectrum(exact[spectrum.operator], spectrum.operator)
        shares = values if spectrum.operator in ("ntk", "k") else values.square()
        yield Comparison(f"{spectrum.operator} spectrum", values[: len(spectrum.values)], spectrum.values)
        cumulative = (shares.cumsum(0) / shares.sum())[: len(spectrum.values)]
        yield Comparison(f"{spectrum.operator} cumulative", cumulative, spectrum.cumulative)
    # overlaps and Rayleigh quotients of modes that NTK_S does not see are 0 but for rounding
    wholes = {"target_overlap": 1.0, "rayleigh_quotient": exact["ntk"].trace().item()}
    statistics = dict(_dense_statistics(exact, directions, (*inputs.shape[:2], ntk.in_shape[2])))
    for row in measured.measurements:
        name = f"{row.operator} {row.quantity} {row.reduction}"
        found = torch.tensor(row.estimate.value, dtype=torch.float64)
        yield Comparison(
            name, statistics[row.operator, row.quantity, row.reduction], found, wholes.get(row.quantity.rstrip("0123456789").rstrip("_"))
        )


def _dense_operators(model: Model, inputs: Tensor, trajectory: Linearization | ModuleTrajectory) -> dict[str, Tensor]:
    if isinstance(model, RecurrentModel):
        inverse = dense_inverse_propagator(model, inputs)
        factors = {"p": torch.linalg.inv(inverse), "p_inverse": inverse, "k": dense_parameter_operator(model, inputs)}
        variables = _site_variables(model, inputs)
    else:
        assert isinstance(trajectory, ModuleTrajectory)
        factors = {"p": dense_site_propagator(trajectory), "k": dense_site_parameter_operator(trajectory)}
        core = ModuleNTK(trajectory).core
        assert isinstance(core, KroneckerCore)
        variables = core.site_variables
    ntk = dense_global_ntk(model, inputs)
    identity = torch.eye(len(ntk) // len(variables), dtype=variables.dtype, device=variables.device)
    return {**factors, "ntk": ntk, "v": variables, "core": torch.kron(variables @ variables.T, identity)}


@torch.no_grad()
def _site_variables(model: RecurrentModel, inputs: Tensor) -> Tensor:
    """V ``(BT, d)`` as the network's own layers see it: what goes into each linear layer that trains, step by step; of torch's recurrent
    layers h_{t-1} and x_t, each if its weight trains."""
    recorded: dict[nn.Module, list[Tensor]] = {}
    layers = [module for module in model.modules() if isinstance(module, nn.Linear) and module is not model.readout]
    hooks = [
        layer.register_forward_pre_hook(lambda layer, given: recorded.setdefault(layer, []).append(given[0]))
        for layer in layers
        if layer.weight.requires_grad
    ]
    states = model(inputs)[1]
    for hook in hooks:
        hook.remove()
    if not layers:
        variables_of = {model.recurrent_weight: previous_states(states), model.input_weight: inputs}
        trained = [variable for name, variable in variables_of.items() if model.get_parameter(name).requires_grad]
        return torch.cat(trained, dim=-1).flatten(0, 1)
    # a layer called once takes all times at once, one called at each time takes (B, d)
    variables = [calls[0] if len(calls) == 1 and calls[0].ndim == 3 else torch.stack(calls, dim=1) for calls in recorded.values()]
    return torch.cat(variables, dim=-1).flatten(0, 1)


def _dense_spectrum(matrix: Tensor, operator: str) -> Tensor:
    if operator in ("ntk", "k"):
        return torch.linalg.eigvalsh(matrix).flip(0).clamp_min(0)
    return torch.linalg.svdvals(matrix)


def _dense_statistics(
    exact: dict[str, Tensor], directions: Tensor, shape: tuple[int, int, int]
) -> Iterator[tuple[tuple[str, str, str], Tensor]]:
    """Every row of measurements.csv from the dense operators, by its (operator, quantity, reduction)."""
    for operator in ("ntk", "k", "p", "core", "v"):
        matrix = exact[operator]
        yield (operator, "operator_norm", "full"), torch.linalg.matrix_norm(matrix, 2)
        squared = matrix if operator in ("ntk", "k", "core") else matrix @ matrix.T
        yield (operator, "frobenius_norm", "full"), matrix.norm()
        yield (operator, "trace", "full"), matrix.diagonal().sum()
        yield (operator, "effective_rank", "full"), squared.trace() ** 2 / squared.norm() ** 2
    ntk, core = exact["ntk"], exact["core"]
    norms = ntk.norm() * core.norm()
    yield ("ntk", "alignment", "full"), (ntk * core).sum() / norms
    yield ("ntk", "random_core_alignment", "full"), ntk.trace() * core.trace() / (len(ntk) * norms)
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
