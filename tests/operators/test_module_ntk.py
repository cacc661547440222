"""NTK_S of any module against dense autograd through torch's own layers, which knows nothing of sites."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracles import assert_linear_operator, jacobian, normal, relative_error
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from kpflow_cli.errors import UserError
from kpflow_cli.models.tracing import trace
from kpflow_cli.operators import ModuleNTK

TOLERANCE = 1e-12


class TiedLanguageModel(nn.Module):
    """Embedding and readout share their weight, a layer is used twice, a padding index does not train."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4, padding_idx=0)
        self.layer = nn.Linear(4, 4)
        self.bias = nn.Parameter(torch.zeros(5))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(self.layer(self.embedding(tokens)))
        hidden = torch.tanh(self.layer(hidden))
        return functional.linear(hidden, self.embedding.weight) + self.bias, hidden


class HandWritten(nn.Module):
    """Products with bare parameters on either side, views of parameters, a loop over time."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(4, 4))
        self.both = nn.Parameter(torch.zeros(8, 4))
        self.b = nn.Parameter(torch.zeros(4))

    def forward(self, inputs: Tensor) -> Tensor:
        first, second = self.both.chunk(2)
        state, states = torch.zeros_like(inputs[:, 0]), []
        for drive in inputs.unbind(1):
            state = torch.tanh(state @ self.w.T + (first @ drive.T).T + self.b)
            state = state + torch.tanh(drive @ second[:2].transpose(0, 1)).repeat(1, 2)
            states.append(state)
        return torch.stack(states, dim=1)


class StepByStep(nn.Module):
    """Cells called in a loop, states written in place."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, inputs: Tensor) -> Tensor:
        states = inputs.new_zeros(*inputs.shape[:2], 3)
        state: Any = None
        for step, drive in enumerate(inputs.unbind(1)):
            state = self.cell(drive, state)
            states[:, step] = state[0] if isinstance(state, tuple) else state
        return states


class CrossAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, kdim=3, vdim=3, batch_first=True)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.attention(inputs, inputs[..., :3], inputs[..., 1:])[0]


def first(result: Any) -> Tensor:
    return result if isinstance(result, Tensor) else result[0]


def encoder(**options: Any) -> nn.Module:
    return nn.TransformerEncoderLayer(4, 2, 6, dropout=0.3, batch_first=True, **options)


def causally_masked(layer: nn.Module) -> nn.Module:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, inputs: Tensor) -> Tensor:
            mask = nn.Transformer.generate_square_subsequent_mask(inputs.shape[1], dtype=inputs.dtype)
            return self.layer(inputs, src_mask=mask, is_causal=True)

    return Masked()


SEQUENCES = normal(2, 3, 4, seed=1)
TOKENS = torch.tensor([[0, 2, 3], [1, 1, 4]])
# a module and what it is called with
MODULES: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3, bias=False)), SEQUENCES),
    "cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 2, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(2, 2, 1), nn.Flatten(), nn.Linear(8, 3)
        ),
        SEQUENCES.unsqueeze(1),
    ),
    "conv1d_options": (lambda: nn.Conv1d(4, 6, 2, stride=2, padding=2, dilation=2, padding_mode="circular"), normal(2, 4, 5)),
    "conv1d_groups": (lambda: nn.Conv1d(4, 4, 2, groups=2), SEQUENCES.mT),
    "conv2d_same": (lambda: nn.Conv2d(1, 2, 3, padding="same", bias=False), SEQUENCES.unsqueeze(1)),
    "conv3d": (lambda: nn.Conv3d(1, 2, 2), normal(2, 1, 2, 3, 2)),
    "rnn_relu": (lambda: nn.RNN(4, 3, nonlinearity="relu", bias=False), SEQUENCES),
    "gru": (lambda: nn.GRU(4, 3, batch_first=True), SEQUENCES),
    "gru_two_layers": (lambda: nn.GRU(4, 3, num_layers=2, batch_first=True, dropout=0.5), SEQUENCES),
    "lstm": (lambda: nn.LSTM(4, 3, batch_first=True), SEQUENCES),
    "lstm_bidirectional": (lambda: nn.LSTM(4, 3, num_layers=2, bidirectional=True), SEQUENCES),
    "lstm_projection": (lambda: nn.LSTM(4, 3, proj_size=2, bias=False), SEQUENCES),
    "lstm_unbatched": (lambda: nn.LSTM(4, 3), SEQUENCES[0]),
    "rnn_cell": (lambda: StepByStep(nn.RNNCell(4, 3)), SEQUENCES),
    "gru_cell": (lambda: StepByStep(nn.GRUCell(4, 3)), SEQUENCES),
    "lstm_cell": (lambda: StepByStep(nn.LSTMCell(4, 3)), SEQUENCES),
    "cross_attention": (CrossAttention, SEQUENCES),
    "encoder_post": (lambda: causally_masked(encoder(norm_first=False, activation="gelu")), SEQUENCES),
    "encoder_pre": (lambda: causally_masked(encoder(norm_first=True)), SEQUENCES),
    "tied": (TiedLanguageModel, TOKENS),
    "hand_written": (HandWritten, SEQUENCES),
}


