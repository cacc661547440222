from __future__ import annotations

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
from torch.nn.functional import pad

from kpflow_cli.ntk import KroneckerCore, ParameterOperator, global_ntk
from kpflow_cli.ntk.state_jacobian import SiteBasis


def parameter_operator_of(oracle: DenseOracle) -> ParameterOperator:
    return global_ntk(oracle.model.linearize(oracle.inputs)).parameter_operator


def core_of(oracle: DenseOracle) -> KroneckerCore:
    return global_ntk(oracle.model.linearize(oracle.inputs)).core


def frozen_oracle(kind: str, role: str) -> DenseOracle:
    model = build_model(kind)
    freeze(model, role)
    return DenseOracle(model, normal(3, 4, 3, seed=5))


def test_parameter_operator_matches_autograd(oracle: DenseOracle) -> None:
    assert_linear_operator(parameter_operator_of(oracle), oracle.parameter_operator)


def test_parameter_derivative_is_a_factor_of_the_parameter_operator(oracle: DenseOracle) -> None:
    derivative = parameter_operator_of(oracle).factor
    dense = derivative.dense()
    assert relative_error(dense @ dense.T, oracle.parameter_operator) < 1e-12
    assert_linear_operator(derivative, dense)


@pytest.mark.parametrize("role", ["recurrent", "input", "biases"])
@pytest.mark.parametrize("kind", KINDS)
def test_parameter_operator_counts_only_what_trains(kind: str, role: str) -> None:
    oracle = frozen_oracle(kind, role)
    assert_linear_operator(parameter_operator_of(oracle), oracle.parameter_operator)


def test_parameter_operator_vanishes_for_recurrent_weight_at_the_first_step() -> None:
    model = build_model("gru_without_bias")
    freeze(model, "input")
    operator = parameter_operator_of(DenseOracle(model, normal(3, 1, 3)))
    assert not operator.dense().any()
    assert not operator.eigenvalues().any()


def test_eigenvalues_match_dense(oracle: DenseOracle) -> None:
    expected = torch.linalg.eigvalsh(oracle.parameter_operator).flip(0)
    values = parameter_operator_of(oracle).eigenvalues()
    length = max(len(values), len(expected))
    padded, padded_expected = (pad(each, (0, length - len(each))) for each in (values, expected))
    torch.testing.assert_close(padded, padded_expected, rtol=0, atol=1e-12 * expected[0].item())
    assert (values >= 0).all()
    assert (values.diff() <= 0).all()


def test_rank_is_bounded_by_the_economy_coordinates() -> None:
    inputs = normal(4, 6, 1, seed=1) * normal(1, 1, 5, seed=2)
    model = build_model("gru_without_bias", units=3, input_size=5)
    freeze(model, "recurrent")
    oracle = DenseOracle(model, inputs)
    derivative = parameter_operator_of(oracle).factor
    assert derivative.in_size == 3 * 3
    assert torch.linalg.matrix_rank(oracle.parameter_operator) <= derivative.in_size


def test_core_matches_explicit_kronecker_product(oracle: DenseOracle) -> None:
    assert_linear_operator(core_of(oracle), oracle.core)


@pytest.mark.parametrize("role", ["recurrent", "input", "biases"])
@pytest.mark.parametrize("kind", KINDS)
def test_core_keeps_only_trained_weights(kind: str, role: str) -> None:
    oracle = frozen_oracle(kind, role)
    core = core_of(oracle)
    assert core.site_variables.shape[1] == {"recurrent": 3, "input": 5, "biases": 8}[role]
    assert_linear_operator(core, oracle.core)


@pytest.mark.parametrize("dt", [0.25, 0.7, 1.0])
def test_continuous_time_parameter_operator_is_the_core_times_squared_time_step(dt: float) -> None:
    model = build_model("rnn", dt=dt)
    oracle = DenseOracle(model, normal(3, 4, 3))
    assert relative_error(parameter_operator_of(oracle).dense(), dt**2 * oracle.core) < 1e-13


def test_core_singular_values(oracle: DenseOracle) -> None:
    singular = core_of(oracle).singular_values()
    eigenvalues = torch.linalg.eigvalsh(oracle.site_variables.T @ oracle.site_variables).flip(0)[
        : len(singular)
    ]
    scale = eigenvalues[0].item()
    torch.testing.assert_close(singular.square(), eigenvalues, rtol=0, atol=1e-13 * scale)


def test_temporal_modes_are_eigenvectors_of_the_temporal_gram(plain_oracle: DenseOracle) -> None:
    core = core_of(plain_oracle)
    modes = core.temporal_modes(4)
    assert modes.shape == (4, *core.in_shape[:2])
    flat = modes.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-13)
    gram = plain_oracle.site_variables @ plain_oracle.site_variables.T
    expected = torch.linalg.eigvalsh(gram).flip(0)[:4].unsqueeze(1) * flat
    assert relative_error(flat @ gram, expected) < 1e-12


def test_temporal_modes_are_no_more_than_there_are() -> None:
    core = core_of(DenseOracle(build_model("gru"), normal(1, 2, 3)))
    assert core.temporal_modes(10).shape == (2, 1, 2)


@pytest.mark.parametrize(
    ("rows", "columns", "rank"),
    [(12, 5, 5), (12, 5, 2), (5, 12, 5), (5, 12, 1), (1, 1, 1), (6, 4, 0)],
)
def test_site_basis_keeps_the_grams_and_drops_null_columns(
    rows: int, columns: int, rank: int
) -> None:
    wide = normal(rows, rank, seed=1) @ normal(rank, columns, seed=2)
    regressors = [wide, wide[:, :1], torch.empty(rows, 0, dtype=torch.float64)]
    sites = SiteBasis(regressors, [[0], [1], [2], [1, 2, 0]])
    assert sites.basis.shape == (rows, rank)
    assert sites.ranks == [rank, min(rank, 1), 0, rank]
    for each, mixing in zip([*regressors, torch.cat(regressors, dim=1)], sites.mixing, strict=True):
        factor = sites.basis @ mixing
        assert relative_error(factor @ factor.T, each @ each.T) < 1e-13


def test_site_basis_of_no_columns() -> None:
    assert SiteBasis([torch.empty(4, 0, dtype=torch.float64)], [[0]]).basis.shape == (4, 0)
