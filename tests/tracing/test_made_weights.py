"""Weights that elementwise functions make of parameters, such as those of Dale's law or a mask, are
weights of sites: against dense automatic differentiation, which knows nothing of sites.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracles import jacobian, normal, relative_error, seeded
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize, prune
from traced_modules import first, oracle
from unusual_networks import Network

from kpflow_cli.ntk import GlobalNTK, global_ntk, linearize

TOLERANCE = 1e-12
X = normal(2, 3, 4)
SIGNS = torch.tensor([1.0, 1.0, 1.0, -1.0]).double()
MASK = (torch.rand(3, 4, generator=seeded(3)) > 0.4).double()
HALF = torch.tensor([[True, False, True, False]])


def measured(module: nn.Module, inputs: Tensor = X, **options: Any) -> GlobalNTK:
    return global_ntk(linearize(module, inputs, state=first, others="refuse", **options))


class Softened(nn.Module):
    """A parametrization."""

    def forward(self, weight: Tensor) -> Tensor:
        return functional.softplus(weight) + weight**3 - 0.5 * weight


class DaleLoop(nn.Module):
    """A leaky network of excitatory and inhibitory units; the weight is made at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.w_in, self.w = (nn.Parameter(normal(4, 4, seed=each)) for each in (5, 6))
        self.b = nn.Parameter(normal(4, seed=8))

    def forward(self, inputs: Tensor) -> Tensor:
        state, states = torch.zeros_like(inputs[:, 0]), []
        for drive in inputs.unbind(1):
            weight = self.w.abs() * SIGNS * (1 - torch.eye(4).double())
            current = functional.linear(state, weight, self.b) + drive @ self.w_in.relu().T
            state = 0.8 * state + 0.2 * torch.relu(current)
            states.append(state)
        return torch.stack(states, 1)


def parametrized() -> nn.Module:
    layer = nn.Linear(4, 3).double()
    parametrize.register_parametrization(layer, "weight", Softened())
    return layer


def pruned(layer: nn.Module, *names: str) -> nn.Module:
    for name in names:
        prune.random_unstructured(layer, name, 0.5)
    return layer


def of_weight(make: Callable[[Tensor], Tensor], *shape: int) -> Callable[[], nn.Module]:
    return lambda: Network(
        lambda s, x: torch.tanh(functional.linear(x, make(s.w), s.b)), w=shape or (3, 4), b=(3,)
    ).double()


