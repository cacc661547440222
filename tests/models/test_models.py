from __future__ import annotations

import math

import pytest
import torch
from oracles import KINDS, build_model, freeze, normal, relative_error
from torch import Tensor, nn

from kpflow_cli.models.rnn import ContinuousTimeRNN

SHAPES = [(3, 4, 5, 3), (1, 4, 5, 3), (3, 1, 5, 3), (3, 4, 1, 3), (3, 4, 5, 1), (1, 1, 1, 1)]


def slow_continuous_time_rnn(model: ContinuousTimeRNN, inputs: Tensor) -> Tensor:
    """h_t = (1 - dt) h_{t-1} + dt (W tanh(h_{t-1}) + W_in x_t), one number at a time."""
    trials, steps, channels = inputs.shape
    recurrent, feedforward = model.recurrent.weight.tolist(), model.input.weight.tolist()
    units = len(recurrent)
    states = torch.zeros(trials, steps + 1, units, dtype=torch.float64)
    for trial in range(trials):
        for time in range(steps):
            before = states[trial, time].tolist()
            for unit in range(units):
                drive = sum(
                    recurrent[unit][other] * math.tanh(before[other]) for other in range(units)
                )
                drive += sum(
                    feedforward[unit][c] * inputs[trial, time, c].item() for c in range(channels)
                )
                states[trial, time + 1, unit] = (1 - model.dt) * before[unit] + model.dt * drive
    return states[:, 1:]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("kind", "plain", "prefix"),
    [
        ("gru", nn.GRU, "gru."),
        ("gru_without_bias", nn.GRU, "gru."),
        ("vanilla_rnn", nn.RNN, "rnn."),
        ("vanilla_rnn_without_bias", nn.RNN, "rnn."),
    ],
)
def test_states_equal_those_of_the_plain_torch_layer(
    kind: str, plain: type[nn.GRU | nn.RNN], prefix: str, shape: tuple[int, int, int, int]
) -> None:
    trials, steps, units, input_size = shape
    model, inputs = (
        build_model(kind, units=units, input_size=input_size),
        normal(trials, steps, input_size),
    )
    layer = plain(input_size, units, bias="without_bias" not in kind, batch_first=True).double()
    state_dict = model.state_dict()
    layer.load_state_dict(
        {key.removeprefix(prefix): state_dict[key] for key in state_dict if key.startswith(prefix)}
    )
    assert torch.equal(model(inputs)[1], layer(inputs)[0])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dt", [0.7, 1.0])
def test_continuous_time_rnn_equals_a_slow_loop(
    dt: float, shape: tuple[int, int, int, int]
) -> None:
    trials, steps, units, input_size = shape
    model, inputs = (
        build_model("rnn", units=units, input_size=input_size, dt=dt),
        normal(trials, steps, input_size),
    )
    assert isinstance(model, ContinuousTimeRNN)
    assert relative_error(model(inputs)[1], slow_continuous_time_rnn(model, inputs)) < 1e-14


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_the_readout_of_the_states(kind: str) -> None:
    model, inputs = build_model(kind), normal(3, 4, 3)
    outputs, states = model(inputs)
    assert outputs.shape == (3, 4, 2)
    assert states.shape == (3, 4, 5)
    assert relative_error(outputs, states @ model.readout.weight.T + model.readout.bias) < 1e-14


@pytest.mark.parametrize("kind", KINDS)
def test_forward_continues_from_an_initial_state(kind: str) -> None:
    model, inputs = build_model(kind), normal(3, 6, 3)
    states = model(inputs)[1]
    continued = model(inputs[:, 2:], initial_state=states[:, 1])[1]
    assert relative_error(continued, states[:, 2:]) < 1e-14


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_linearize_gives_the_states_of_forward(kind: str, shape: tuple[int, int, int, int]) -> None:
    trials, steps, units, input_size = shape
    model, inputs = (
        build_model(kind, units=units, input_size=input_size),
        normal(trials, steps, input_size),
    )
    linearization = model.linearize(inputs)
    assert torch.equal(linearization.state, model(inputs)[1])
    assert linearization.shape == (trials, steps, units)
    assert not linearization.state.requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_site_variables_are_the_previous_state_and_the_input(kind: str) -> None:
    model, inputs = build_model(kind), normal(3, 4, 3)
    recurrent, feedforward = model.linearize(inputs).sites
    assert (recurrent.name, feedforward.name) == ("recurrent", "input")
    assert torch.equal(feedforward.inputs, inputs)
    states = model(inputs)[1]
    expected = torch.tanh(states[:, :-1]) if kind == "rnn" else states[:, :-1]
    assert torch.equal(recurrent.inputs[:, 1:], expected)
    assert not recurrent.inputs[:, 0].any()


@pytest.mark.parametrize(
    ("role", "columns"),
    [("nothing", (6, 4)), ("recurrent", (1, 4)), ("input", (6, 1)), ("biases", (5, 3))],
)
@pytest.mark.parametrize("kind", ["gru", "vanilla_rnn"])
def test_regressors_hold_what_trains_and_a_column_of_one_for_the_bias(
    kind: str, role: str, columns: tuple[int, int]
) -> None:
    model = build_model(kind)
    freeze(model, role)
    sites = model.linearize(normal(3, 4, 3)).sites
    for site, width in zip(sites, columns, strict=True):
        regressors = site.regressors()
        assert regressors.shape == (3, 4, width)
        assert bool((regressors[..., -1] == 1).all()) == (role != "biases")


@pytest.mark.parametrize("kind", KINDS)
def test_models_without_biases_have_none_outside_the_readout(kind: str) -> None:
    names = [name for name, _ in build_model(kind).named_parameters() if "bias" in name]
    assert names[-1] == "readout.bias"
    assert len(names) == (3 if kind in ("gru", "vanilla_rnn") else 1)
