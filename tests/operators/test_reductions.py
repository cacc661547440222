from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import pytest
import torch
from oracles import DenseOracle, assert_linear_operator, build_model, normal, relative_error
from torch import Tensor

from kpflow_cli.ntk import global_ntk
from kpflow_cli.operators import (
    STATE_AXES,
    DenseOperator,
    GramOperator,
    LinearOperator,
    mean_over,
    restrict,
    trace_over,
)

REDUCED = [axes for count in (1, 2, 3) for axes in combinations(range(3), count)]
SHAPES = [(2, 3, 4), (1, 3, 4), (2, 1, 4), (2, 3, 1), (1, 1, 1)]


def isometry(shape: tuple[int, ...], reduced: tuple[int, ...]) -> Tensor:
    """E, one column a kept index: constant along the reduced axes, of unit length."""
    factors = [
        torch.full((size, 1), size**-0.5, dtype=torch.float64)
        if axis in reduced
        else torch.eye(size).double()
        for axis, size in enumerate(shape)
    ]
    product = factors[0]
    for factor in factors[1:]:
        product = torch.kron(product, factor)
    return product


def names(axes: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(STATE_AXES[axis] for axis in axes)


def gram_operator(shape: tuple[int, ...]) -> GramOperator:
    return GramOperator(DenseOperator(normal(math.prod(shape), 7), (7,), shape))


def partial_trace(matrix: Tensor, shape: tuple[int, ...], reduced: tuple[int, ...]) -> Tensor:
    """The dense partial trace, summed index by index."""
    tensor = matrix.reshape(*shape, *shape)
    for axis in sorted(reduced, reverse=True):
        tensor = tensor.diagonal(dim1=axis, dim2=axis + tensor.ndim // 2).sum(-1)
    return tensor.reshape(math.isqrt(tensor.numel()), -1)


@pytest.mark.parametrize("reduced", REDUCED)
@pytest.mark.parametrize("shape", SHAPES)
def test_mean_matches_isometry(shape: tuple[int, int, int], reduced: tuple[int, ...]) -> None:
    operator = gram_operator(shape)
    mean = mean_over(operator, *names(reduced))
    embedding = isometry(shape, reduced)
    assert mean.axes == tuple(name for name in STATE_AXES if name not in names(reduced))
    assert_linear_operator(mean, embedding.T @ operator.dense() @ embedding)
    assert mean.gram_factor is not None
    assert_linear_operator(mean.gram_factor, embedding.T @ operator.factor.dense())


@pytest.mark.parametrize("reduced", REDUCED)
@pytest.mark.parametrize("shape", SHAPES)
def test_partial_trace(shape: tuple[int, int, int], reduced: tuple[int, ...]) -> None:
    operator = DenseOperator(normal(math.prod(shape), math.prod(shape)), shape, shape)
    assert_linear_operator(
        trace_over(operator, *names(reduced)), partial_trace(operator.matrix, shape, reduced)
    )


@pytest.mark.parametrize("reduced", [(2,), (0, 1)])
def test_reductions_of_the_ntk(plain_oracle: DenseOracle, reduced: tuple[int, ...]) -> None:
    ntk = global_ntk(plain_oracle.model.linearize(plain_oracle.inputs))
    embedding = isometry(ntk.in_shape, reduced)
    assert_linear_operator(
        mean_over(ntk, *names(reduced)), embedding.T @ plain_oracle.ntk @ embedding
    )
    assert_linear_operator(
        trace_over(ntk, *names(reduced)), partial_trace(plain_oracle.ntk, ntk.in_shape, reduced)
    )


def test_means_of_the_core_are_gram_and_identity() -> None:
    oracle = DenseOracle(build_model("gru"), normal(3, 4, 3))
    core = global_ntk(oracle.model.linearize(oracle.inputs)).core
    gram = oracle.site_variables @ oracle.site_variables.T
    assert relative_error(mean_over(core, "unit").dense(), gram) < 1e-13
    spatial = gram.mean() * len(gram) * torch.eye(5, dtype=torch.float64)
    assert relative_error(mean_over(core, "trial", "time").dense(), spatial) < 1e-12


@pytest.mark.parametrize(
    ("indices", "rows"),
    [
        ({"trial": 1}, [12 + i for i in range(12)]),
        ({"time": slice(1, 3)}, [t * 12 + i for t in range(2) for i in range(4, 12)]),
        ({"trial": [1, 0], "unit": [-1]}, [15, 19, 23, 3, 7, 11]),
        ({}, list(range(24))),
    ],
)
def test_restriction_is_a_block_of_the_matrix(
    indices: dict[str, int | slice | list[int]], rows: list[int]
) -> None:
    operator = gram_operator((2, 3, 4))
    block = restrict(operator, **indices)
    assert block.axes == STATE_AXES
    assert_linear_operator(block, operator.dense()[rows][:, rows])
    assert block.gram_factor is not None


def test_reductions_stack() -> None:
    operator = gram_operator((2, 3, 4))
    block = mean_over(restrict(operator, trial=1), "trial", "unit")
    assert block.axes == ("time",)
    embedding = isometry((1, 3, 4), (0, 2))
    assert_linear_operator(block, embedding.T @ operator.dense()[12:, 12:] @ embedding)


@pytest.mark.parametrize(
    "reduction",
    [mean_over, trace_over, lambda operator, *axes: restrict(operator, **dict.fromkeys(axes, 0))],
)
def test_unknown_axes_are_named_with_the_valid_ones(
    reduction: Callable[..., LinearOperator],
) -> None:
    with pytest.raises(ValueError, match=r"units.*trial, time, unit"):
        reduction(gram_operator((2, 3, 4)), "time", "units")
    with pytest.raises(ValueError, match=r"\(5,\) to \(2, 3, 4\)"):
        reduction(DenseOperator(normal(24, 5), (5,), (2, 3, 4)), "axis_0")


def test_a_reduction_is_over_something() -> None:
    for reduction in (mean_over, trace_over):
        with pytest.raises(ValueError, match="trial, time, unit"):
            reduction(gram_operator((2, 3, 4)))


@pytest.mark.parametrize("index", [2, -3, [0, 5]])
def test_restriction_refuses_indices_outside(index: int | list[int]) -> None:
    with pytest.raises(ValueError, match=r"trial=.*2 indices"):
        restrict(gram_operator((2, 3, 4)), trial=index)