# of each whether all numbers are used once, so that K has a spectrum
MADE: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "signs": (of_weight(lambda w: torch.abs(w) * SIGNS), True),
    "mask": (of_weight(lambda w: MASK * w), True),
    "square, transposed": (of_weight(lambda w: w.T.square().T / 2), True),
    "squared, a part": (of_weight(lambda w: (w**2)[1:, :4], 4, 5), True),
    "exponential from the right": (
        lambda: Network(lambda s, x: x @ torch.exp(s.w), w=(4, 3)).double(),
        True,
    ),
    "from the left": (
        lambda: Network(lambda s, x: torch.sigmoid(s.w) @ x.mT, w=(3, 4)).double(),
        True,
    ),
    "chosen": (of_weight(lambda w: torch.where(HALF, w, 0.1 * w)), True),
    "filled": (of_weight(lambda w: w.masked_fill(HALF, 0.3).clamp(-0.5, 0.5)), True),
    "lower triangle": (of_weight(lambda w: 2 * w.tril()), True),
    "all off": (of_weight(lambda w: w * 0), True),
    "one minus": (of_weight(lambda w: 1 - 1 / (1 + w.exp())), True),
    "signs on a diagonal": (of_weight(lambda w: w.abs() @ torch.diag(SIGNS)), True),
    "fixed part": (of_weight(lambda w: w * MASK + MASK.flip(0)), True),
    "expanded": (of_weight(lambda w: w.tanh().expand(3, 4), 1, 4), False),
    "two parts": (
        of_weight(lambda w: torch.relu(w)[:3] * 1.5, 6, 4),
        True,
    ),
    "bias": (lambda: Network(lambda s, x: functional.linear(x, s.w, s.b.exp()), w=(3, 4), b=(3,))
        .double(), True),
    "bias alone": (lambda: Network(lambda s, x: x + s.b.exp(), b=(3, 4)).double(), True),
    "convolution": (
        lambda: Network(lambda s, x: torch.conv1d(x, s.w.abs().square()), w=(2, 3, 2)).double(),
        True,
    ),
    "embedding": (
        lambda: Network(
            lambda s, x: functional.embedding((x[..., 0] > 0).long(), s.w.sin()), w=(2, 4)
        ).double(),
        True,
    ),
    "affine part of a norm": (
        lambda: Network(
            lambda s, x: functional.layer_norm(x, (4,), s.w.exp(), s.b), w=(4,), b=(4,)
        ).double(),
        True,
    ),
    "parametrization": (parametrized, True),
    "pruned layer": (lambda: pruned(nn.Linear(4, 3).double(), "weight", "bias"), True),
    "pruned GRU": (
        lambda: pruned(nn.GRU(4, 3, batch_first=True).double(), "weight_hh_l0", "weight_ih_l0"),
        True,
    ),
    "Dale's law": (DaleLoop, True),
    "two masks of one weight": (
        lambda: Network(
            lambda s, x: torch.cat([x @ (s.w * MASK).T, x @ (s.w * (1 - MASK)).T], -1), w=(3, 4)
        ).double(),
        False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_made_weights_are_those_of_sites(name: str) -> None:
    torch.manual_seed(0)
    make, once = MADE[name]
    module = make()
    ntk = measured(module)
    expected = oracle(module, X)
    assert relative_error(ntk.dense(), expected) < TOLERANCE
    assert relative_error(ntk.propagator.adjoint.dense().T, ntk.propagator.dense()) < TOLERANCE
    spectrum = ntk.parameter_operator.eigenvalues()
    assert (spectrum is not None) == once
    if spectrum is not None:
        exact = torch.linalg.eigvalsh(ntk.parameter_operator.dense()).flip(0)
        length = min(len(exact), len(spectrum))
        scale = exact.max().item()
        torch.testing.assert_close(spectrum[:length], exact[:length], rtol=0, atol=1e-12 * scale)
        assert torch.cat([spectrum[length:], exact[length:]]).abs().sum() <= 1e-12 * scale


def test_the_core_is_that_of_the_made_weight() -> None:
    module = DaleLoop()
    states = module(X).detach()
    v = torch.cat([torch.cat([torch.zeros(2, 1, 4), states[:, :-1]], 1), X], -1).flatten(0, 1)
    core = measured(module).core
    assert list(core.variables_by_site) == ["w", "w_in.T"]
    assert relative_error(core.dense(), torch.kron(v @ v.T, torch.eye(4).double())) < TOLERANCE


def test_the_core_on_site_outputs_is_that_of_the_made_weight() -> None:
    module = of_weight(lambda w: torch.abs(w) * SIGNS)()
    core = global_ntk(linearize(module, X)).core
    v = X.flatten(0, 1)
    assert relative_error(core.dense(), torch.kron(v @ v.T, torch.eye(3).double())) < TOLERANCE
    exact, found = torch.linalg.eigvalsh(core.dense()).flip(0), core.eigenvalues()
    assert found is not None
    torch.testing.assert_close(found, exact[: len(found)], rtol=0, atol=1e-12 * exact[0].item())


# name: (network, which parameters act otherwise than in a linear map)
OTHERWISE: dict[str, tuple[Callable[[], nn.Module], set[str]]] = {
    "a diagonal cleared in place": (
        lambda: Network(lambda s, x: x @ cleared(s.w), w=(4, 4)).double(),
        {"w"},
    ),
    "a gain": (lambda: Network(lambda s, x: x * s.g.exp(), g=(4,)).double(), {"g"}),
    "a rate": (
        lambda: Network(lambda s, x: s.g.sigmoid() * (x @ s.w.abs()), g=(4,), w=(4, 4)).double(),
        {"g"},
    ),
    "a learned initial state": (
        lambda: Network(lambda s, x: (s.h.tanh() @ s.w + x).tanh() @ s.w, h=(4,), w=(4, 4))
        .double(),
        {"h"},
    ),
    "normalized": (
        lambda: Network(lambda s, x: x @ (s.w / s.w.norm()), w=(4, 4)).double(),
        {"w"},
    ),
}  # fmt: skip


def cleared(weight: Tensor) -> Tensor:
    made = weight.abs()
    made.fill_diagonal_(0)
    return made


@pytest.mark.parametrize("name", OTHERWISE)
def test_what_else_is_made_of_parameters_counts_by_autograd(name: str) -> None:
    torch.manual_seed(0)
    make, otherwise = OTHERWISE[name]
    module = make()
    ntk = global_ntk(linearize(module, X, state=first, others="autograd"))
    derivative = jacobian(module(X), list(module.parameters()))
    assert relative_error(ntk.dense(), derivative @ derivative.T) < TOLERANCE
    calls = linearize(module, X, state=first, others="autograd").traced.calls
    assert {each.name for each in calls if each.map.function == "value"} == otherwise


def test_weights_made_without_gradient_are_constants() -> None:
    def forward(self: Network, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            fixed = self.w.abs()
        return functional.linear(inputs, fixed) + self.layer(inputs)

    module = Network(forward, w=(3, 4), layer=nn.Linear(4, 3)).double()
    ntk = measured(module)
    assert relative_error(ntk.dense(), oracle(module.layer, X)) < TOLERANCE


def test_a_weight_may_be_made_in_another_precision() -> None:
    module = Network(lambda s, x: x @ s.w.double().exp(), w=(4, 3))
    # of a float32 parameter torch rounds the gradient
    assert relative_error(measured(module).dense(), oracle(module, X).double()) < 1e-6
