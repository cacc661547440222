"""What a network that cannot be measured, or has no core, is told: which parameters reach the
state, and how.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracles import normal, relative_error
from torch import Tensor, nn
from traced_modules import first, oracle
from unusual_networks import Network

from kpflow_cli.errors import UserError
from kpflow_cli.ntk import global_ntk, linearize

X = normal(2, 3, 4)


def layers() -> nn.Module:
    return Network(
        lambda s, x: (s.b(torch.tanh(s.a(x))), s.a(x)), a=nn.Linear(4, 4), b=nn.Linear(4, 3)
    )


def cut_off(self: Network, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return self.a(inputs)


MESSAGES: dict[str, tuple[Callable[[], nn.Module], Any, str]] = {
    "all frozen": (
        lambda: layers().requires_grad_(False),
        first,
        r"no parameter of Network is trained: all are frozen \(a.weight, a.bias, b.weight, b.bias",
    ),
    "no parameters": (nn.Tanh, first, "no parameter of Tanh is trained: it has no parameters"),
    "detached": (
        layers,
        lambda result: result[1].detach(),
        r"reaches the state by a gradient: it moves with a.weight, a.bias, but is cut off from it",
    ),
    "without gradient": (
        lambda: Network(cut_off, a=nn.Linear(4, 4)),
        first,
        "it moves with a.weight, a.bias, but is cut off from it",
    ),
    "after the state": (
        lambda: Network(lambda s, x: (s.b(2 * x), 2 * x), b=nn.Linear(4, 3)),
        lambda result: result[1],
        "reaches the state: b.weight, b.bias act after it, on the output alone",
    ),
    "nothing": (
        lambda: Network(lambda s, x: 2 * x, b=nn.Linear(4, 3)),
        first,
        "no trained parameter of Network reaches the state$",
    ),
    "no linear map": (
        lambda: Network(lambda s, x: torch.einsum("bti,oi->bto", x, s.w), w=(3, 4)),
        None,
        r"acts through a linear map: w \(in einsum\); a state of site outputs or inputs is empty",
    ),
    "a root at 0": (
        lambda: Network(lambda s, x: x * s.w.mul(0).sqrt(), w=(4,)),
        first,
        "the gradient of the state by w is not finite",
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_what_reaches_the_state_is_told(name: str) -> None:
    make, state, words = MESSAGES[name]
    module = make().double()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(UserError, match=words):
        linearize(module, X, state=state)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_gains_are_beside_the_core_as_biases_are() -> None:
    module = Network(lambda s, x: s.g.exp() * s.a(x).tanh(), g=(4,), a=nn.Linear(4, 4)).double()
    ntk = global_ntk(linearize(module, X, state=first))
    assert relative_error(ntk.dense(), oracle(module, X)) < 1e-12
    v = X.flatten(0, 1)
    assert relative_error(ntk.core.dense(), torch.kron(v @ v.T, torch.eye(4).double())) < 1e-12
    assert (ntk.why_no_core, ntk.beside_core) == (None, "g (in exp)")
    # each number of the gain is a site output of its own
    spectrum = ntk.parameter_operator.eigenvalues()
    assert spectrum is not None
    exact = torch.linalg.eigvalsh(ntk.parameter_operator.dense()).flip(0)
    torch.testing.assert_close(spectrum, exact[: len(spectrum)], rtol=0, atol=1e-12 * exact[0])


@pytest.mark.parametrize("state", [first, None])
def test_a_matrix_outside_of_linear_maps_leaves_no_core(state: Any) -> None:
    module = Network(
        lambda s, x: torch.einsum("bti,oi->bto", s.a(x), s.w), w=(3, 4), a=nn.Linear(4, 4)
    ).double()
    ntk = global_ntk(linearize(module, X, state=state))
    # all site outputs are those of a alone, which w does not reach
    told = "outside of linear maps act w (in einsum): a Kronecker core would lack what"
    assert ntk.beside_core is None
    assert (ntk.why_no_core or "").startswith(told) == (state is not None)


def test_parameters_in_code_that_cannot_be_watched_are_named() -> None:
    module = Network(
        lambda s, x: torch.vmap(lambda w: torch.tanh(x @ w))(s.w).sum(0), w=(2, 4, 3)
    ).double()
    told = global_ntk(linearize(module, X, state=first)).why_no_core
    assert told is not None
    assert "w (in code that cannot be watched)" in told
