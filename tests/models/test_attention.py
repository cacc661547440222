"""The self-attention model: its forward pass against one written out, its operators against dense
automatic differentiation.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from oracles import assert_linear_operator, build_model, jacobian, normal, relative_error, seeded
from small_runs import small_config
from torch import Tensor, nn
from torch.nn import functional

from kpflow_cli.errors import UserError
from kpflow_cli.measures.records import RECORDS
from kpflow_cli.measures.records.scene import Scene
from kpflow_cli.models.attention import SelfAttention, fourier_features
from kpflow_cli.models.base import RecurrentModel
from kpflow_cli.models.custom import CustomModel
from kpflow_cli.models.networks import MLP
from kpflow_cli.models.rnn import ContinuousTimeRNN
from kpflow_cli.ntk import global_ntk, linearize
from kpflow_cli.run.plan import Plan
from kpflow_cli.tracing.state_choice import SiteState
from kpflow_cli.verification.comparisons import comparisons
from kpflow_cli.verification.verify import TOLERANCE

INPUTS = normal(2, 5, 3)
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two heads": {"heads": 2},
    "four heads": {"heads": 4},
    "causal": {"heads": 2, "causal": True},
    "no biases": {"bias": False},
    "positions": {"positions": 6, "heads": 2, "causal": True},
    "Fourier features": {"fourier_features": 3},
    "one map": {"mlp_layers": 1},
    "all": {
        "heads": 4,
        "causal": True,
        "bias": False,
        "positions": 5,
        "fourier_features": 2,
        "mlp_layers": 2,
    },
}


def attention(**changes: Any) -> SelfAttention:
    sizes = {
        "input_size": 3,
        "output_size": 2,
        "width": 4,
        "heads": 1,
        "mlp_width": 5,
        "mlp_layers": 3,
    }
    options = {
        "bias": True,
        "causal": False,
        "positions": 0,
        "fourier_features": 0,
        "initialization": "xavier_normal",
    }
    return SelfAttention(**{**sizes, **options, **changes}, generator=seeded()).double()


def written_out(
    model: SelfAttention, inputs: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Every site's variables and outputs by name, ``(B, T, ...)``, and attention weights ``(B,
    heads, T, T)``, row by row.
    """
    weights = dict(model.named_parameters())
    variables: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}

    def site(name: str, v: Tensor) -> Tensor:
        variables[name] = v
        outputs[name] = torch.einsum("btd,ad->bta", v, weights[f"{name}.weight"]) + weights.get(
            f"{name}.bias", torch.zeros(1)
        )
        return outputs[name]

    trials, steps, _ = inputs.shape
    hidden = site(
        "projection",
        fourier_features(inputs, model.fourier_features) if model.fourier_features else inputs,
    )
    if model.positions is not None:
        variables["positions"] = (
            torch.eye(model.positions.num_embeddings).double()[:steps].expand(trials, -1, -1)
        )
        outputs["positions"] = weights["positions.weight"][:steps].expand(trials, -1, -1)
        hidden = hidden + outputs["positions"]
    queries, keys, values = (
        site(name, hidden).chunk(model.heads, dim=-1) for name in ("query", "key", "value")
    )
    maps, attended = [], []
    for q, k, v in zip(queries, keys, values, strict=True):
        head = torch.zeros(trials, steps, steps).double()
        for row in range(steps):
            last = row + 1 if model.causal else steps
            scores = torch.einsum("bd,btd->bt", q[:, row], k[:, :last]) / q.shape[-1] ** 0.5
            head[:, row, :last] = scores.exp() / scores.exp().sum(1, keepdim=True)
        maps.append(head)
        attended.append(head @ v)
    hidden = site("merge", torch.cat(attended, dim=-1))
    for index in range(len(model.mlp)):
        hidden = site(f"mlp.{index}", functional.gelu(hidden) if index else hidden)
    return variables, outputs, torch.stack(maps, dim=1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_forward_is_the_formula(variant: str) -> None:
    model = attention(**VARIANTS[variant])
    _, outputs, maps = written_out(model, INPUTS)
    found, states = model(INPUTS)
    torch.testing.assert_close(
        states, torch.cat(list(outputs.values()), dim=-1), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(found, list(outputs.values())[-1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model.attention_weights(INPUTS), maps, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_ntk_and_core_of_both_states(variant: str) -> None:
    model = attention(**VARIANTS[variant])
    variables, outputs, _ = written_out(model, INPUTS)
    parameters = list(model.parameters())
    v = {name: each.detach().flatten(0, 1) for name, each in variables.items()}

    ntk = global_ntk(model.linearize(INPUTS))
    derivative = jacobian(torch.cat(list(outputs.values()), dim=-1), parameters)
    assert_linear_operator(ntk, derivative @ derivative.T, tolerance=1e-12)
    owner = torch.cat(
        [torch.full((each.shape[-1],), float(index)) for index, each in enumerate(outputs.values())]
    )
    blocks = [
        torch.kron(each @ each.T, (owner == index).double().diag())
        for index, each in enumerate(v.values())
    ]
    assert_linear_operator(ntk.core, torch.stack(blocks).sum(0), tolerance=1e-12)

    inputs_ntk = global_ntk(linearize(model, INPUTS, state=SiteState.INPUTS))
    state = torch.cat(list(variables.values()), dim=-1)
    derivative = jacobian(state, parameters)
    assert_linear_operator(inputs_ntk, derivative @ derivative.T, tolerance=1e-12)
    together = torch.cat(list(v.values()), dim=-1)
    # the variables of the last map move no state: its weight does not reach it
    reaching = torch.cat(
        [each for name, each in v.items() if name != f"mlp.{len(model.mlp) - 1}"], dim=-1
    )
    assert (
        relative_error(
            inputs_ntk.core.dense(),
            torch.kron(reaching @ reaching.T, torch.eye(together.shape[1]).double()),
        )
        < 1e-12
    )


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("model.causal=true", "model.positions=5"),
        ("model.bias=false", "model.fourier_features=3"),
    ],
)
def test_every_number_is_exact_with_all_probes(heads: int, options: tuple[str, ...]) -> None:
    plan = Plan(
        small_config(
            "task=attention",
            "model=attention",
            f"model.heads={heads}",
            *options,
            config_name="verify",
        )
    )
    errors = {comparison.name: comparison.relative_error for comparison in comparisons(plan)}
    assert {name: error for name, error in errors.items() if not error < TOLERANCE} == {}
    assert {
        "V V^T (x) I",
        "ntk alignment full",
        "ntk target_overlap_1 full",
        "v_merge effective_rank full",
    } <= errors.keys()


@pytest.mark.parametrize(
    "model", ["attention", "gru", "rnn", "vanilla_rnn", "lstm", "transformer", "tied"]
)
@pytest.mark.parametrize("state", ["site_outputs", "site_inputs"])
def test_any_model_can_be_measured_on_its_sites(model: str, state: str) -> None:
    configuration = small_config(f"model={model}", f"analysis.state={state}", config_name="verify")
    if model == "transformer" and state == "site_inputs":
        with pytest.raises(
            UserError,
            match=r"site layers.0.norm1: a layer_norm has no inputs by trial and time",
        ):
            Plan(configuration)
        return
    plan = Plan(configuration)
    errors = {comparison.name: comparison.relative_error for comparison in comparisons(plan)}
    assert {name: error for name, error in errors.items() if not error < TOLERANCE} == {}


def on_sites(model: RecurrentModel, inputs: Tensor) -> dict[str, Tensor]:
    """Site outputs and site inputs of a recurrent network from the states that its own layers give,
    recurrent products side by side.
    """
    states = model(inputs)[1]
    earlier = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1)
    squashed = torch.tanh(earlier) if isinstance(model, ContinuousTimeRNN) else earlier
    weights = dict(model.named_parameters())

    def product(weight: str, v: Tensor) -> Tensor:
        bias = weights.get(weight.replace("weight", "bias"))
        return v @ weights[weight].T + (0 if bias is None else bias)

    variables = {
        model.input_weight: inputs,
        model.recurrent_weight: squashed,
        "readout.weight": states,
    }
    return {
        "site_outputs": torch.cat([product(name, v) for name, v in variables.items()], dim=-1),
        "site_inputs": torch.cat(list(variables.values()), dim=-1),
    }


@pytest.mark.parametrize("name", ["gru", "rnn", "vanilla_rnn"])
@pytest.mark.parametrize("state", list(SiteState))
def test_sites_of_a_recurrent_network_are_in_the_order_of_trial_and_time(
    name: str, state: SiteState
) -> None:
    model, inputs = build_model(name), normal(4, 4, 3)
    expected = on_sites(model, inputs)[state.value]
    trajectory = linearize(model, inputs, state=state)
    torch.testing.assert_close(trajectory.state, expected.detach(), rtol=1e-12, atol=1e-12)
    derivative = jacobian(expected, list(model.parameters()))
    assert_linear_operator(global_ntk(trajectory), derivative @ derivative.T, tolerance=1e-12)
    core = global_ntk(trajectory).core
    v = on_sites(model, inputs)["site_inputs"].detach()
    # the readout's weight does not reach the site inputs
    reaching = v if state is SiteState.OUTPUTS else v[..., : -model.readout.in_features]
    torch.testing.assert_close(core.site_variables, reaching.flatten(0, 1), rtol=1e-12, atol=1e-12)


def test_what_is_not_by_trial_and_time_is_refused_whatever_its_size() -> None:
    class ChannelsFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv1d(3, 5, 1).double()

        def forward(self, inputs: Tensor) -> Tensor:
            return self.convolution(inputs.mT)

    with pytest.raises(
        UserError,
        match="what forward returns does not have the trials and times of the first input",
    ):
        linearize(ChannelsFirst(), INPUTS, state=SiteState.OUTPUTS)


def test_other_parameters_count_on_sites_too() -> None:
    class Scaled(MLP):
        def __init__(self, **sizes: int) -> None:
            super().__init__(**sizes)
            self.scale = nn.Parameter(torch.full((sizes["units"],), 0.7))

        def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
            state = self.hidden(inputs) * self.scale
            return self.readout(state), state

    options = {
        "units": 4,
        "kwargs": {},
        "state": None,
        "input_size": 3,
        "output_size": 2,
        "generator": seeded(),
    }
    with mock.patch("kpflow_cli.models.custom._import", return_value=Scaled):
        counted, refused = (
            CustomModel(target="Scaled", others=others, **options).double()
            for others in ("autograd", "refuse")
        )
    ntk = global_ntk(counted.trajectory(INPUTS, SiteState.INPUTS))
    hidden = counted.network.hidden
    variables = [INPUTS, hidden[:2](INPUTS), counted(INPUTS)[1]]
    derivative = jacobian(torch.cat(variables, dim=-1), list(counted.parameters()))
    assert relative_error(ntk.dense(), derivative @ derivative.T) < 1e-12
    with pytest.raises(UserError, match=r"network\.scale .*others=autograd"):
        refused.trajectory(INPUTS, SiteState.OUTPUTS)


def test_target_directions_lie_on_what_gives_the_outputs() -> None:
    plan = Plan(small_config("task=attention", "model=attention", config_name="verify"))
    (mode,) = plan.evaluation.modes.in_outputs()
    outputs = plan.target_directions(plan.trajectory())
    assert relative_error(outputs[0, ..., -1:], mode) < 1e-12
    assert not outputs[..., :-1].any()
    on_inputs = plan.target_directions(
        plan.model.trajectory(plan.evaluation.batch.inputs, SiteState.INPUTS)
    )
    readout = plan.model.mlp[-1].weight.detach()
    carried = mode @ readout
    assert relative_error(on_inputs[0, ..., -readout.shape[1] :], carried / carried.norm()) < 1e-12
    assert not on_inputs[..., : -readout.shape[1]].any()


def test_output_of_a_named_state_is_not_determined() -> None:
    trajectory = linearize(attention(), INPUTS, state=lambda result: result[1])
    with pytest.raises(ValueError, match="site outputs or site inputs"):
        trajectory.traced.output_of(trajectory.state)


def test_sites_without_common_rows_are_named() -> None:
    with pytest.raises(
        UserError,
        match=r"site network.plane does not have one row for each of \(trial, time\) = \(3, 5\)",
    ):
        Plan(small_config("model=cnn", "analysis.state=site_outputs", config_name="verify"))


def test_fourier_features_are_exact_at_any_power() -> None:
    x = torch.tensor([0.7, -1.3, 1e-3], dtype=torch.float64)
    found = fourier_features(x.unsqueeze(-1), 121)
    assert found.shape == (3, 121)
    for value, row in zip(x.tolist(), found, strict=True):
        for index, feature in enumerate(row.tolist()):
            angle = 2 * np.pi * float(Fraction(value) * 2 ** (index // 2) % 1)
            assert feature == pytest.approx(
                np.cos(angle) if index % 2 else np.sin(angle), abs=1e-14
            )
    # 0.7 and -1.3 have no digits left past 2^53 of their own size
    assert found[:2, 110::2].abs().max() == 0
    two_channels = fourier_features(torch.stack([x, -x], dim=-1), 3)
    torch.testing.assert_close(two_channels[:, :3], found[:, :3])
    torch.testing.assert_close(two_channels[:, 3:], found[:, :3] * torch.tensor([-1.0, 1.0, -1.0]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, r"model\.heads=3: does not divide model\.width=4"),
        ({"positions": 4}, r"model\.positions=4: a trial has 5 time steps"),
        ({"initialization": "xavier"}, r"model\.initialization=xavier: unknown"),
    ],
)
def test_impossible_values_are_told(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        attention(**changes)(INPUTS)


def test_recorded_attention_map() -> None:
    plan = Plan(
        small_config("task=attention", "model=attention", "model.heads=2", config_name="verify")
    )
    trajectory = plan.trajectory()
    scene = Scene(
        plan.model,
        plan.evaluation,
        plan.trainer().batch,
        trajectory,
        global_ntk(trajectory),
        seeded(),
    )
    table = pd.DataFrame(RECORDS["attention_map"].rows(scene)["attention_map"])
    maps = written_out(plan.model, plan.evaluation.batch.inputs)[2][0]  # type: ignore[arg-type]
    for head, rows in table.groupby("head"):
        found = rows.pivot_table(index="row", columns="column", values="value").to_numpy()
        np.testing.assert_allclose(found, maps[int(head) - 1].detach().numpy(), rtol=1e-12)
    with pytest.raises(
        UserError,
        match=r"analysis.records=attention_map: only of model=attention; of this one: .*zero_input",
    ):
        Plan(small_config("analysis.records=[attention_map]"))
    with pytest.raises(
        UserError,
        match=r"analysis.records=zero_input: only of a recurrent model .*; of this one: outputs",
    ):
        Plan(small_config("analysis.records=[zero_input]", "analysis.state=site_outputs"))