def build(name: str) -> tuple[nn.Module, Tensor]:
    make, inputs = MODULES[name]
    module = make().double()
    with torch.no_grad():
        for index, parameter in enumerate(module.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=10 + index) / math.sqrt(2))
    return module, inputs


def trained(module: nn.Module) -> list[Tensor]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def oracle(module: nn.Module, inputs: Tensor, state: Callable[[Any], Tensor] = first) -> Tensor:
    """NTK_S through torch's own layers, the fused ones too."""
    module.eval()
    derivative = jacobian(state(module(inputs)), trained(module))
    return derivative @ derivative.T


@pytest.mark.parametrize("name", MODULES)
def test_ntk_of_a_named_state(name: str) -> None:
    module, inputs = build(name)
    ntk = ModuleNTK(trace(module, inputs, state=first))
    expected = oracle(module, inputs)
    assert_linear_operator(ntk, expected, tolerance=TOLERANCE)
    assert_linear_operator(ntk.factor, ntk.factor.dense(), tolerance=TOLERANCE)
    assert_linear_operator(ntk.propagator, ntk.propagator.dense(), tolerance=TOLERANCE)
    product = ntk.propagator @ ntk.parameter_operator @ ntk.propagator.adjoint
    assert relative_error(product.dense(), expected) < TOLERANCE


@pytest.mark.parametrize("name", MODULES)
def test_all_site_outputs_as_the_state(name: str) -> None:
    module, inputs = build(name)
    trajectory = trace(module, inputs)
    ntk = ModuleNTK(trajectory)
    # the site outputs again, this time of parameters that autograd differentiates
    with torch.enable_grad():
        outputs = trajectory.perturbed_state([torch.zeros(call.shape, dtype=torch.float64) for call in trajectory.calls])
    derivative = jacobian(outputs, [module.get_parameter(name) for name in trajectory.parameters])
    assert_linear_operator(ntk, derivative @ derivative.T, tolerance=TOLERANCE)
    # earlier outputs are not moved by later ones: P is unit lower triangular
    propagator = ntk.propagator.dense()
    assert relative_error(propagator.tril(), propagator) < TOLERANCE
    assert relative_error(propagator.diagonal(), torch.ones(len(propagator), dtype=torch.float64)) < TOLERANCE


@pytest.mark.parametrize("name", MODULES)
def test_parameter_operator(name: str) -> None:
    module, inputs = build(name)
    trajectory = trace(module, inputs)
    operator = ModuleNTK(trajectory).parameter_operator
    # site outputs with all perturbations through the rest of the graph cut off: of each call its own parameters alone
    leaves = {name: parameter.clone().requires_grad_() for name, parameter in trajectory.parameters.items()}
    outputs = torch.cat([call.output(leaves).flatten() for call in trajectory.calls])
    derivative = jacobian(outputs, list(leaves.values()))
    assert_linear_operator(operator, derivative @ derivative.T, tolerance=TOLERANCE)
    spectrum = operator.eigenvalues()
    shared = {"tied", "hand_written", "conv1d_groups", "cross_attention"}
    assert (spectrum is None) == (name in shared)
    if spectrum is not None:
        exact = torch.linalg.eigvalsh(derivative @ derivative.T).flip(0)
        length = min(len(exact), len(spectrum))
        torch.testing.assert_close(spectrum[:length], exact[:length], rtol=0, atol=1e-12 * exact[0].item())
        assert (spectrum[length:] < 1e-12 * exact[0]).all()
        assert (exact[length:] < 1e-12 * exact[0]).all()


