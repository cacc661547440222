"""A network under Dale's law: its signs, its initial balance, and NTK_S without any option."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from oracles import jacobian, normal, relative_error, seeded
from small_runs import small_config
from torch import Tensor

from kpflow_cli.models.dale import DaleRNN
from kpflow_cli.ntk import global_ntk
from kpflow_cli.run.plan import Plan
from kpflow_cli.run.runner import run
from kpflow_cli.verification.comparisons import comparisons
from kpflow_cli.verification.verify import TOLERANCE


def dale(units: int = 6, *, excitatory: float = 0.7, gain: float = 1.5) -> DaleRNN:
    sizes = {"input_size": 3, "output_size": 2, "units": units}
    made = DaleRNN(**sizes, alpha=0.3, excitatory=excitatory, gain=gain, generator=seeded())
    return made.double()


def slow_states(model: DaleRNN, inputs: Tensor) -> Tensor:
    """One unit at a time."""
    units, excitatory = len(model.signs), model.readout.in_features
    parameters = {name: value.tolist() for name, value in model.named_parameters()}
    states = torch.zeros(inputs.shape[0], inputs.shape[1] + 1, units).double()
    for trial, trial_inputs in enumerate(inputs.tolist()):
        for time, given in enumerate(trial_inputs):
            before = states[trial, time].tolist()
            for unit in range(units):
                current = parameters["recurrent.bias"][unit]
                for other in range(units):
                    sign = 0 if other == unit else 1 if other < excitatory else -1
                    size = abs(parameters["recurrent.weight"][unit][other])
                    current += sign * size * before[other]
                for channel, value in enumerate(given):
                    current += parameters["input.weight"][unit][channel] * value
                states[trial, time + 1, unit] = 0.7 * before[unit] + 0.3 * max(current, 0)
    return states[:, 1:]


def test_states_are_those_of_a_slow_loop_and_the_readout_sees_excitatory_units_alone() -> None:
    model, inputs = dale(), normal(2, 4, 3)
    with torch.no_grad():
        # of either sign, as training may leave them
        model.recurrent.weight.copy_(normal(6, 6, seed=3))
    outputs, states = model(inputs)
    assert relative_error(states.detach(), slow_states(model, inputs)) < 1e-14
    torch.testing.assert_close(outputs, model.readout(states[..., :4]))


@pytest.mark.parametrize(("units", "excitatory"), [(200, 0.8), (200, 0.3), (5, 1.0)])
def test_initial_weights_are_balanced_at_the_spectral_radius(units: int, excitatory: float) -> None:
    model = dale(units, excitatory=excitatory, gain=1.2)
    weight = model.recurrent_weight().detach()
    assert torch.linalg.eigvals(weight).abs().max().item() == pytest.approx(1.2)
    assert (model.signs > 0).sum() == round(excitatory * units) == model.readout.in_features
    if excitatory < 1:
        # the mean of independent rows, within 4 standard errors: a false alarm in 16,000
        rows = weight.sum(1)
        assert rows.mean().abs() < 4 * rows.std() / units**0.5


@pytest.mark.parametrize("units", [1, 2])
def test_so_few_units_have_no_recurrence_to_scale(units: int) -> None:
    model = dale(units)
    assert model(normal(2, 4, 3))[1].isfinite().all()


def test_ntk_without_any_option_is_that_of_dense_autograd() -> None:
    model, inputs = dale(), normal(2, 5, 3)
    ntk = global_ntk(model.linearize(inputs))
    parameters = [value for name, value in model.named_parameters() if "readout" not in name]
    states = model(inputs)[1]
    derivative = jacobian(states, parameters)
    assert relative_error(ntk.dense(), derivative @ derivative.T) < 1e-12
    before = torch.cat([torch.zeros(2, 1, 6), states[:, :-1]], 1).detach()
    v = torch.cat([inputs, before], -1).flatten(0, 1)
    assert relative_error(ntk.core.dense(), torch.kron(v @ v.T, torch.eye(6).double())) < 1e-12
    assert ntk.parameter_operator.eigenvalues() is not None
    assert (ntk.why_no_core, ntk.beside_core) == (None, None)


def test_it_agrees_with_dense_automatic_differentiation() -> None:
    plan = Plan(small_config("model=dale", config_name="verify"))
    errors = {each.name: each.relative_error for each in comparisons(plan)}
    assert max(errors.values()) < TOLERANCE
    assert "V V^T (x) I" in errors


def test_it_learns_memory_pro(tmp_path: object) -> None:
    config = small_config(
        "model=dale", "model.units=24", "training=adam", "training.steps=60",
        "training.learning_rate=0.01", "analysis.measures=[v]", "analysis.records=[]",
    )  # fmt: skip
    run(config, tmp_path, {})
    losses = pd.read_csv(tmp_path / "training.csv")["evaluation_loss"]
    assert losses.iloc[-1] < 0.3 * losses.iloc[0]
