from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from oracles import (
    KINDS,
    DenseOracle,
    assert_linear_operator,
    build_model,
    freeze,
    normal,
    relative_error,
)
from torch import Tensor

from kpflow_cli.ntk import GlobalNTK, global_ntk
from kpflow_cli.operators import LinearOperator


def ntk_of(oracle: DenseOracle) -> GlobalNTK:
    return global_ntk(oracle.model.linearize(oracle.inputs))


def stored_tensors(value: object, seen: set[int]) -> Iterator[Tensor]:
    """Every tensor reachable through attributes and containers."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
        return
    parts = list(vars(value).values()) if hasattr(value, "__dict__") else []
    if isinstance(value, dict):
        parts += value.values()
    elif isinstance(value, (list, tuple, set)):
        parts += value
    for part in parts:
        yield from stored_tensors(part, seen)


def test_ntk_matches_autograd(oracle: DenseOracle) -> None:
    assert_linear_operator(ntk_of(oracle), oracle.ntk)


def test_state_jacobian_is_a_factor_of_the_ntk(oracle: DenseOracle) -> None:
    factor = ntk_of(oracle).factor
    dense = factor.dense()
    assert relative_error(dense @ dense.T, oracle.ntk) < 1e-12
    assert_linear_operator(factor, dense)


def test_ntk_is_propagated_parameter_operator(oracle: DenseOracle) -> None:
    ntk = ntk_of(oracle)
    product = ntk.propagator @ ntk.parameter_operator @ ntk.propagator.adjoint
    assert_linear_operator(product, oracle.ntk)
    assert (
        relative_error(
            oracle.propagator @ oracle.parameter_operator @ oracle.propagator.T, oracle.ntk
        )
        < 1e-12
    )


@pytest.mark.parametrize("role", ["recurrent", "input", "biases"])
@pytest.mark.parametrize("kind", KINDS)
def test_ntk_counts_only_what_trains(kind: str, role: str) -> None:
    model = build_model(kind)
    freeze(model, role)
    oracle = DenseOracle(model, normal(3, 4, 3, seed=5))
    assert_linear_operator(ntk_of(oracle), oracle.ntk)


@pytest.mark.parametrize("kind", KINDS)
def test_ntk_ignores_whether_the_readout_trains(kind: str) -> None:
    oracle = DenseOracle(build_model(kind), normal(2, 3, 3))
    oracle.model.readout.requires_grad_(False)
    assert relative_error(ntk_of(oracle).dense(), oracle.ntk) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_ntk_predicts_the_state_change_of_a_gradient_step(kind: str) -> None:
    oracle = DenseOracle(build_model(kind), normal(3, 4, 3))
    error = normal(3, 4, 5, seed=8)
    trained = list(oracle.trained.values())
    gradients = torch.autograd.grad((oracle.model(oracle.inputs)[1] * error).sum(), trained)
    # the second-order term cancels between a step forward and a step backward
    rate, changed = 1e-5, []
    for sign in (-1, 1):
        moved = copy.deepcopy(oracle.model)
        with torch.no_grad():
            for name, gradient in zip(oracle.trained, gradients, strict=True):
                moved.get_parameter(name).add_(gradient, alpha=sign * rate)
            changed.append(moved(oracle.inputs)[1])
    assert (
        relative_error((changed[0] - changed[1]) / (2 * rate), -ntk_of(oracle).matvec(error)) < 1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
def test_float32_products_agree_with_float64(kind: str) -> None:
    model, inputs = build_model(kind, units=16), normal(4, 10, 3)
    precise = global_ntk(model.linearize(inputs))
    single = global_ntk(copy.deepcopy(model).float().linearize(inputs.float()))
    block = normal(3, 4, 10, 16, seed=1)
    pairs: list[tuple[LinearOperator, LinearOperator]] = [
        (single, precise),
        (single.core, precise.core),
        (single.parameter_operator, precise.parameter_operator),
        (single.propagator, precise.propagator),
        (single.propagator.inverse, precise.propagator.inverse),
    ]
    for low, high in pairs:
        for product in ("matblock", "adjoint_matblock"):
            actual = getattr(low, product)(block.float())
            assert actual.dtype == torch.float32
            assert relative_error(actual.double(), getattr(high, product)(block)) < 3e-6


@pytest.mark.parametrize("kind", KINDS)
def test_no_operator_stores_a_tensor_as_large_as_all_step_jacobians(kind: str) -> None:
    trials, steps, units = 4, 6, 32
    ntk = global_ntk(build_model(kind, units=units).linearize(normal(trials, steps, 3)))
    block = normal(2, trials, steps, units)
    inverse = ntk.propagator.inverse
    ntk.matblock(block), inverse.matblock(block)
    sizes = [
        tensor.untyped_storage().nbytes() // 8 for tensor in stored_tensors((ntk, inverse), set())
    ]
    assert max(sizes) >= units * units
    assert max(sizes) < trials * steps * units * units


@pytest.mark.parametrize(
    ("kind", "bound"),
    [
        # 5 units, 3 inputs, 1 for a bias: of the GRU each of two sites alone, for three gates
        ("gru", 3 * 5 * (6 + 4)),
        ("gru_without_bias", 3 * 5 * (5 + 3)),
        ("rnn", 5 * (5 + 3)),
        ("vanilla_rnn", 5 * (5 + 3 + 1)),
        ("vanilla_rnn_without_bias", 5 * (5 + 3)),
    ],
)
def test_what_the_rank_of_k_cannot_exceed(kind: str, bound: int) -> None:
    oracle = DenseOracle(build_model(kind), normal(3, 4, 3))
    rank = torch.linalg.matrix_rank(oracle.parameter_operator).item()
    assert ntk_of(oracle).rank_bound() == bound
    assert rank == min(bound, oracle.states.numel())