def test_core_on_site_outputs_is_the_direct_sum_of_kronecker_products() -> None:
    module, inputs = build("mlp")
    hidden = torch.tanh(module[0](inputs)).detach()
    blocks = [torch.kron(v @ v.T, torch.eye(a).double()) for v, a in ((inputs.flatten(0, 1), 5), (hidden.flatten(0, 1), 3))]
    assert_linear_operator(ModuleNTK(trace(module, inputs)).core, torch.block_diag(*blocks))


def test_core_on_site_outputs_keeps_shared_weights_apart() -> None:
    module, inputs = build("tied")
    trajectory = trace(module, inputs)
    core = ModuleNTK(trajectory).core.dense()
    sizes = [call.shape.numel() for call in trajectory.calls]
    kinds = [call.map.function for call in trajectory.calls]
    assert kinds == ["embedding", "linear", "linear", "linear", "sum"]
    blocks = [[block.norm().item() > 0 for block in rows.split(sizes, dim=1)] for rows in core.split(sizes)]
    # the layer that is used twice is one site, the embedding and the readout are two
    assert blocks == [[*(i == j or {i, j} == {1, 2} for j in range(4)), False] for i in range(4)] + [[False] * 5]


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
def test_core_on_a_named_state(name: str, variables: Callable[[nn.Module, Tensor], list[Tensor]]) -> None:
    module, inputs = build(name)
    core = ModuleNTK(trace(module, inputs, state=first)).core
    v = torch.cat([each.detach() for each in variables(module.eval(), inputs)], dim=-1).flatten(0, 1)
    assert_linear_operator(core, torch.kron(v @ v.T, torch.eye(core.in_shape[-1]).double()))


def shifted(states: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1)


def layered(module: nn.Module, inputs: Tensor) -> list[Tensor]:
    """Of a GRU of two layers: h of the first before and after each step, h of the second before."""
    below = nn.GRU(4, 3, batch_first=True).double()
    below.load_state_dict({name: value for name, value in module.state_dict().items() if name.endswith("_l0")})
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

    core = ModuleNTK(trace(SelfAttention(), inputs, state=first)).core
    ordered = inputs if batch_first else inputs.transpose(0, 1)
    q, k, v = (ordered @ layer.in_proj_weight.T).chunk(3, dim=-1)
    attended = torch.softmax(q @ k.mT / 2, dim=-1) @ v
    attended = attended if batch_first else attended.transpose(0, 1)
    variables = torch.cat([inputs, attended], dim=-1).flatten(0, 1).detach()
    assert relative_error(core.dense(), torch.kron(variables @ variables.T, torch.eye(4).double())) < TOLERANCE


def test_backward_direction_has_its_rows_in_the_order_of_time() -> None:
    module = nn.RNN(4, 3, bidirectional=True, batch_first=True, bias=False).double()
    forward, backward = module(SEQUENCES)[0].detach().chunk(2, dim=-1)
    later = torch.cat([backward[:, 1:], torch.zeros_like(backward[:, :1])], dim=1)
    v = torch.cat([SEQUENCES, SEQUENCES, shifted(forward), later], dim=-1).flatten(0, 1)
    core = ModuleNTK(trace(module, SEQUENCES, state=first)).core
    assert relative_error(core.dense(), torch.kron(v @ v.T, torch.eye(6).double())) < TOLERANCE


@pytest.mark.parametrize("name", ["mlp", "gru_two_layers", "encoder_pre", "tied", "hand_written"])
def test_every_frozen_parameter_is_left_out(name: str) -> None:
    for index in range(len(list(build(name)[0].parameters()))):
        module, inputs = build(name)
        list(module.parameters())[index].requires_grad_(False)
        ntk = ModuleNTK(trace(module, inputs, state=first))
        assert relative_error(ntk.dense(), oracle(module, inputs)) < TOLERANCE


