"""Rows of error 0 are right to 1e-9 of their value, others to their error, whatever the precision
of the run: held against dense automatic differentiation of the same weights in float64.
"""

from __future__ import annotations

import copy
import math

import pytest
import torch
from oracles import DenseOracle
from small_runs import small_config

from kpflow_cli.measures.checkpoint import measure
from kpflow_cli.measures.rows import Measurement
from kpflow_cli.models.base import RecurrentModel
from kpflow_cli.ntk import global_ntk
from kpflow_cli.run.plan import Plan
from kpflow_cli.task import target_modes

CHAOTIC = ("model.gain=3", "model.units=12", "task.memory_steps=20", "task.evaluation_trials=3")


def measured(
    plan: Plan, *, in_double: bool = True, **changes: object
) -> dict[tuple[str, str, str], Measurement]:
    trajectory, precise = plan.trajectories()
    assert precise is not None
    directions = plan.target_directions(precise)
    precise_ntk = global_ntk(precise, compressed=False) if in_double else None
    generator = torch.Generator().manual_seed(0)
    rows = measure(
        global_ntk(trajectory), directions, plan.analysis, generator, precise=precise_ntk
    ).measurements
    return {(row.operator, row.quantity, row.reduction): row for row in rows}


def double(plan: Plan) -> tuple[RecurrentModel, torch.Tensor]:
    """The network and its inputs in double precision."""
    model = copy.deepcopy(plan.model).double()
    assert isinstance(model, RecurrentModel)
    return model, plan.task.evaluation_batch().inputs.double()


def exact_factors(plan: Plan) -> dict[tuple[str, str, str], float]:
    oracle = DenseOracle(*double(plan))
    found: dict[tuple[str, str, str], float] = {
        ("p", "frobenius_norm", "full"): oracle.propagator.norm().item()
    }
    for name, matrix in (("k", oracle.parameter_operator), ("core", oracle.core)):
        found[name, "trace", "full"] = matrix.trace().item()
        found[name, "frobenius_norm", "full"] = matrix.norm().item()
        found[name, "effective_rank", "full"] = (matrix.trace() ** 2 / matrix.square().sum()).item()
        found[name, "operator_norm", "full"] = torch.linalg.eigvalsh(matrix)[-1].item()
    return found


def exact_quotients(plan: Plan) -> dict[tuple[str, str, str], float]:
    """As squared gradients: the dense matrix would lose a form far below its norm to rounding."""
    model, inputs = double(plan)
    outputs, states = model(inputs)
    parameters = [
        parameter for name, parameter in model.named_parameters() if not name.startswith("readout")
    ]
    found = {}
    for index, mode in enumerate(
        target_modes(plan.task.evaluation_batch().targets.double()).in_outputs(), start=1
    ):
        direction = torch.autograd.grad(outputs, states, mode, retain_graph=True)[0].flatten()
        gradients = torch.autograd.grad(
            states.flatten() @ (direction / direction.norm()), parameters, retain_graph=True
        )
        found["ntk", f"rayleigh_quotient_{index}", "full"] = sum(
            gradient.square().sum().item() for gradient in gradients
        )
    return found


@pytest.mark.parametrize("model", ["gru", "rnn", "vanilla_rnn"])
def test_exact_rows_of_chaotic_networks_in_single_precision(model: str) -> None:
    plan = Plan(small_config(f"model={model}", *CHAOTIC))
    assert plan.dtype == torch.float32
    rows, exact = measured(plan), exact_factors(plan) | exact_quotients(plan)
    assert len(exact) == 12
    for key, value in exact.items():
        estimate = rows[key].estimate
        assert estimate.num_probes == 0
        assert abs(estimate.value - value) <= max(1e-9 * abs(value), estimate.standard_error), (
            key,
            estimate,
            value,
        )


def test_estimates_of_a_chaotic_network_are_of_the_trajectory_in_double_precision() -> None:
    """Single precision alone would go another way after 20 steps. A false alarm is a deviation of 6
    standard errors of 19 degrees of freedom, 10^-5 each.
    """
    plan, in_double = (
        Plan(small_config("model=gru", *CHAOTIC, f"dtype={dtype}"))
        for dtype in ("float32", "float64")
    )
    in_double.model.load_state_dict(
        {name: value.double() for name, value in plan.model.state_dict().items()}
    )
    rows, expected = measured(plan), measured(in_double)
    assert rows.keys() == expected.keys()
    for key, row in rows.items():
        if row.estimate.num_probes and row.quantity != "operator_norm":
            one, other = row.estimate, expected[key].estimate
            assert one.standard_error >= 1e-6 * one.value
            assert abs(one.value - other.value) <= 6 * math.hypot(
                one.standard_error, other.standard_error
            ), key


def test_overlap_below_rounding_carries_it() -> None:
    """Modes 2 and 3 of network 1 of figure 4: far below what single precision can tell from 0, and
    still right to their error.
    """
    plan = Plan(
        small_config(
            "model.units=24",
            "task.memory_steps=60",
            "task.stimulus_steps=10",
            "task.response_steps=10",
        )
    )
    rows, exact = measured(plan), exact_quotients(plan)
    trace = rows["ntk", "trace", "full"].estimate.value
    for index in (2, 3):
        quotient = rows["ntk", f"rayleigh_quotient_{index}", "full"].estimate
        value = exact["ntk", f"rayleigh_quotient_{index}", "full"]
        assert quotient.value < 1e-14 * trace
        assert quotient.standard_error > 0
        assert abs(quotient.value - value) <= quotient.standard_error
        overlap = rows["ntk", f"target_overlap_{index}", "full"].estimate
        assert overlap.standard_error >= quotient.standard_error / trace


def test_exact_rows_without_double_precision_have_an_unknown_error() -> None:
    plan = Plan(small_config())
    rows = measured(plan, in_double=False)
    errors = [row.estimate.standard_error for row in rows.values() if row.estimate.num_probes == 0]
    assert len(errors) > 12
    assert all(math.isnan(error) for error in errors)
