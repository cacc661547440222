"""Networks that were measured wrongly once, and others of their kinds: the right number by plain
autograd, or a refusal in words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import unusual_networks as u
from oracles import jacobian, normal, relative_error
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import _get_current_function_mode_stack
from traced_modules import first
from unusual_networks import Network

from kpflow_cli.errors import UserError
from kpflow_cli.estimators.statistics import effective_rank
from kpflow_cli.ntk import global_ntk, linearize
from kpflow_cli.tracing.small_inputs import on_few_trials
from kpflow_cli.tracing.state_choice import SiteState, find_state_of
from kpflow_cli.tracing.watched_module import WatchedModule

TOLERANCE = 1e-12
X = normal(2, 3, 4)
SQUARE = normal(3, 3, 4, seed=1)
TOKENS = torch.tensor([[0, 2, 3], [1, 1, 4]])


@pytest.fixture(autouse=True)
def _double_by_default() -> Any:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def dense_ntk(module: nn.Module, inputs: Tensor, state: Callable[[Any], Tensor] = first) -> Tensor:
    """J J^T, one gradient of the real parameters for each number of the state."""
    parameters = [parameter for parameter in module.eval().parameters() if parameter.requires_grad]
    derivative = jacobian(state(module(inputs)), parameters).double()
    return derivative @ derivative.T


def encoder_layer() -> nn.Module:
    return nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)


# name: (network, inputs, options of trace)
RIGHT: dict[str, tuple[Callable[[], nn.Module], Tensor, dict[str, Any]]] = {
    "scripted submodule, counted": (
        lambda: nn.Sequential(nn.Linear(4, 4), u.traced(nn.Linear(4, 3), X)),
        X,
        {},
    ),
    "scripted cell, counted": (u.ScriptedCell, X, {}),
    "autograd.Function, counted": (
        lambda: Network(lambda s, x: torch.tanh(u.OwnLinear.apply(x, s.w)), w=(3, 4)),
        X,
        {},
    ),
    "vmap over weights, counted": (
        lambda: Network(
            lambda s, x: torch.vmap(lambda w: torch.tanh(x @ w))(s.w).sum(0), w=(2, 4, 3)
        ),
        X,
        {},
    ),
    "stop-gradient of a mean": (
        lambda: Network(
            u.mean_without_gradient, gru=nn.GRU(4, 3, batch_first=True), readout=nn.Linear(3, 3)
        ),
        X,
        {},
    ),
    "stop-gradient of a norm": (
        lambda: Network(u.norm_without_gradient, a=nn.Linear(4, 3), b=nn.Linear(3, 3)),
        X,
        {},
    ),
    "gate without gradient": (
        lambda: Network(u.frozen_branch, a=nn.Linear(4, 3), b=nn.Linear(3, 3)),
        X,
        {},
    ),
    "straight-through estimator": (
        lambda: Network(u.straight_through, a=nn.Linear(4, 3), b=nn.Linear(3, 3)),
        X,
        {},
    ),
    "detached mean": (
        lambda: Network(
            lambda s, x: s.a(x) - s.a(x).detach().mean(1, keepdim=True), a=nn.Linear(4, 3)
        ),
        X,
        {},
    ),
    "matmul, other=": (lambda: Network(lambda s, x: torch.matmul(x, other=s.w), w=(4, 3)), X, {}),
    "matmul, all by keyword": (
        lambda: Network(lambda s, x: torch.matmul(input=s.w, other=x.mT), w=(3, 4)),
        X,
        {},
    ),
    "mm, mat2=": (lambda: Network(lambda s, x: torch.mm(input=x[0], mat2=s.w), w=(4, 3)), X, {}),
    "transpose, input=": (
        lambda: Network(lambda s, x: x @ torch.transpose(input=s.w, dim0=0, dim1=1), w=(3, 4)),
        X,
        {},
    ),
    "reshape, shape=": (
        lambda: Network(lambda s, x: x @ torch.reshape(input=s.w, shape=(4, 3)), w=(3, 4)),
        X,
        {},
    ),
    "permute, dims=": (lambda: Network(lambda s, x: x @ s.w.permute(dims=(1, 0)), w=(3, 4)), X, {}),
    "chunk, chunks=": (
        lambda: Network(lambda s, x: x @ torch.chunk(input=s.w, chunks=2, dim=1)[0], w=(4, 6)),
        X,
        {},
    ),
    "add, alpha=": (
        lambda: Network(lambda s, x: torch.add(input=x, other=s.b, alpha=2), b=(4,)),
        X,
        {},
    ),
    "add from the left, alpha=": (
        lambda: Network(lambda s, x: torch.add(s.b, x, alpha=2), b=(4,)),
        X,
        {},
    ),
    "linear by keyword": (
        lambda: Network(
            lambda s, x: functional.linear(input=x, weight=s.w, bias=s.b), w=(3, 4), b=(3,)
        ),
        X,
        {},
    ),
    "convolution by keyword": (
        lambda: Network(
            lambda s, x: functional.conv1d(input=x, weight=s.w, padding=1), w=(5, 3, 3)
        ),
        X,
        {},
    ),
    "einsum, counted": (
        lambda: Network(lambda s, x: torch.einsum("bti,oi->bto", x, s.w), w=(3, 4)),
        X,
        {},
    ),
    "weight norm, counted": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 5)), nn.Tanh()),
        X,
        {},
    ),
    "orthogonal, counted": (
        lambda: nn.Sequential(nn.utils.parametrizations.orthogonal(nn.Linear(4, 4)), nn.Tanh()),
        X,
        {},
    ),
    "a rate that is one number, counted": (
        lambda: Network(lambda s, x: s.r.clamp(0, 1) * s.a(x), r=(), a=nn.Linear(4, 5)),
        X,
        {},
    ),
    "bilinear, counted": (
        lambda: Network(lambda s, x: s.b(x, s.a(x)), a=nn.Linear(4, 5), b=nn.Bilinear(4, 5, 2)),
        X,
        {},
    ),
    "spectral norm, counted": (
        lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 5)), nn.Tanh()),
        X,
        {},
    ),
    "orthogonal recurrent weights, counted": (
        lambda: nn.utils.parametrizations.orthogonal(
            nn.RNN(4, 3, batch_first=True), "weight_hh_l0"
        ),
        X,
        {},
    ),
    "PReLU, counted": (
        lambda: nn.Sequential(nn.Linear(4, 5), nn.PReLU()),
        X,
        {},
    ),
    "surrogate gradient": (
        lambda: Network(
            lambda s, x: s.b(u.Spike.apply(s.a(x))), a=nn.Linear(4, 5), b=nn.Linear(5, 3)
        ),
        X,
        {},
    ),
    "checkpoint": (u.Checkpointed, X, {}),
    "single beside double precision": (u.SingleBesideDouble, X, {}),
    "one vector from the right": (
        lambda: Network(lambda s, x: torch.tanh(s.w @ x), w=(3, 4)),
        X[0, 0],
        {},
    ),
    "one vector from the left": (
        lambda: Network(lambda s, x: torch.tanh(x @ s.w), w=(4, 3)),
        X[0, 0],
        {},
    ),
    "one vector through a layer": (lambda: nn.Linear(4, 3), X[0, 0], {}),
    "a weight that is a vector": (
        lambda: Network(lambda s, x: functional.linear(x, s.w), w=(4,)),
        X,
        {},
    ),
    "a state that is one number": (lambda: Network(lambda s, x: (x @ s.w).sum(), w=(4,)), X, {}),
    "the same bias twice": (lambda: Network(lambda s, x: x + s.w + s.w, w=(4,)), X, {}),
    "a bias added to itself, counted": (
        lambda: Network(lambda s, x: x * (s.w + s.w), w=(4,)),
        X,
        {},
    ),
    "a weight that is its own input, counted": (
        lambda: Network(lambda s, x: x @ (s.w @ s.w), w=(4, 4)),
        X,
        {},
    ),
    "a trained weight used once more, detached": (
        lambda: Network(
            lambda s, x: s.b(x) + functional.linear(x, s.a.weight.detach()) + s.a(x),
            a=nn.Linear(4, 3),
            b=nn.Linear(4, 3),
        ),
        X,
        {},
    ),
    "tokens of 32 bits": (lambda: nn.Sequential(nn.Embedding(5, 4), nn.Tanh()), TOKENS.int(), {}),
    "a mask of minus infinity": (
        lambda: Network(
            lambda s, x: s.e(x, nn.Transformer.generate_square_subsequent_mask(3, dtype=x.dtype)),
            e=encoder_layer(),
        ),
        X,
        {},
    ),
    "padded trials": (
        lambda: Network(
            lambda s, x: s.e(
                x, src_key_padding_mask=torch.tensor([[False, False, True], [False] * 3])
            ),
            e=nn.TransformerEncoder(encoder_layer(), 1, enable_nested_tensor=True),
        ),
        X,
        {},
    ),
    "a complex step between": (
        lambda: Network(
            lambda s, x: torch.fft.irfft(torch.fft.rfft(s.a(x)), n=4), a=nn.Linear(4, 4)
        ),
        X,
        {},
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right(name: str) -> None:
    make, inputs, options = RIGHT[name]
    module = make().eval()
    ntk = global_ntk(linearize(module, inputs, state=first, **options))
    assert relative_error(ntk.dense(), dense_ntk(module, inputs)) < TOLERANCE
    propagator = ntk.propagator
    # both ways to P in the precision of the coarsest part
    loose = 1e-6 if "single" in name else TOLERANCE
    assert relative_error(propagator.adjoint.dense().T, propagator.dense()) < loose


@pytest.mark.parametrize("make", [u.KeptHidden, u.KeptBuffer, u.KeptLists])
def test_every_call_starts_from_what_the_module_keeps_now(make: Callable[[], nn.Module]) -> None:
    module, fresh = make(), make()
    fresh.load_state_dict(module.state_dict())
    ntk = global_ntk(linearize(module, X, state=first))
    exact = dense_ntk(fresh, X)
    assert relative_error(ntk.dense(), exact) < TOLERANCE
    # and leaves it there
    assert relative_error(dense_ntk(module, X), exact) < TOLERANCE


COUNTED: dict[str, tuple[Callable[[], nn.Module], Tensor, str]] = {
    "scripted function": (u.ScriptedCell, X, "w, u: part"),
    "traced submodule": (
        lambda: nn.Sequential(nn.Linear(4, 4), u.traced(nn.Linear(4, 3), X)),
        X,
        "1.weight, 1.bias: part",
    ),
    "scripted beside a layer": (u.PartlyScripted, X, "w: part"),
    "autograd.Function": (
        lambda: Network(lambda s, x: torch.tanh(u.OwnLinear.apply(x, s.w)), w=(3, 4)),
        X,
        "w: part",
    ),
    "vmap over weights": (
        lambda: Network(lambda s, x: torch.vmap(lambda w: x @ w)(s.w).sum(0), w=(2, 4, 3)),
        X,
        "w: part",
    ),
    "einsum": (
        lambda: Network(lambda s, x: torch.einsum("bti,oi->bto", x, s.w), w=(3, 4)),
        X,
        r"w \(in einsum\).*model.others=autograd",
    ),
    "PReLU": (lambda: nn.Sequential(nn.Linear(4, 5), nn.PReLU()), X, r"1.weight \(in prelu\)"),
    "sum in place": (
        lambda: Network(lambda s, x: x.clone().add_(s.b), b=(4,)),
        X,
        r"b \(in add_\)",
    ),
}


@pytest.mark.parametrize("name", COUNTED)
def test_counted_by_autograd_or_refused(name: str) -> None:
    make, inputs, words = COUNTED[name]
    module = make().eval()
    found = global_ntk(linearize(module, inputs, state=first)).dense()
    assert relative_error(found, dense_ntk(module, inputs)) < TOLERANCE
    with pytest.raises(UserError, match=words):
        linearize(module, inputs, state=first, others="refuse")


def test_an_attribute_of_a_parameter_is_no_use_of_it() -> None:
    module = Network(lambda s, x: x.sum() * torch.cdist(s.w, s.w + s.w.shape[0]), w=(3, 4))
    with pytest.raises(UserError, match=r"w \(in cdist\)"):
        linearize(module, X, state=first, others="refuse")


REFUSED: dict[str, tuple[Callable[[], nn.Module], Tensor, str]] = {
    "view made in __init__": (
        u.ViewOfInit,
        X,
        "w: reaches the state through a tensor that was made of it outside of forward",
    ),
    "noise": (u.NoisyLoop, X, "different states"),
    "dropout in evaluation mode": (
        lambda: Network(lambda s, x: functional.dropout(s.a(x)), a=nn.Linear(4, 3)),
        X,
        "different states",
    ),
    "randomized ReLU": (
        lambda: Network(lambda s, x: functional.rrelu(s.a(x), training=True), a=nn.Linear(4, 3)),
        X,
        "different states",
    ),
    "noise of 1e-6": (
        lambda: Network(lambda s, x: s.a(x) + 1e-6 * torch.randn(2, 3, 3), a=nn.Linear(4, 3)),
        X,
        "different states",
    ),
    "another output while it is watched": (
        lambda: Network(
            lambda s, x: s.a(x) + 1e-6 * len(_get_current_function_mode_stack()),
            a=nn.Linear(4, 3),
        ),
        X,
        "acts otherwise under a torch function mode",
    ),
    "its own generator": (u.OwnGenerator, X, "different states"),
    "noise in a submodule": (lambda: nn.Sequential(u.NoisyLoop(), nn.Linear(3, 3)), X, "from 0 on"),
    "backward in place": (
        lambda: Network(lambda s, x: u.WorkingInPlace.apply(s.a(x)), a=nn.Linear(4, 3)),
        X,
        "works in place on what it keeps",
    ),
    "an adjoint solver": (
        lambda: Network(lambda s, x: u.Adjoint.apply(s.a, x, *s.a.parameters()), a=nn.Linear(4, 4)),
        X,
        "a.weight, a.bias: .*a backward pass that works with the parameter itself",
    ),
    "backward not differentiable": (
        lambda: Network(
            lambda s, x: s.b(u.OnceDifferentiable.apply(s.a(x))),
            a=nn.Linear(4, 5),
            b=nn.Linear(5, 3),
        ),
        X,
        "not differentiable",
    ),
    "backward in numpy": (
        lambda: Network(
            lambda s, x: s.b(u.NumpyBackward.apply(s.a(x))), a=nn.Linear(4, 5), b=nn.Linear(5, 3)
        ),
        X,
        "not differentiable",
    ),
    "complex weights": (u.ComplexLinear, X, "b.weight is of complex128"),
    "mixed precision": (u.Autocast, X, "bfloat16.*autocast"),
    "half precision": (lambda: nn.Linear(4, 3).half(), X.half(), "float16"),
    "bfloat16": (lambda: nn.Linear(4, 3).bfloat16(), X.bfloat16(), "bfloat16"),
    "not a number": (
        lambda: nn.Linear(4, 3),
        X * float("nan"),
        "inputs hold numbers that are not finite",
    ),
    "an infinite state": (
        lambda: Network(lambda s, x: s.a(x) / 0, a=nn.Linear(4, 3)),
        X,
        "state holds numbers that are not finite",
    ),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3)), X, "lazy"),
    "a forward that fails": (lambda: nn.Linear(5, 3), X, "RuntimeError"),
    "embedding that renormalizes": (
        lambda: nn.Sequential(nn.Embedding(5, 4, max_norm=0.5), nn.Tanh()),
        TOKENS,
        "changes the parameter 0.weight in place.*max_norm=None",
    ),
    "weight clamped": (
        lambda: Network(u.clamps_its_weight, a=nn.Linear(4, 3)),
        X,
        "changes the parameter a.weight in place",
    ),
    "data scaled": (
        lambda: Network(u.scales_its_data, a=nn.Linear(4, 3)),
        X,
        "changes the parameter a.weight in place",
    ),
    "weight replaced": (
        lambda: Network(u.replaces_its_weight, a=nn.Linear(4, 3)),
        X,
        "changes the parameter a.weight in place",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    make, inputs, words = REFUSED[name]
    module = make()
    known = {
        name: value.detach().clone()
        for name, value in module.named_parameters()
        if not isinstance(value, nn.UninitializedParameter)
    }
    with pytest.raises(UserError, match=words):
        linearize(module, inputs, state=first)
    for name, value in known.items():
        assert torch.equal(module.get_parameter(name), value)


@pytest.mark.parametrize(
    "after",
    [
        nn.ReLU(inplace=True),
        nn.Hardtanh(inplace=True),
        nn.Dropout(0.5, inplace=True),
        nn.ELU(inplace=True),
    ],
)
def test_a_named_state_is_what_the_submodule_returned(after: nn.Module) -> None:
    layer = nn.Linear(4, 5)
    module = nn.Sequential(layer, after, nn.Linear(5, 3)).eval()
    assert (
        relative_error(global_ntk(linearize(module, X, state="0")).dense(), dense_ntk(layer, X))
        < TOLERANCE
    )


def test_a_named_state_is_not_what_later_work_makes_of_it() -> None:
    module = u.AddsInPlace()
    assert (
        relative_error(global_ntk(linearize(module, X, state="a")).dense(), dense_ntk(module.a, X))
        < TOLERANCE
    )


# the state is the sites' outputs themselves, so that NTK_S = K
VIEWS: dict[str, Callable[[], nn.Module]] = {
    "expanded positions": lambda: Network(lambda s, x: x + s.p.expand(len(x), -1, -1), p=(1, 3, 4)),
    "repeated rows": lambda: Network(lambda s, x: functional.linear(x, s.w[[0, 0, 1]]), w=(2, 4)),
    "expanded rows": lambda: Network(lambda s, x: functional.linear(x, s.w.expand(3, 4)), w=(1, 4)),
    "overlapping rows": lambda: Network(
        lambda s, x: torch.cat([functional.linear(x, s.w[:2]), functional.linear(x, s.w[1:])], -1),
        w=(3, 4),
    ),
    "one number for all": lambda: Network(lambda s, x: x + s.b, b=()),
    "a number a time": lambda: Network(lambda s, x: x + s.b, b=(3, 1)),
    "expanded number": lambda: Network(lambda s, x: x + s.b.expand(4), b=(1,)),
    "a multiple of a bias": lambda: Network(
        lambda s, x: torch.cat([x.add(s.b, alpha=-3), s.a(x)], -1), b=(4,), a=nn.Linear(4, 3)
    ),
    "a bias for each row": lambda: Network(
        lambda s, x: functional.linear(x[0], s.w, s.b), w=(3, 4), b=(3, 1)
    ),
    "parts of one weight": lambda: Network(
        lambda s, x: torch.cat(
            [functional.linear(x, s.w[:4]), functional.linear(x**2, s.w[4:])], -1
        ),
        w=(7, 4),
    ),
}


@pytest.mark.parametrize("name", VIEWS)
def test_effective_rank_of_k(name: str) -> None:
    module = VIEWS[name]()
    exact = dense_ntk(module, X)
    found = effective_rank(global_ntk(linearize(module, X, state=first)).parameter_operator)
    assert found.standard_error == 0
    assert found.value == pytest.approx(
        (exact.trace() ** 2 / exact.square().sum()).item(), rel=1e-10
    )


def later(states: Tensor, axis: int = 1) -> Tensor:
    """The state after each, 0 after the last."""
    return torch.cat(
        [
            states.narrow(axis, 1, states.shape[axis] - 1),
            torch.zeros_like(states.narrow(axis, 0, 1)),
        ],
        axis,
    )


def earlier(states: Tensor, axis: int = 1) -> Tensor:
    """The state before each, 0 before the first."""
    return later(states.flip(axis), axis).flip(axis)


def both_ways(module: nn.Module, x: Tensor) -> list[Tensor]:
    forwards, backwards = module(x)[0].chunk(2, -1)
    return [x, x, earlier(forwards, 0), later(backwards, 0)]


def two_layers(module: nn.Module, x: Tensor) -> list[Tensor]:
    lower = nn.RNN(4, 3, bidirectional=True, batch_first=True, bias=False)
    lower.load_state_dict(
        {name: value for name, value in module.state_dict().items() if "_l0" in name}
    )
    below, above = lower(x)[0], module(x)[0]
    sides = [[earlier(states[..., :3]), later(states[..., 3:])] for states in (below, above)]
    return [x, x, *sides[0], below, below, *sides[1]]


def attention_by_einsum(self: Network, inputs: Tensor) -> Tensor:
    hidden = self.a(inputs)
    weights = torch.softmax(torch.einsum("bid,bjd->bij", hidden, hidden), -1)
    return torch.einsum("bij,bjd->bid", weights, hidden)


# name: (network, its site variables in the order of the state's rows)
ROWS: dict[str, tuple[Callable[[], nn.Module], Callable[[Any, Tensor], list[Tensor]]]] = {
    "time first": (lambda: nn.GRU(4, 5), lambda m, x: [x, earlier(m(x)[0], 0)]),
    "trials first": (lambda: nn.GRU(4, 5, batch_first=True), lambda m, x: [x, earlier(m(x)[0])]),
    "time first, both directions": (lambda: nn.RNN(4, 3, bidirectional=True), both_ways),
    "two layers, both directions": (
        lambda: nn.RNN(4, 3, num_layers=2, bidirectional=True, batch_first=True, bias=False),
        two_layers,
    ),
    "a loop backwards": (u.BackwardLoop, lambda m, x: [x, later(m(x))]),
    "a loop backwards, left so": (
        lambda: u.BackwardLoop(restored=False),
        lambda m, x: [x.flip(1), earlier(m(x))],
    ),
    "a loop over the first axis": (u.TimeFirstCell, lambda m, x: [x, earlier(m(x), 0)]),
    "a layer that sees time from its end": (u.FlippedGRU, lambda m, x: [x, later(m(x))]),
    "a parameter for each time": (u.FixedPositions, lambda m, x: [x + m.positions]),
    "rows in one axis": (
        lambda: nn.Sequential(nn.Flatten(0, 1), nn.Linear(4, 3)),
        lambda _, x: [x.flatten(0, 1)],
    ),
    "rows in one axis within, time slower": (
        lambda: Network(
            lambda s, x: (
                s.a(x.transpose(0, 1).flatten(0, 1))
                .unflatten(0, (x.shape[1], x.shape[0]))
                .transpose(0, 1)
            ),
            a=nn.Linear(4, 3),
        ),
        lambda _, x: [x],
    ),
    "attention by einsum": (
        lambda: Network(attention_by_einsum, a=nn.Linear(4, 4)),
        lambda _, x: [x],
    ),
    "times put in another order": (
        lambda: Network(
            lambda s, x: s.a(x[:, torch.arange(x.shape[1]).flip(0)]), a=nn.Linear(4, 3)
        ),
        lambda _, x: [x.flip(1)],
    ),
    "mixing across fewer times": (
        lambda: Network(
            lambda s, x: s.b(s.a(x[:, :2].mT).mT), a=nn.Linear(2, 3), b=nn.Linear(4, 4)
        ),
        lambda m, x: [m.a(x[:, :2].mT).mT],
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_of_the_core(name: str) -> None:
    """B = T = 3: sizes alone tell nothing."""
    make, variables = ROWS[name]
    module = make().eval()
    core = global_ntk(linearize(module, SQUARE, state=first)).core
    v = torch.cat([each.detach() for each in variables(module, SQUARE)], -1).flatten(0, -2)
    assert (
        relative_error(core.dense(), torch.kron(v @ v.T, torch.eye(core.in_shape[-1]))) < TOLERANCE
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: u.TokenMixing(3, 4),
        lambda: u.FlippedGRU(attends=True),
        lambda: u.FixedPositions(attends=True),
    ],
    ids=[
        "token mixing with T = n",
        "attention over a flipped layer",
        "attention at fixed positions",
    ],
)
def test_no_core_where_rows_are_not_known(make: Callable[[], nn.Module]) -> None:
    module, inputs = make(), normal(4, 3, 4)
    if isinstance(module, u.TokenMixing):
        module, inputs = u.TokenMixing(3, 3), normal(4, 3, 3)
    ntk = global_ntk(linearize(module, inputs, state=first))
    assert relative_error(ntk.dense(), dense_ntk(module, inputs)) < TOLERANCE
    with pytest.raises(
        UserError, match="which of its rows belongs to which of the state's is not known"
    ):
        _ = ntk.core


def flipped_by_joining(x: Tensor) -> Tensor:
    for time in range(1, x.shape[1]):
        x = torch.cat([x[:, time : time + 1], x[:, :time], x[:, time + 1 :]], 1)
    return x


def flipped_by_copying(x: Tensor) -> Tensor:
    flipped = torch.empty_like(x)
    for time in range(x.shape[1]):
        flipped.select(1, x.shape[1] - 1 - time).copy_(x[:, time])
    return flipped


def flipped_by_a_matrix(x: Tensor) -> Tensor:
    return torch.eye(x.shape[1]).flip(0) @ x


def mixed_between(flipped: Callable[[Tensor], Tensor]) -> nn.Module:
    """A layer and attention between two flips, so that every time reaches every time."""

    def forward(self: Network, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.a(flipped(x)))
        return flipped(torch.softmax(hidden @ hidden.mT, -1) @ hidden)

    return Network(forward, a=nn.Linear(4, 4))


UNKNOWN_ROWS: dict[str, Callable[[], nn.Module]] = {
    "flipped by joining": lambda: mixed_between(flipped_by_joining),
    "flipped by copying": lambda: mixed_between(flipped_by_copying),
    "flipped by a matrix": lambda: mixed_between(flipped_by_a_matrix),
    "rows of trials and times in one axis of the state": lambda: Network(
        lambda s, x: s.b(torch.tanh(s.a(x)).flatten(0, 1)), a=nn.Linear(4, 4), b=nn.Linear(4, 4)
    ),
    "the first time apart": lambda: Network(
        lambda s, x: s.b(torch.tanh(torch.cat([s.a(x[:, :1]), s.a(x[:, 1:])], 1))),
        a=nn.Linear(4, 4),
        b=nn.Linear(4, 4),
    ),
    "parts of a batch": lambda: Network(
        lambda s, x: s.b(torch.tanh(torch.cat([s.a(part) for part in x.chunk(2)]))),
        a=nn.Linear(4, 4),
        b=nn.Linear(4, 4),
    ),
}


@pytest.mark.parametrize("name", UNKNOWN_ROWS)
def test_no_site_is_left_out_of_the_core_or_turned_round_without_a_word(name: str) -> None:
    module = UNKNOWN_ROWS[name]()
    ntk = global_ntk(linearize(module, SQUARE, state=first))
    assert relative_error(ntk.dense(), dense_ntk(module, SQUARE)) < TOLERANCE
    with pytest.raises(
        UserError, match="site a: which of its rows belongs to which of the state's is not known"
    ):
        _ = ntk.core


@pytest.mark.parametrize(
    "result", [lambda x: x.flip(1), lambda x: x.transpose(0, 1)], ids=["flipped", "time first"]
)
def test_site_states_have_the_rows_of_the_input_or_none(result: Callable[[Tensor], Tensor]) -> None:
    module = Network(lambda s, x: result(s.a(x)), a=nn.Linear(4, 3))
    with pytest.raises(UserError, match="does not have the trials and times of the first input"):
        linearize(module, SQUARE, state=SiteState.OUTPUTS)


class TwoInputs(nn.Module):
    def __init__(self, joined: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.joined = nn.Linear(3, 3), joined

    def forward(self, inputs: Tensor, others: Tensor) -> Tensor:
        return self.layer(self.joined(inputs, others))


@pytest.mark.parametrize(
    ("joined", "others", "shapes"),
    [
        # of as many trials and times
        (lambda x, y: x[..., :3] + y, (3, 3, 3), [(2, 3, 3), (3, 5, 3)]),
        # of these sizes by chance
        (lambda x, y: x[..., :3] @ y, (3, 3), [(3, 3), (3, 3)]),
    ],
)
def test_other_inputs_follow_trials_and_times_where_they_can(
    joined: Callable[[Tensor, Tensor], Tensor],
    others: tuple[int, ...],
    shapes: list[tuple[int, ...]],
) -> None:
    module, given = TwoInputs(joined), (SQUARE, normal(*others, seed=4))
    watched = WatchedModule(module, given, find_state_of(first, module, given))
    found = [tuple(tuple(each.shape) for each in small.inputs) for small in on_few_trials(watched)]
    assert found == list(zip([(2, 3, 4), (3, 5, 4)], shapes, strict=True))


def test_what_changes_after_a_trace_does_not_change_it_in_silence() -> None:
    module, inputs = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)), X.clone()
    exact = dense_ntk(module, inputs)
    ntk = global_ntk(linearize(module, inputs, state=first))
    inputs.mul_(2)
    assert relative_error(ntk.dense(), exact) < TOLERANCE
    with torch.no_grad():
        module[2].weight.mul_(1.5)
    with pytest.raises(UserError, match="has changed since it was traced: trace it again"):
        ntk.dense()


def test_a_state_that_the_module_keeps() -> None:
    def keeps(self: Network, inputs: Tensor) -> Tensor:
        self.hidden = torch.tanh(self.a(inputs))
        return self.hidden.sum()

    module = Network(keeps, a=nn.Linear(4, 3))
    exact = dense_ntk(module, X, lambda _: module.hidden)
    assert (
        relative_error(
            global_ntk(linearize(module, X, state=lambda _: module.hidden)).dense(), exact
        )
        < TOLERANCE
    )


def test_chaos_in_single_precision_is_no_reason_to_refuse() -> None:
    """Gain 3 over 100 steps: fused and unrolled, states part altogether."""
    module = nn.RNN(4, 32, batch_first=True).float()
    with torch.no_grad():
        module.weight_hh_l0.copy_(torch.randn(32, 32) * 3 / 32**0.5)
    assert linearize(module, torch.randn(3, 100, 4).float(), state=first).state.shape == (
        3,
        100,
        32,
    )


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_within_an_evaluation_loop(mode: Callable[[], Any]) -> None:
    module = nn.GRU(4, 3, batch_first=True)
    with mode():
        ntk = global_ntk(linearize(module, X.clone(), state=first))
        found, core = ntk.dense(), ntk.core.dense()
    assert relative_error(found, dense_ntk(module, X)) < TOLERANCE
    assert (
        relative_error(core, global_ntk(linearize(module, X, state=first)).core.dense()) < TOLERANCE
    )


def test_says_that_it_evaluates() -> None:
    for module in (
        nn.Sequential(nn.Linear(4, 3), nn.Dropout()),
        nn.Sequential(nn.Linear(4, 3), nn.Flatten(0, 1), nn.BatchNorm1d(3)),
    ):
        with pytest.warns(UserWarning, match="measured in evaluation mode"):
            trajectory = linearize(module, X, state=first)
        assert module.training
        assert relative_error(global_ntk(trajectory).dense(), dense_ntk(module, X)) < TOLERANCE
