"""Padded trials: with a mask NTK_S is M NTK_S M, and every number is that of the trials alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracles import jacobian, normal, relative_error
from torch import Tensor, nn
from torch.nn import functional
from traced_modules import StepByStep, causally_masked, encoder, first, trained
from unusual_networks import Network

from kpflow_cli.errors import UserError
from kpflow_cli.ntk import GlobalNTK, global_ntk, linearize
from kpflow_cli.tracing.state_choice import SiteState

TOLERANCE = 1e-12
LENGTHS = [2, 4, 3]
X = normal(3, 4, 4, seed=2)
MASK = torch.arange(4) < torch.tensor(LENGTHS).unsqueeze(1)
EQUAL = torch.arange(4).expand(3, 4) < 3

CAUSAL: dict[str, Callable[[], nn.Module]] = {
    "GRU": lambda: nn.GRU(4, 3, batch_first=True),
    "two layers": lambda: nn.LSTM(4, 3, num_layers=2, batch_first=True),
    "a loop": lambda: StepByStep(nn.RNNCell(4, 3)),
    "at each time": lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)),
    "attention": lambda: causally_masked(encoder(norm_first=True)),
    "masked weights": lambda: Network(
        lambda s, x: torch.tanh(functional.linear(x, s.w * (s.w > 0), s.b.exp())), w=(3, 4), b=(3,)
    ),
    "units that are off": lambda: Network(
        lambda s, x: s.b(torch.relu(s.a(x) - 1.0)), a=nn.Linear(4, 2), b=nn.Linear(2, 3)
    ),
}


def measured(module: nn.Module, inputs: Tensor, mask: Tensor | None = None) -> GlobalNTK:
    return global_ntk(linearize(module, inputs, state=first, mask=mask))


def exact(module: nn.Module, inputs: Tensor, mask: Tensor) -> Tensor:
    state = first(module.eval()(inputs)) * mask.double().unsqueeze(-1)
    derivative = jacobian(state, trained(module))
    return derivative @ derivative.T


def positive(values: Tensor) -> Tensor:
    """Eigenvalues that are not 0, descending."""
    ordered = values.sort(descending=True).values
    return ordered[ordered > 1e-10 * ordered[0]]


def numbers(ntk: GlobalNTK) -> list[Tensor]:
    """Spectra of all operators, and how NTK_S lies to the core."""
    core, matrix = ntk.core.dense(), ntk.dense()
    k, p = ntk.parameter_operator, ntk.propagator.dense()
    cosine = (core * matrix).sum() / (core.norm() * matrix.norm())
    kept = k.dense().diagonal() > 0
    return [
        *(positive(torch.linalg.eigvalsh(each)) for each in (core, matrix, k.dense())),
        positive(torch.linalg.svdvals(p[:, kept])),
        positive(ntk.core.eigenvalues()),
        cosine.reshape(1),
    ]


def assert_same(found: Tensor, wanted: Tensor) -> None:
    """As many values, right to rounding of the largest."""
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12 * wanted.abs().max().item())


@pytest.mark.parametrize("name", CAUSAL)
def test_ntk_is_that_of_the_masked_state(name: str) -> None:
    torch.manual_seed(0)
    module = CAUSAL[name]().double().eval()
    for mask in (MASK, MASK.long(), MASK.double()):
        ntk = measured(module, X, mask)
        assert relative_error(ntk.dense(), exact(module, X, MASK)) < TOLERANCE
    p, k = ntk.propagator, ntk.parameter_operator
    assert relative_error((p @ k @ p.adjoint).dense(), exact(module, X, MASK)) < TOLERANCE
    spectrum = k.eigenvalues()
    assert spectrum is not None
    found, wanted = positive(spectrum), positive(torch.linalg.eigvalsh(k.dense()))
    assert_same(found, wanted)


@pytest.mark.parametrize("name", CAUSAL)
def test_what_stands_in_the_padding_changes_no_number(name: str) -> None:
    torch.manual_seed(0)
    module = CAUSAL[name]().double().eval()
    other = torch.where(MASK.unsqueeze(-1), X, 5 * normal(3, 4, 4, seed=9))
    for one, another in zip(
        numbers(measured(module, X, MASK)), numbers(measured(module, other, MASK)), strict=True
    ):
        assert_same(one, another)


@pytest.mark.parametrize("name", CAUSAL)
def test_trials_of_equal_length_give_the_numbers_of_the_batch_cut_to_it(name: str) -> None:
    torch.manual_seed(0)
    module = CAUSAL[name]().double().eval()
    padded, cut = measured(module, X, EQUAL), measured(module, X[:, :3].clone())
    for one, another in zip(numbers(padded), numbers(cut), strict=True):
        assert_same(one, another)
    within = padded.dense().reshape(3, 4, -1, 3, 4, cut.in_shape[-1])[:, :3, :, :, :3]
    assert relative_error(within.reshape(cut.dense().shape), cut.dense()) < TOLERANCE


def test_rows_that_reach_back_into_counted_states_stay() -> None:
    """Backwards in time the padding comes first."""
    module = nn.GRU(4, 3, batch_first=True, bidirectional=True).double()
    ntk = measured(module, X, MASK)
    assert relative_error(ntk.dense(), exact(module, X, MASK)) < TOLERANCE
    p, k = ntk.propagator, ntk.parameter_operator
    assert relative_error((p @ k @ p.adjoint).dense(), exact(module, X, MASK)) < TOLERANCE


def test_all_trials_counted_is_no_mask() -> None:
    module = nn.GRU(4, 3, batch_first=True).double()
    masked, plain = measured(module, X, torch.ones(3, 4)), measured(module, X)
    for one, another in zip(numbers(masked), numbers(plain), strict=True):
        assert_same(one, another)


@pytest.mark.parametrize(
    ("mask", "state", "words"),
    [
        (torch.ones(3, 5), first, r"mask: of shape \(3, 5\) = \(B, T\), but the state is of shape"),
        (torch.ones(3, 4, 1), first, r"mask: of shape \(3, 4, 1\), not \(B, T\)"),
        (torch.full((3, 4), 0.5), first, "mask: holds other numbers than 0 and 1"),
        (torch.zeros(3, 4), first, "mask: counts no trial"),
        (MASK, SiteState.OUTPUTS, "mask: only of a state that a submodule"),
        (MASK, lambda result: result[0].sum(-1), r"the state is of shape \(3, 4\)"),
    ],
)
def test_masks_that_do_not_fit_are_told(mask: Tensor, state: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        linearize(nn.GRU(4, 3, batch_first=True).double(), X, state=state, mask=mask)
