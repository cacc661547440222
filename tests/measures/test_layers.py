"""Shares of layers against dense Jacobians of each layer's parameters alone."""

from __future__ import annotations

import pytest
import torch
from oracles import KINDS, build_model, normal
from torch import Tensor, nn
from traced_modules import build

import kpflow_cli as kp


def dense_traces(module: nn.Module, states: Tensor, layers: dict[str, list[str]]) -> Tensor:
    """||d states / d theta_l||_F^2 of each layer's parameters, one autograd.grad a state."""
    parameters = dict(module.named_parameters())
    squares = torch.zeros(len(layers), dtype=torch.float64)
    for state in states.flatten():
        for index, names in enumerate(layers.values()):
            gradients = torch.autograd.grad(
                state,
                [parameters[name] for name in names],
                retain_graph=True,
                materialize_grads=True,
            )
            squares[index] += sum(gradient.square().sum() for gradient in gradients)
    return squares


def assert_shares(shares: dict[str, kp.Estimate], traces: Tensor, layers: dict[str, list[str]]):
    assert list(shares) == list(layers)
    for share, trace in zip(shares.values(), traces, strict=True):
        assert share.standard_error == 0
        assert share.value == pytest.approx((trace / traces.sum()).item(), rel=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_shares_of_the_sites_of_a_recurrence(kind: str) -> None:
    model, inputs = build_model(kind), normal(3, 4, 3)
    recurrent, from_input = model.recurrent_weight, model.input_weight
    biases = [
        name for name, _ in model.named_parameters() if ".bias" in name and "readout" not in name
    ]
    layers = {
        "recurrent": [recurrent, *(name for name in biases if "hh" in name)],
        "input": [from_input, *(name for name in biases if "ih" in name)],
    }
    ntk = kp.global_ntk(model.linearize(inputs))
    shares = kp.layer_shares(ntk, ntk.in_size)
    assert_shares(shares, dense_traces(model, model(inputs)[1], layers), layers)


def test_shares_of_the_layers_of_a_traced_network() -> None:
    module, inputs = build("gru_two_layers")
    names = [name for name, _ in module.named_parameters()]
    suffixes = {name: name.rpartition("_l")[2] for name in names}
    layers = {f"l{index}": [n for n in names if suffixes[n] == index] for index in ("0", "1")}
    ntk = kp.global_ntk(kp.linearize(module, inputs, state=lambda result: result[0]))
    shares = kp.layer_shares(ntk, ntk.in_size)
    assert_shares(shares, dense_traces(module, module(inputs)[0], layers), layers)


def test_a_shared_weight_counts_once_and_estimates_add_up() -> None:
    module, inputs = build("encoder_post")
    ntk = kp.global_ntk(kp.linearize(module, inputs, state=lambda result: result))
    exact = kp.layer_shares(ntk, ntk.in_size)
    found = kp.layer_shares(ntk, 12)
    assert sum(share.value for share in found.values()) == pytest.approx(1)
    for layer, share in found.items():
        assert abs(share.value - exact[layer].value) < 5 * share.standard_error