def test_parameters_that_do_not_reach_the_state_are_no_sites() -> None:
    module, inputs = build("tied")
    trajectory = trace(module, inputs, state=lambda result: result[1])
    assert set(trajectory.parameters) == {"embedding.weight", "layer.weight", "layer.bias"}
    expected = oracle(nn.Sequential(module.embedding, module.layer, nn.Tanh(), module.layer, nn.Tanh()), inputs)
    assert relative_error(ModuleNTK(trajectory).dense(), expected) < TOLERANCE


class Leaky(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.log_rate = nn.Parameter(normal(4))
        self.layer = nn.Linear(4, 4).double()
        self.scale = nn.Parameter(normal(2, 4, seed=1))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.exp(self.log_rate) * torch.tanh(self.layer(inputs)) * self.scale[0]


def test_parameter_outside_of_linear_maps_is_named() -> None:
    with pytest.raises(UserError, match=r"log_rate \(in exp\), scale \(in mul\).*others=autograd"):
        trace(Leaky(), SEQUENCES, state=first)


def test_parameter_outside_of_linear_maps_is_counted_through_autograd() -> None:
    module = Leaky()
    for state in (first, None):
        ntk = ModuleNTK(trace(module, SEQUENCES, state=state, others="autograd"))
        if state is not None:
            assert_linear_operator(ntk, oracle(module, SEQUENCES), tolerance=TOLERANCE)
    frozen = Leaky()
    frozen.log_rate.requires_grad_(False), frozen.scale.requires_grad_(False)
    assert relative_error(ModuleNTK(trace(frozen, SEQUENCES, state=first)).dense(), oracle(frozen, SEQUENCES)) < TOLERANCE


def test_parametrized_weight_is_outside_of_linear_maps() -> None:
    class Doubled(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight + weight**3

    module = nn.Linear(4, 3).double()
    parametrize.register_parametrization(module, "weight", Doubled())
    with pytest.raises(UserError, match=r"parametrizations\.weight\.original"):
        trace(module, SEQUENCES, state=first)
    ntk = ModuleNTK(trace(module, SEQUENCES, state=first, others="autograd"))
    assert relative_error(ntk.dense(), oracle(module, SEQUENCES)) < TOLERANCE


def test_state_named_by_a_submodule() -> None:
    module, inputs = build("mlp")
    hidden = oracle(module[:2], inputs)
    assert relative_error(ModuleNTK(trace(module, inputs, state="1")).dense(), hidden) < TOLERANCE
    stepwise, sequences = build("lstm_cell")
    assert relative_error(ModuleNTK(trace(stepwise, sequences, state="cell")).dense(), oracle(stepwise, sequences)) < TOLERANCE


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("2", r"state=2: Sequential has no such submodule; it has 0, 1"),
        (lambda _: 3, "the state is a int"),
        (torch.detach, "no trained parameter"),
    ],
)
def test_states_that_cannot_be_had(state: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        trace(nn.Sequential(nn.Linear(4, 3), nn.Tanh()).double(), SEQUENCES, state=state)


def test_packed_sequences_are_refused() -> None:
    packed = nn.utils.rnn.pack_padded_sequence(SEQUENCES, [3, 2], batch_first=True)
    with pytest.raises(ValueError, match="padded"):
        trace(nn.GRU(4, 3, batch_first=True).double(), packed, state=lambda result: result[1])


def test_tracing_leaves_the_module_as_it_was() -> None:
    module, inputs = build("gru_two_layers")
    module.train()
    ModuleNTK(trace(module, inputs, state=first)).dense()
    assert module.training
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not module._forward_hooks


def test_no_core_where_no_site_has_the_rows_of_the_state() -> None:
    module, inputs = build("conv1d_groups")
    ntk = ModuleNTK(trace(module, inputs, state=first))
    with pytest.raises(UserError, match=r"\(2, 4\)"):
        _ = ntk.core


def test_single_precision() -> None:
    module, inputs = build("encoder_post")
    expected = oracle(module, inputs)
    ntk = ModuleNTK(trace(module.float(), inputs.float(), state=first))
    assert ntk.dtype == torch.float32
    assert relative_error(ntk.dense().double(), expected) < 1e-5
