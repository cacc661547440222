"""Is a standard error one? The value +- 1.96 of them holds the exact value for about 95 of 100 seeds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from oracles import rotation, seeded, spectrum
from torch import Tensor

from kpflow_cli.estimators.compression import (
    compress,
    cosine_alignment,
    effective_rank,
    frobenius_norm,
    trace,
    trace_fraction,
)
from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.partial_trace import partial_traces
from kpflow_cli.estimators.probes import random_frame
from kpflow_cli.operators import DenseOperator, GramOperator

SHAPE, SIZE = (5, 10, 4), 200
PROBES, SEEDS = 35, 1600
KEPT = ((0, 1), (2,))
PARTIAL = [f"{reduction}_{quantity}" for reduction in ("temporal", "spatial") for quantity in ("trace", "norm", "rank")]


# exact values, and a function from a seed to estimates
Estimates = tuple[dict[str, float], Callable[[int], dict[str, Estimate]]]


def statistics(dense: Tensor) -> tuple[float, float, float]:
    """Trace, Frobenius norm and effective rank."""
    return dense.trace().item(), dense.norm().item(), (dense.trace() ** 2 / dense.square().sum()).item()


def factor_of(name: str) -> Tensor:
    return rotation(SIZE) * spectrum(name, SIZE).sqrt() @ rotation(SIZE, 1)


@cache
def other_dense() -> Tensor:
    """A second operator, part of whose eigenvectors are those of the first."""
    values = torch.exp(-torch.arange(SIZE).double() / 40)
    noise = rotation(SIZE, 1) * spectrum("power_law", SIZE).sqrt() @ rotation(SIZE, 1).T
    return rotation(SIZE) * values @ rotation(SIZE).T + 0.1 * noise


def full_estimates(name: str, sketch_size: int) -> Estimates:
    """Of what rests on probes of the state."""
    factor = factor_of(name)
    operator = GramOperator(DenseOperator(factor, out_shape=SHAPE))
    other = DenseOperator(other_dense(), SHAPE, SHAPE)
    sketch = rotation(SIZE)[:, :sketch_size].T.reshape(-1, *SHAPE)
    dense = factor @ factor.T
    exact = dict(zip(("trace", "norm", "rank"), statistics(dense), strict=True))
    exact["cosine"] = ((dense * other_dense()).sum() / (dense.norm() * other_dense().norm())).item()
    if sketch_size:
        exact["trace_fraction"] = (spectrum(name, SIZE)[1] / dense.trace()).item()

    def estimate(seed: int) -> dict[str, Estimate]:
        frame = random_frame(operator, PROBES, generator=seeded(seed), sketch=sketch)
        first, second = (compress(each, frame, block_size=64) for each in (operator, other))
        found = {"trace": trace(first), "norm": frobenius_norm(first), "rank": effective_rank(first)}
        found["cosine"] = cosine_alignment(first, second)
        return found | ({"trace_fraction": trace_fraction(first, 1)} if sketch_size else {})

    return exact, estimate


def partial_estimates(name: str) -> Estimates:
    """The same for both partial traces, from probes of the factor's domain."""
    factor = DenseOperator(factor_of(name), out_shape=SHAPE)
    images = factor.matrix.reshape(*SHAPE, SIZE)
    temporal = torch.einsum("btnp,csnp->btcs", images, images).reshape(50, 50)
    spatial = torch.einsum("btnp,btmp->nm", images, images)
    exact = dict(zip(PARTIAL, (*statistics(temporal), *statistics(spatial)), strict=True))

    def estimate(seed: int) -> dict[str, Estimate]:
        frame = random_frame(factor, PROBES, generator=seeded(seed))
        found = [
            quantity
            for partial in partial_traces(factor, frame, KEPT, block_size=64)
            for quantity in (partial.trace(), partial.frobenius_norm(), partial.effective_rank())
        ]
        return dict(zip(PARTIAL, found, strict=True))

    return exact, estimate


def coverages(exact: dict[str, float], estimate: Callable[[int], dict[str, Estimate]]) -> dict[str, float]:
    covered = dict.fromkeys(exact, 0)
    for seed in range(SEEDS):
        for quantity, found in estimate(seed).items():
            covered[quantity] += abs(found.value - exact[quantity]) <= 1.96 * found.standard_error
    return {quantity: count / SEEDS for quantity, count in covered.items()}


@pytest.mark.parametrize(("name", "sketch_size"), [("exponential", 0), ("exponential", 5), ("power_law", 5)])
def test_coverage_of_full_quantities(name: str, sketch_size: int) -> None:
    """0.90 to 0.995 of 1600 seeds.

    The true coverages, measured on 6000 other seeds, are 0.938 to 0.984 (the larger ones of ratios, whose errors are a little too wide),
    for which a false alarm has probability below 1e-4 a quantity.
    """
    for quantity, coverage in coverages(*full_estimates(name, sketch_size)).items():
        assert 0.90 <= coverage <= 0.995, (quantity, coverage)


@pytest.mark.parametrize("name", ["exponential", "low_rank"])
def test_coverage_of_partial_traces(name: str) -> None:
    """0.90 to 0.995 of 1600 seeds; true coverages 0.940 to 0.980, a false alarm below 1e-4 a quantity."""
    for quantity, coverage in coverages(*partial_estimates(name)).items():
        assert 0.90 <= coverage <= 0.995, (quantity, coverage)


@pytest.mark.parametrize("estimates", [lambda: full_estimates("power_law", 0), lambda: partial_estimates("power_law")])
def test_heavy_tail_without_a_sketch_covers_less(estimates: Callable[[], Estimates]) -> None:
    """0.87 to 0.97 of 1600 seeds where the leading eigenvalue of a 1/i spectrum is left to the probes.

    True coverages are 0.900 to 0.941: 35 probes see too little of a skewed distribution. False alarm: below 1e-4 a quantity.
    """
    for quantity, coverage in coverages(*estimates()).items():
        assert 0.87 <= coverage <= 0.97, (quantity, coverage)
