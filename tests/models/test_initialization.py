from __future__ import annotations

import math

import pytest
import torch
from oracles import KINDS, RECURRENT_WEIGHTS, build_model
from torch import nn

from kpflow_cli.errors import UserError
from kpflow_cli.models.attention import SelfAttention
from kpflow_cli.models.base import RecurrentModel

INITIALIZATIONS = ["xavier_normal", "orthogonal", "torch_default"]


def recurrent_weight(model: RecurrentModel) -> torch.Tensor:
    (weight,) = [
        parameter for name, parameter in model.named_parameters() if name in RECURRENT_WEIGHTS
    ]
    return weight.detach()


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_weights_depend_on_the_generator_alone(kind: str, initialization: str) -> None:
    global_state = torch.get_rng_state()
    try:
        torch.manual_seed(1)
        first = build_model(kind, initialization=initialization).state_dict()
        torch.manual_seed(2)
        second = build_model(kind, initialization=initialization).state_dict()
    finally:
        torch.set_rng_state(global_state)
    other = build_model(kind, initialization=initialization, seed=1).state_dict()
    for name in first:
        assert torch.equal(first[name], second[name])
        assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_gain_scales_only_the_recurrent_weight(kind: str, initialization: str) -> None:
    unscaled = build_model(kind, gain=1.0, initialization=initialization).state_dict()
    scaled = build_model(kind, gain=2.0, initialization=initialization).state_dict()
    for name in unscaled:
        factor = 2.0 if name in RECURRENT_WEIGHTS else 1.0
        assert torch.equal(scaled[name], factor * unscaled[name])


@pytest.mark.parametrize(
    ("kind", "deviation"), [("gru", 128**-0.5), ("rnn", 64**-0.5), ("vanilla_rnn", 64**-0.5)]
)
def test_xavier_normal_deviation_of_the_recurrent_weight(kind: str, deviation: float) -> None:
    """1/sqrt(2n) for the GRU's stacked weight, 1/sqrt(n) for a square one, times the gain 1.3; n =
    64.

    The sample deviation of 4096 (12288) normal numbers is within 5 % of the true one but for a
    probability of 6e-6.
    """
    weight = recurrent_weight(build_model(kind, units=64))
    assert weight.std().item() == pytest.approx(1.3 * deviation, rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_orthogonal_gives_orthonormal_columns(kind: str) -> None:
    model = build_model(kind, gain=1.0, initialization="orthogonal")
    weight = recurrent_weight(model)
    # weights are drawn in double precision but kept in single
    torch.testing.assert_close(
        weight.T @ weight, torch.eye(5, dtype=torch.float64), rtol=0, atol=1e-6
    )
    readout = model.readout.weight.detach()
    torch.testing.assert_close(
        readout @ readout.T, torch.eye(2, dtype=torch.float64), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
def test_torch_default_fills_its_bounds(kind: str) -> None:
    """All are uniform within 1/sqrt(n) (n = 64), in a linear layer within 1/sqrt of its inputs: the
    continuous-time network's input weight within 1/sqrt(3). The largest of 128 or more below 0.9 of
    the bound has probability 1.4e-6.
    """
    model = build_model(kind, units=64, gain=1.0, initialization="torch_default")
    for name, parameter in model.named_parameters():
        bound = 1 / math.sqrt(model.input_size if name == "input.weight" else 64)
        largest = parameter.abs().max().item()
        assert largest <= bound
        assert largest > 0.9 * bound or name == "readout.bias"


def attention(*, input_size: int, positions: int, initialization: str) -> SelfAttention:
    sizes = {
        "input_size": input_size,
        "output_size": 2,
        "width": 64,
        "heads": 1,
        "mlp_width": 256,
        "mlp_layers": 3,
        "positions": positions,
    }
    draws = {"initialization": initialization, "generator": torch.Generator().manual_seed(0)}
    return SelfAttention(**sizes, **draws, bias=True, causal=False, fourier_features=0)


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_attention_has_the_biases_of_linear_layers(initialization: str) -> None:
    """Each within 1/sqrt(fan_in) of its own layer, as nn.Linear draws them; of a projection from 1
    channel within 1.

    The largest of 64 numbers below 0.8 of the bound has probability 7e-7.
    """
    model = attention(input_size=1, positions=0, initialization=initialization)
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            bound, largest = layer.in_features**-0.5, layer.bias.abs().max().item()
            assert largest <= bound
            assert largest > 0.8 * bound or name == "mlp.2"


def test_torch_default_is_what_each_layer_draws_itself() -> None:
    """Mean square of every parameter of 1,000 numbers or more against that of torch's own layers:
    within 10 %, 5 standard deviations.
    """
    model = attention(input_size=16, positions=32, initialization="torch_default")
    ours = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for layer in model.modules():
            if isinstance(layer, nn.Linear | nn.Embedding):
                layer.reset_parameters()
    for name, parameter in model.named_parameters():
        if parameter.numel() >= 1000:
            assert ours[name].square().mean().item() == pytest.approx(
                parameter.square().mean().item(), rel=0.1
            )


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_biases_are_uniform_within_the_default_bound(initialization: str) -> None:
    """192 numbers a bias; the largest below 0.9 of the bound has probability 2e-9."""
    model = build_model("gru", units=64, initialization=initialization)
    for name in ("gru.bias_ih_l0", "gru.bias_hh_l0"):
        assert 0.9 / 8 < model.get_parameter(name).abs().max().item() <= 1 / 8


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_initialization_names_the_valid_ones(kind: str) -> None:
    with pytest.raises(
        UserError, match=r"model.initialization=xavier.*orthogonal, torch_default, xavier_normal"
    ):
        build_model(kind, initialization="xavier")
