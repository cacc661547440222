"""LSTM, stacked GRU and transformer: as torch's own modules compute them, their NTK_S against dense
automatic differentiation, their initial weights.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from oracles import jacobian, normal, relative_error, seeded
from small_runs import small_config
from torch import Tensor, nn

from kpflow_cli.errors import UserError
from kpflow_cli.models.base import Model
from kpflow_cli.models.stacked import LSTM, StackedGRU
from kpflow_cli.models.transformer import Transformer, sinusoidal_positions
from kpflow_cli.ntk import global_ntk
from kpflow_cli.run.runner import run

INPUTS = normal(2, 5, 3)
INITIALIZATIONS = ("xavier_normal", "orthogonal", "torch_default")


def stacked(kind: type[LSTM | StackedGRU], **changes: Any) -> Model:
    sizes = {"input_size": 3, "output_size": 2, "units": 4, "layers": 2, "bias": True}
    draws = {"gain": 1.3, "initialization": "xavier_normal", "generator": seeded()}
    return kind(**sizes | draws | changes).double()


def transformer(**changes: Any) -> Transformer:
    sizes = {"input_size": 3, "output_size": 2, "units": 4, "layers": 2, "heads": 2}
    choices = {"feedforward": 5, "norm_first": False, "causal": True, "positions": "sinusoidal"}
    draws = {"initialization": "xavier_normal", "generator": seeded()}
    return Transformer(**sizes | choices | draws | changes).double()


NETWORKS = {
    "lstm": stacked(LSTM, layers=1),
    "lstm of two layers without biases": stacked(LSTM, bias=False),
    "lstm of one unit": stacked(LSTM, units=1),
    "gru of two layers": stacked(StackedGRU),
    "gru of three layers without biases": stacked(StackedGRU, layers=3, bias=False),
    "transformer": transformer(),
    "norms first": transformer(norm_first=True),
    "not causal": transformer(causal=False, layers=1),
    "no positions": transformer(positions="none", heads=4, layers=1),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_ntk_is_that_of_dense_automatic_differentiation(name: str) -> None:
    model = NETWORKS[name]
    trained = [each for key, each in model.named_parameters() if not key.startswith("readout")]
    dense = jacobian(model(INPUTS)[1], trained)
    ntk = global_ntk(model.linearize(INPUTS)).dense()
    assert relative_error(ntk, dense @ dense.mT) < 1e-12


@pytest.mark.parametrize(("kind", "plain"), [(LSTM, nn.LSTM), (StackedGRU, nn.GRU)])
def test_weights_load_into_a_plain_module(
    kind: type[LSTM | StackedGRU], plain: type[nn.LSTM | nn.GRU]
) -> None:
    model = stacked(kind)
    twin = plain(3, 4, num_layers=2, batch_first=True).double()
    twin.load_state_dict(
        {
            name.removeprefix("recurrence."): value
            for name, value in model.state_dict().items()
            if name.startswith("recurrence.")
        }
    )
    outputs, states = model(INPUTS)
    torch.testing.assert_close(states, twin(INPUTS)[0])
    torch.testing.assert_close(outputs, model.get_submodule("readout")(states))


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
@pytest.mark.parametrize("make", [lambda **draws: stacked(LSTM, **draws), transformer])
def test_initial_weights_depend_on_the_generator_alone(make: Any, initialization: str) -> None:
    torch.manual_seed(1)
    first = make(initialization=initialization, generator=seeded())
    torch.manual_seed(2)
    again = make(initialization=initialization, generator=seeded())
    other = make(initialization=initialization, generator=seeded(1))
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        # what norms and, as torch draws it, attention start with is no draw
        fixed = "norm" in name or name.endswith(("in_proj_bias", "out_proj.bias"))
        assert torch.equal(value, other.state_dict()[name]) == fixed


@pytest.mark.parametrize("kind", [LSTM, StackedGRU])
def test_gain_scales_the_recurrent_weight_of_every_layer(kind: type[LSTM | StackedGRU]) -> None:
    unscaled, scaled = (stacked(kind, gain=gain, generator=seeded()) for gain in (1.0, 2.0))
    for name, value in unscaled.state_dict().items():
        factor = 2.0 if "weight_hh" in name else 1.0
        assert torch.equal(scaled.state_dict()[name], factor * value)


def test_torch_default_of_a_transformer_is_what_torch_draws() -> None:
    """Mean square of every parameter of 1,000 numbers or more against that of torch's own layer:
    within 10 %, 5 standard deviations; what torch does not draw is the same.
    """
    sizes = {"units": 32, "feedforward": 64, "layers": 1}
    ours = transformer(**sizes, initialization="torch_default").layers[0]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        theirs = nn.TransformerEncoderLayer(32, 2, dim_feedforward=64).double()
    for name, parameter in theirs.named_parameters():
        if parameter.numel() >= 1000:
            assert ours.get_parameter(name).square().mean().item() == pytest.approx(
                parameter.square().mean().item(), rel=0.1
            )
        elif "linear" not in name:
            assert torch.equal(ours.get_parameter(name), parameter)


@pytest.mark.parametrize("causal", [True, False])
def test_a_causal_transformer_does_not_see_what_comes(causal: bool) -> None:
    changed = INPUTS.clone()
    changed[:, 3] += 1
    model = transformer(causal=causal)
    before, after = model(INPUTS)[1], model(changed)[1]
    assert torch.allclose(before[:, :3], after[:, :3], rtol=1e-12) == causal
    assert not torch.allclose(before[:, 3:], after[:, 3:], rtol=1e-3)


@pytest.mark.parametrize("positions", ["sinusoidal", "none"])
def test_only_positions_tell_equal_inputs_apart(positions: str) -> None:
    """Of equal inputs attention makes equal states, causal or not."""
    states = transformer(positions=positions)(torch.ones(1, 5, 3, dtype=torch.float64))[1]
    spread = (states - states[:, :1]).norm().item()
    assert (spread > 0.1) == (positions == "sinusoidal")
    assert spread > 0.1 or spread < 1e-12


@pytest.mark.parametrize("units", [1, 5, 6])
def test_positions_are_sines_and_cosines(units: int) -> None:
    def slow(step: int, unit: int) -> float:
        phase = step / 10_000 ** (2 * (unit // 2) / units)
        return math.cos(phase) if unit % 2 else math.sin(phase)

    expected = [[slow(step, unit) for unit in range(units)] for step in range(7)]
    wanted: Tensor = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(sinusoidal_positions(7, units), wanted)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("model=transformer", "model.heads=5", "model.units=64"),
            "model.heads=5: does not divide",
        ),
        (("model=transformer", "model.heads=0"), r"model\.heads=0: impossible; valid: at least 1"),
        (("model=transformer", "model.positions=learned"), "valid: sinusoidal, none"),
        (("model=lstm", "model.layers=0"), r"model\.layers=0: impossible; valid: at least 1"),
        (("model=gru2", "model.gain=-1"), r"model\.gain=-1: impossible; valid: at least 0"),
    ],
)
def test_impossible_values_are_refused_before_any_work(
    overrides: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        run(small_config(*overrides), tmp_path / "run", {})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("model", ["lstm", "gru2", "transformer"])
def test_a_short_memory_is_learned(model: str, tmp_path: Path) -> None:
    config = small_config(
        f"model={model}",
        "model.units=16",
        "training=adam",
        "training.learning_rate=0.01",
        "training.steps=200",
        "analysis.checkpoints=2",
        "analysis.measures=[k]",
        "analysis.records=[]",
    )
    run(config, tmp_path / "run", {})
    table = pd.read_csv(tmp_path / "run" / "training.csv")
    assert table["evaluation_loss"].iloc[-1] < 0.05 * table["evaluation_loss"].iloc[0]
    assert table["accuracy"].iloc[-1] == 1
