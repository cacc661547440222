from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import pytest
import torch
from oracles import normal
from torch import Tensor

from kpflow_cli.estimators.totals import Sampling, Total, pair_total, vector_total

BASIS = 7


def chosen(sketch_size: int, probes: tuple[int, ...]) -> list[int]:
    return [*range(sketch_size), *probes]


def vector_total_of(contributions: Tensor, sketch_size: int, probes: tuple[int, ...]) -> Total:
    sampling = Sampling(sketch_size, len(probes), BASIS - sketch_size)
    return vector_total(contributions[chosen(sketch_size, probes)], sampling)


def pair_total_of(contributions: Tensor, sketch_size: int, probes: tuple[int, ...]) -> Total:
    index = chosen(sketch_size, probes)
    return pair_total(contributions[index][:, index], Sampling(sketch_size, len(probes), BASIS - sketch_size))


@pytest.mark.parametrize("sketch_size", [0, 1, 3])
@pytest.mark.parametrize("num_probes", [2, 3, 4])
def test_totals_are_unbiased_over_all_choices_of_probes(sketch_size: int, num_probes: int) -> None:
    vectors, pairs = normal(BASIS), normal(BASIS, BASIS, seed=1)
    pairs = pairs + pairs.T
    choices = list(combinations(range(sketch_size, BASIS), num_probes))
    vector_mean = sum(vector_total_of(vectors, sketch_size, choice).value for choice in choices) / len(choices)
    pair_mean = sum(pair_total_of(pairs, sketch_size, choice).value for choice in choices) / len(choices)
    assert vector_mean == pytest.approx(vectors.sum().item(), abs=1e-12)
    assert pair_mean == pytest.approx(pairs.sum().item(), abs=1e-12)


@pytest.mark.parametrize("sketch_size", [0, 2])
def test_replicates_are_the_totals_without_each_probe(sketch_size: int) -> None:
    probes = (2, 3, 5, 6)
    vectors, pairs = normal(BASIS), normal(BASIS, BASIS, seed=1)
    pairs = pairs + pairs.T
    for index, replicates in enumerate(
        zip(
            vector_total_of(vectors, sketch_size, probes).replicates,
            pair_total_of(pairs, sketch_size, probes).replicates,
            strict=True,
        )
    ):
        others = probes[:index] + probes[index + 1 :]
        assert replicates[0].item() == pytest.approx(vector_total_of(vectors, sketch_size, others).value, abs=1e-12)
        assert replicates[1].item() == pytest.approx(pair_total_of(pairs, sketch_size, others).value, abs=1e-12)


def test_standard_error_of_a_trace_is_that_of_sampling_without_replacement() -> None:
    vectors, probes = normal(BASIS), (0, 2, 3, 5)
    drawn = vectors[list(probes)]
    variance = BASIS**2 * drawn.var().item() / len(probes) * (1 - len(probes) / BASIS)
    estimate = vector_total_of(vectors, 0, probes).estimate(lower=-math.inf)
    assert estimate.standard_error == pytest.approx(math.sqrt(variance), rel=1e-12)


@pytest.mark.parametrize("sketch_size", [0, 3, BASIS])
def test_whole_basis_is_exact(sketch_size: int) -> None:
    probes = tuple(range(sketch_size, BASIS))
    vectors, pairs = normal(BASIS).abs(), normal(BASIS, BASIS, seed=1).abs()
    estimates = [
        (vector_total_of(vectors, sketch_size, probes).estimate(), vectors.sum()),
        (pair_total_of(pairs + pairs.T, sketch_size, probes).estimate(), 2 * pairs.sum()),
    ]
    for estimate, exact in estimates:
        assert estimate.value == pytest.approx(exact.item(), rel=1e-14)
        assert (estimate.standard_error, estimate.num_probes, estimate.method) == (0.0, 0, "exact")


@pytest.mark.parametrize("total_of", [vector_total_of, pair_total_of])
def test_one_probe_leaves_the_error_unknown(total_of: Callable[[Tensor, int, tuple[int, ...]], Total]) -> None:
    contributions = normal(BASIS).abs() if total_of is vector_total_of else normal(BASIS, BASIS).abs()
    assert math.isnan(total_of(contributions, 2, (4,)).estimate().standard_error)


@pytest.mark.parametrize(("value", "reported"), [(0.5, 1.0), (2.0, 2.0), (9.0, 4.0)])
def test_values_are_moved_to_the_nearest_end_of_their_range(value: float, reported: float) -> None:
    total = Total(value, torch.tensor([value, value + 1]).double(), Sampling(0, 2, BASIS))
    assert total.estimate(lower=1.0, upper=4.0).value == reported


def test_arithmetic_of_totals_acts_on_values_and_replicates() -> None:
    first = Total(8.0, torch.tensor([2.0, 18.0]), Sampling(0, 2, BASIS))
    second = Total(2.0, torch.tensor([1.0, 2.0]), Sampling(0, 2, BASIS))
    results = [(first / second, 4.0, [2.0, 9.0]), (first * second, 16.0, [2.0, 36.0])]
    results += [(8 / second, 4.0, [8.0, 4.0]), ((first * second).sqrt(), 4.0, [2.0**0.5, 6.0])]
    for total, value, replicates in results:
        assert total.value == value
        torch.testing.assert_close(total.replicates, torch.tensor(replicates))
