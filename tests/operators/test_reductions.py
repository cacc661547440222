from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch
from oracles import DenseOracle, assert_linear_operator, build_model, normal, relative_error
from torch import Tensor

from kpflow_cli.operators import AxisMean, DenseOperator, GlobalNTK, GramOperator, axis_mean

REDUCED = [axes for count in (1, 2) for axes in combinations(range(3), count)]


def isometry(shape: tuple[int, ...], reduced: tuple[int, ...]) -> Tensor:
    """E, one column a kept index: constant along the reduced axes, of unit length."""
    factors = [
        torch.full((size, 1), size**-0.5, dtype=torch.float64) if axis in reduced else torch.eye(size).double()
        for axis, size in enumerate(shape)
    ]
    product = factors[0]
    for factor in factors[1:]:
        product = torch.kron(product, factor)
    return product


@pytest.mark.parametrize("reduced", REDUCED)
@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 3, 4), (2, 1, 4), (2, 3, 1), (1, 1, 1)])
def test_axis_mean_matches_isometry(shape: tuple[int, int, int], reduced: tuple[int, ...]) -> None:
    factor = DenseOperator(normal(math.prod(shape), 7), (7,), shape)
    embedding = isometry(shape, reduced)
    assert_linear_operator(AxisMean(factor, reduced), embedding.T)
    expected = embedding.T @ factor.matrix @ factor.matrix.T @ embedding
    assert_linear_operator(axis_mean(GramOperator(factor), reduced), expected)


@pytest.mark.parametrize(("kept", "reduced"), [((0, 1), (2,)), ((2,), (0, 1))])
def test_axis_mean_of_the_ntk(oracle: DenseOracle, kept: tuple[int, ...], reduced: tuple[int, ...]) -> None:
    ntk = GlobalNTK(oracle.model.linearize(oracle.inputs))
    mean = axis_mean(ntk, reduced)
    assert mean.in_shape == tuple(ntk.in_shape[axis] for axis in kept)
    embedding = isometry(ntk.in_shape, reduced)
    assert_linear_operator(mean, embedding.T @ oracle.ntk @ embedding)


def test_axis_means_of_the_core_are_gram_and_identity() -> None:
    oracle = DenseOracle(build_model("gru"), normal(3, 4, 3))
    core = GlobalNTK(oracle.model.linearize(oracle.inputs)).core
    gram = oracle.site_variables @ oracle.site_variables.T
    assert relative_error(axis_mean(core, (2,)).dense(), gram) < 1e-13
    spatial = gram.mean() * len(gram) * torch.eye(5, dtype=torch.float64)
    assert relative_error(axis_mean(core, (0, 1)).dense(), spatial) < 1e-12
