"""The Kronecker core of any module against V V^T (x) I with V from torch's own layers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from oracles import assert_linear_operator, normal, relative_error
from torch import Tensor, nn
from traced_modules import SEQUENCES, build, first

from kpflow_cli.errors import UserError
from kpflow_cli.ntk import global_ntk, linearize

TOLERANCE = 1e-12


def test_core_on_site_outputs_is_the_direct_sum_of_kronecker_products() -> None:
    module, inputs = build("mlp")
    hidden = torch.tanh(module[0](inputs)).detach()
    blocks = [
        torch.kron(v @ v.T, torch.eye(a).double())
        for v, a in ((inputs.flatten(0, 1), 5), (hidden.flatten(0, 1), 3))
    ]
    assert_linear_operator(global_ntk(linearize(module, inputs)).core, torch.block_diag(*blocks))


@pytest.mark.parametrize("name", ["mlp", "shifted", "cnn", "lstm", "encoder_post", "tied"])
def test_spectrum_of_the_core_on_site_outputs(name: str) -> None:
    module, inputs = build(name)
    core = global_ntk(linearize(module, inputs)).core
    exact, found = torch.linalg.eigvalsh(core.dense()).flip(0), core.eigenvalues()
    assert found is not None
    # the rest of either are 0
    length = min(len(exact), len(found))
    scale = exact[0].item()
    torch.testing.assert_close(found[:length], exact[:length], rtol=0, atol=1e-12 * scale)
    assert torch.cat([found[length:], exact[length:]]).abs().sum() < 1e-11 * scale


def test_core_on_site_outputs_keeps_shared_weights_apart() -> None:
    module, inputs = build("tied")
    trajectory = linearize(module, inputs)
    core = global_ntk(trajectory).core.dense()
    sizes = [call.shape.numel() for call in trajectory.traced.calls]
    kinds = [call.map.function for call in trajectory.traced.calls]
    assert kinds == ["embedding", "linear", "linear", "linear", "sum"]
    blocks = [
        [block.norm().item() > 0 for block in rows.split(sizes, dim=1)]
        for rows in core.split(sizes)
    ]
    # the layer that is used twice is one site, the embedding and the readout are two
    assert blocks == [
        [*(i == j or {i, j} == {1, 2} for j in range(4)), False] for i in range(4)
    ] + [[False] * 5]


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("mlp", lambda m, x: [x, torch.tanh(m[0](x))]),
        ("gru", lambda m, x: [x, shifted(m(x)[0])]),
        ("lstm", lambda m, x: [x, shifted(m(x)[0])]),
        ("gru_two_layers", lambda m, x: [x, *layered(m, x)]),
        ("lstm_cell", lambda m, x: [x, shifted(m(x))]),
    ],
)
def test_core_on_a_named_state(
    name: str, variables: Callable[[nn.Module, Tensor], list[Tensor]]
) -> None:
    module, inputs = build(name)
    core = global_ntk(linearize(module, inputs, state=first)).core
    v = torch.cat([each.detach() for each in variables(module.eval(), inputs)], dim=-1).flatten(
        0, 1
    )
    assert_linear_operator(core, torch.kron(v @ v.T, torch.eye(core.in_shape[-1]).double()))


def shifted(states: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1)


def layered(module: nn.Module, inputs: Tensor) -> list[Tensor]:
    """Of a GRU of two layers: h of the first before and after each step, h of the second before."""
    below = nn.GRU(4, 3, batch_first=True).double()
    below.load_state_dict(
        {name: value for name, value in module.state_dict().items() if name.endswith("_l0")}
    )
    lower = below(inputs)[0]
    return [shifted(lower), lower, shifted(module(inputs)[0])]


@pytest.mark.parametrize("batch_first", [True, False])
def test_core_of_attention_keeps_trials_and_times_in_order(batch_first: bool) -> None:
    layer = nn.MultiheadAttention(4, 1, batch_first=batch_first, bias=False).double()
    inputs = normal(3, 3, 4)

    class SelfAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x, x, x)[0]

    core = global_ntk(linearize(SelfAttention(), inputs, state=first)).core
    ordered = inputs if batch_first else inputs.transpose(0, 1)
    q, k, v = (ordered @ layer.in_proj_weight.T).chunk(3, dim=-1)
    attended = torch.softmax(q @ k.mT / 2, dim=-1) @ v
    attended = attended if batch_first else attended.transpose(0, 1)
    variables = torch.cat([inputs, attended], dim=-1).flatten(0, 1).detach()
    assert (
        relative_error(core.dense(), torch.kron(variables @ variables.T, torch.eye(4).double()))
        < TOLERANCE
    )


def test_backward_direction_has_its_rows_in_the_order_of_time() -> None:
    module = nn.RNN(4, 3, bidirectional=True, batch_first=True, bias=False).double()
    forward, backward = module(SEQUENCES)[0].detach().chunk(2, dim=-1)
    later = torch.cat([backward[:, 1:], torch.zeros_like(backward[:, :1])], dim=1)
    v = torch.cat([SEQUENCES, SEQUENCES, shifted(forward), later], dim=-1).flatten(0, 1)
    core = global_ntk(linearize(module, SEQUENCES, state=first)).core
    assert relative_error(core.dense(), torch.kron(v @ v.T, torch.eye(6).double())) < TOLERANCE


def test_every_use_of_a_shared_weight_is_in_the_core() -> None:
    module, tokens = build("tied")
    embedded = module.embedding(tokens)
    once = torch.tanh(module.layer(embedded))
    one_hot = torch.nn.functional.one_hot(tokens, 5).double() * (tokens != 0).unsqueeze(-1)
    v = (
        torch.cat([one_hot, embedded, once, torch.tanh(module.layer(once))], dim=-1)
        .flatten(0, 1)
        .detach()
    )
    core = global_ntk(linearize(module, tokens, state=first)).core
    assert list(core.variables_by_site) == ["embedding", "layer", "linear of embedding.weight"]
    assert relative_error(core.dense(), torch.kron(v @ v.T, torch.eye(5).double())) < TOLERANCE


def test_no_core_where_no_site_has_the_rows_of_the_state() -> None:
    module, inputs = build("conv1d_groups")
    ntk = global_ntk(linearize(module, inputs, state=first))
    with pytest.raises(UserError, match=r"\(2, 4\)"):
        _ = ntk.core
