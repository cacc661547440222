"""Training's own forward and backward scan against torch's automatic differentiation of a plain
loop.
"""

from __future__ import annotations

import copy

import pytest
import torch
from oracles import build_model, freeze, normal, relative_error
from torch import Tensor

from kpflow_cli.benchmarks.sgd_steps import loop_outputs
from kpflow_cli.models.recurrent_scan import continuous_time_outputs, vanilla_outputs
from kpflow_cli.models.rnn import ContinuousTimeRNN, VanillaRNN

KINDS = ("rnn", "vanilla_rnn", "vanilla_rnn_without_bias")
# B, T, n, n_in
SHAPES = [
    (3, 6, 5, 3),
    (1, 6, 5, 3),
    (3, 1, 5, 3),
    (3, 2, 5, 3),
    (3, 6, 1, 3),
    (3, 6, 5, 1),
    (1, 1, 1, 1),
]


def model_of(
    kind: str, units: int = 5, input_size: int = 3, gain: float = 1.3
) -> VanillaRNN | ContinuousTimeRNN:
    model = build_model(kind, units=units, input_size=input_size, gain=gain)
    assert isinstance(model, VanillaRNN | ContinuousTimeRNN)
    for name, parameter in model.named_parameters():
        if "bias" in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(3))
    return model


def gradients(outputs: Tensor, error: Tensor, variables: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad((outputs * error).sum(), variables))


@pytest.mark.parametrize("scale", [1.0, 1e-6, 0.0])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_equal_those_of_a_plain_loop(
    kind: str, shape: tuple[int, int, int, int], scale: float
) -> None:
    trials, steps, units, input_size = shape
    model, error = model_of(kind, units, input_size), normal(trials, steps, 2, seed=1)
    inputs = (scale * normal(trials, steps, input_size)).requires_grad_()
    variables = [inputs, *model.parameters()]
    ours, expected = model.training_outputs(inputs), loop_outputs(model, inputs)
    assert relative_error(ours, expected) < 1e-12
    for actual, gradient in zip(
        gradients(ours, error, variables), gradients(expected, error, variables), strict=True
    ):
        assert relative_error(actual, gradient) < 1e-12


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("outputs", [1, 8, 9])
@pytest.mark.parametrize("kind", KINDS)
def test_few_and_many_outputs_with_and_without_bias(kind: str, outputs: int, bias: bool) -> None:
    model, inputs, error = model_of(kind), normal(3, 6, 3), normal(3, 6, outputs, seed=1)
    model.readout = torch.nn.Linear(5, outputs, bias=bias).double()
    ours, expected = model.training_outputs(inputs), loop_outputs(model, inputs)
    assert ours.is_contiguous()
    assert relative_error(ours, expected) < 1e-12
    variables = list(model.parameters())
    for actual, gradient in zip(
        gradients(ours, error, variables), gradients(expected, error, variables), strict=True
    ):
        assert relative_error(actual, gradient) < 1e-12


@pytest.mark.parametrize("scale", [1.0, 0.1, 0.01, 1e-3, 1e-6])
@pytest.mark.parametrize("kind", KINDS)
def test_single_precision_at_every_size_of_the_state(kind: str, scale: float) -> None:
    model, error = model_of(kind, 64, 8, gain=1.0).float(), normal(32, 40, 2, seed=1).float()
    inputs = scale * normal(32, 40, 8).float()
    if isinstance(model, VanillaRNN):
        for name, bias in model.rnn.named_parameters():
            bias.data.mul_(scale if name.startswith("bias") else 1)
    precise = copy.deepcopy(model).double()
    ours = gradients(model.training_outputs(inputs), error, list(model.parameters()))
    exact = gradients(
        loop_outputs(precise, inputs.double()), error.double(), list(precise.parameters())
    )
    for actual, gradient in zip(ours, exact, strict=True):
        assert relative_error(actual.double(), gradient) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_those_of_forward(kind: str) -> None:
    model, inputs = model_of(kind), normal(3, 6, 3)
    outputs = model.training_outputs(inputs)
    assert outputs.shape == (3, 6, 2)
    assert relative_error(outputs, model(inputs)[0]) < 1e-14
    with torch.no_grad():
        assert torch.equal(model.training_outputs(inputs), outputs)


@pytest.mark.parametrize("role", ["recurrent", "input", "biases", "readout"])
@pytest.mark.parametrize("kind", KINDS)
def test_only_what_trains_gets_a_gradient(kind: str, role: str) -> None:
    model, inputs = model_of(kind), normal(3, 6, 3)
    if role == "readout":
        model.readout.requires_grad_(False)
    else:
        freeze(model, role)
    twin = copy.deepcopy(model)
    model.training_outputs(inputs).square().sum().backward()
    loop_outputs(twin, inputs).square().sum().backward()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        if theirs.grad is None:
            assert ours.grad is None
        else:
            assert ours.grad is not None
            assert relative_error(ours.grad, theirs.grad) < 1e-12


def test_gradcheck() -> None:
    readout = torch.nn.Linear(4, 2).double()
    variables = [normal(2, 3, 3), normal(4, 3, seed=1), normal(4, 4, seed=2)]
    for variable in variables:
        variable.requires_grad_()
    bias = normal(4, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *given: vanilla_outputs(*given, readout), (*variables, bias)
    )
    assert torch.autograd.gradcheck(
        lambda *given: continuous_time_outputs(*given, 0.7, readout), variables
    )


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives_and_torch_func_are_refused(kind: str) -> None:
    model, inputs = model_of(kind), normal(3, 4, 3)
    (gradient, *_) = torch.autograd.grad(
        model.training_outputs(inputs).square().sum(), list(model.parameters()), create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
    with pytest.raises(RuntimeError):
        torch.func.jvp(model.training_outputs, (inputs,), (inputs,))
    with pytest.raises(RuntimeError):
        torch.func.vmap(model.training_outputs)(inputs.unsqueeze(0))
    with torch.autograd.forward_ad.dual_level(), pytest.raises(RuntimeError):
        model.training_outputs(torch.autograd.forward_ad.make_dual(inputs, inputs))


@pytest.mark.parametrize("kind", KINDS)
def test_training_by_it_is_training_by_a_plain_loop(kind: str) -> None:
    model, inputs, targets = model_of(kind), normal(4, 6, 3), normal(4, 6, 2, seed=1)
    twin = copy.deepcopy(model)
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.1) for each in (model, twin)]
    for _ in range(5):
        for optimizer, outputs in zip(
            optimizers, (model.training_outputs(inputs), loop_outputs(twin, inputs)), strict=True
        ):
            optimizer.zero_grad()
            (outputs - targets).square().mean().backward()
            optimizer.step()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert relative_error(ours, theirs) < 1e-10


def test_inputs_and_weights_stay_as_they_are() -> None:
    model, inputs = model_of("vanilla_rnn"), normal(3, 6, 3)
    untouched, weights = inputs.clone(), copy.deepcopy(model.state_dict())
    outputs = model.training_outputs(inputs)
    error = torch.ones_like(outputs)
    for _ in range(2):
        outputs.backward(error, retain_graph=True)
    assert torch.equal(inputs, untouched)
    assert torch.equal(error, torch.ones_like(error))
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    first = model.readout.weight.grad
    assert first is not None
    assert (
        relative_error(
            first / 2, gradients(model.training_outputs(inputs), error, [model.readout.weight])[0]
        )
        < 1e-14
    )
