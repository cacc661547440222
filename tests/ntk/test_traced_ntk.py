"""NTK_S of any module against dense autograd through torch's own layers, which knows nothing of
sites.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from oracles import assert_linear_operator, jacobian, normal, relative_error
from torch import Tensor, nn
from torch.nn.utils import parametrize
from traced_modules import MODULES, SEQUENCES, build, first, oracle

from kpflow_cli.errors import UserError
from kpflow_cli.ntk import global_ntk, linearize

TOLERANCE = 1e-12


@pytest.mark.parametrize("name", MODULES)
def test_ntk_of_a_named_state(name: str) -> None:
    module, inputs = build(name)
    ntk = global_ntk(linearize(module, inputs, state=first))
    expected = oracle(module, inputs)
    assert_linear_operator(ntk, expected, tolerance=TOLERANCE)
    assert_linear_operator(ntk.factor, ntk.factor.dense(), tolerance=TOLERANCE)
    assert_linear_operator(ntk.propagator, ntk.propagator.dense(), tolerance=TOLERANCE)
    product = ntk.propagator @ ntk.parameter_operator @ ntk.propagator.adjoint
    assert relative_error(product.dense(), expected) < TOLERANCE


@pytest.mark.parametrize("name", MODULES)
def test_all_site_outputs_as_the_state(name: str) -> None:
    module, inputs = build(name)
    trajectory = linearize(module, inputs)
    ntk = global_ntk(trajectory)
    # the site outputs again, this time of parameters that autograd differentiates
    with torch.enable_grad():
        outputs = trajectory.traced.perturb_state(
            [torch.zeros(call.shape, dtype=torch.float64) for call in trajectory.traced.calls]
        )
    derivative = jacobian(
        outputs, [module.get_parameter(name) for name in trajectory.traced.parameters]
    )
    assert_linear_operator(ntk, derivative @ derivative.T, tolerance=TOLERANCE)
    # earlier outputs are not moved by later ones: P is unit lower triangular
    propagator = ntk.propagator.dense()
    assert relative_error(propagator.tril(), propagator) < TOLERANCE
    assert (
        relative_error(propagator.diagonal(), torch.ones(len(propagator), dtype=torch.float64))
        < TOLERANCE
    )


@pytest.mark.parametrize("name", MODULES)
def test_parameter_operator(name: str) -> None:
    module, inputs = build(name)
    trajectory = linearize(module, inputs)
    operator = global_ntk(trajectory).parameter_operator
    # site outputs with all perturbations through the rest of the graph cut off: of each call its
    # own parameters alone
    leaves = {
        name: parameter.clone().requires_grad_()
        for name, parameter in trajectory.traced.parameters.items()
    }
    outputs = torch.cat([call.output(leaves).flatten() for call in trajectory.traced.calls])
    derivative = jacobian(outputs, list(leaves.values()))
    assert_linear_operator(operator, derivative @ derivative.T, tolerance=TOLERANCE)
    spectrum = operator.eigenvalues()
    shared = {"tied", "conv1d_groups"}
    assert (spectrum is None) == (name in shared)
    if spectrum is not None:
        exact = torch.linalg.eigvalsh(derivative @ derivative.T).flip(0)
        length = min(len(exact), len(spectrum))
        torch.testing.assert_close(
            spectrum[:length], exact[:length], rtol=0, atol=1e-12 * exact[0].item()
        )
        assert (spectrum[length:] < 1e-12 * exact[0]).all()
        assert (exact[length:] < 1e-12 * exact[0]).all()


@pytest.mark.parametrize("name", ["mlp", "gru_two_layers", "encoder_pre", "tied", "hand_written"])
def test_every_frozen_parameter_is_left_out(name: str) -> None:
    for index in range(len(list(build(name)[0].parameters()))):
        module, inputs = build(name)
        list(module.parameters())[index].requires_grad_(False)
        ntk = global_ntk(linearize(module, inputs, state=first))
        assert relative_error(ntk.dense(), oracle(module, inputs)) < TOLERANCE


def test_parameters_that_do_not_reach_the_state_are_no_sites() -> None:
    module, inputs = build("tied")
    trajectory = linearize(module, inputs, state=lambda result: result[1])
    assert set(trajectory.traced.parameters) == {"embedding.weight", "layer.weight", "layer.bias"}
    expected = oracle(
        nn.Sequential(module.embedding, module.layer, nn.Tanh(), module.layer, nn.Tanh()), inputs
    )
    assert relative_error(global_ntk(trajectory).dense(), expected) < TOLERANCE


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
        linearize(Leaky(), SEQUENCES, state=first, others="refuse")


def test_parameter_outside_of_linear_maps_is_counted_through_autograd() -> None:
    module = Leaky()
    for state in (first, None):
        ntk = global_ntk(linearize(module, SEQUENCES, state=state))
        if state is not None:
            assert_linear_operator(ntk, oracle(module, SEQUENCES), tolerance=TOLERANCE)
    frozen = Leaky()
    frozen.log_rate.requires_grad_(False), frozen.scale.requires_grad_(False)
    assert (
        relative_error(
            global_ntk(linearize(frozen, SEQUENCES, state=first)).dense(), oracle(frozen, SEQUENCES)
        )
        < TOLERANCE
    )


def test_weight_that_is_parametrized_as_a_whole_is_outside_of_linear_maps() -> None:
    class Centered(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight - weight.mean()

    module = nn.Linear(4, 3).double()
    parametrize.register_parametrization(module, "weight", Centered())
    with pytest.raises(UserError, match=r"parametrizations\.weight\.original"):
        linearize(module, SEQUENCES, state=first, others="refuse")
    ntk = global_ntk(linearize(module, SEQUENCES, state=first))
    assert relative_error(ntk.dense(), oracle(module, SEQUENCES)) < TOLERANCE


def test_state_named_by_a_submodule() -> None:
    module, inputs = build("mlp")
    hidden = oracle(module[:2], inputs)
    assert (
        relative_error(global_ntk(linearize(module, inputs, state="1")).dense(), hidden) < TOLERANCE
    )
    stepwise, sequences = build("lstm_cell")
    assert (
        relative_error(
            global_ntk(linearize(stepwise, sequences, state="cell")).dense(),
            oracle(stepwise, sequences),
        )
        < TOLERANCE
    )


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
        linearize(nn.Sequential(nn.Linear(4, 3), nn.Tanh()).double(), SEQUENCES, state=state)


def test_packed_sequences_are_refused() -> None:
    packed = nn.utils.rnn.pack_padded_sequence(SEQUENCES, [3, 2], batch_first=True)
    with pytest.raises(UserError, match="padded"):
        linearize(nn.GRU(4, 3, batch_first=True).double(), packed, state=lambda result: result[1])


def test_tracing_leaves_the_module_as_it_was() -> None:
    module, inputs = build("gru_two_layers")
    module.train()
    global_ntk(linearize(module, inputs, state=first)).dense()
    assert module.training
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not module._forward_hooks


def test_single_precision() -> None:
    module, inputs = build("encoder_post")
    expected = oracle(module, inputs)
    ntk = global_ntk(linearize(module.float(), inputs.float(), state=first))
    assert ntk.dtype == torch.float32
    assert relative_error(ntk.dense().double(), expected) < 1e-5
