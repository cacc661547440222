"""The estimates of one call each, against dense matrices."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from oracles import build_model, normal, rotation, seeded, spectrum
from torch import Tensor

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.samplers import Sampler
from kpflow_cli.estimators.statistics import (
    cosine_alignment,
    effective_rank,
    frobenius_norm,
    rayleigh_quotient,
    trace,
)
from kpflow_cli.ntk import global_ntk
from kpflow_cli.operators import DenseOperator, GramOperator, LinearOperator, mean_over, trace_over

SHAPE, SIZE = (5, 6, 10), 300
STATISTICS: dict[str, tuple[Callable[..., Estimate], Callable[[Tensor], Tensor]]] = {
    "trace": (trace, torch.trace),
    "norm": (frobenius_norm, torch.linalg.matrix_norm),
    "rank": (effective_rank, lambda dense: dense.trace() ** 2 / dense.square().sum()),
}


def operator_of(name: str) -> GramOperator:
    return GramOperator(
        DenseOperator(
            rotation(SIZE) * spectrum(name, SIZE).sqrt() @ rotation(SIZE, 1), out_shape=SHAPE
        )
    )


def reductions(operator: LinearOperator) -> list[LinearOperator]:
    return [
        operator,
        mean_over(operator, "unit"),
        trace_over(operator, "unit"),
        trace_over(operator, "trial", "time"),
    ]


def assert_within(estimate: Estimate, exact: float, errors: float = 4.5) -> None:
    """False alarm about 1e-4 at the 40 and more probes used here."""
    assert abs(estimate.value - exact) <= errors * estimate.standard_error + 1e-9 * abs(exact)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("name", ["flat", "power_law", "exponential", "low_rank"])
def test_every_reduction(name: str, statistic: str) -> None:
    estimator, oracle = STATISTICS[statistic]
    for operator in reductions(operator_of(name)):
        assert_within(estimator(operator, generator=seeded(1)), oracle(operator.dense()).item())


@pytest.mark.parametrize("statistic", STATISTICS)
def test_closed_forms_are_preferred(statistic: str) -> None:
    ntk = global_ntk(build_model("gru").linearize(normal(3, 4, 3)))
    estimator, oracle = STATISTICS[statistic]
    for operator in (ntk.core, ntk.parameter_operator):
        estimate = estimator(operator, 2)
        assert estimate.method == "exact"
        assert estimate.value == pytest.approx(oracle(operator.dense()).item(), rel=1e-12)


def test_closed_form_of_the_norm_of_the_propagator() -> None:
    propagator = global_ntk(build_model("gru").linearize(normal(3, 4, 3))).propagator
    assert frobenius_norm(propagator).value == pytest.approx(
        propagator.dense().norm().item(), rel=1e-12
    )


def test_forward_and_reverse_mode_agree() -> None:
    ntk = global_ntk(build_model("gru", units=10).linearize(normal(5, 12, 3)))
    exact = ntk.dense()
    for operator in (ntk, GramOperator(ntk.factor.adjoint)):
        for estimator, oracle in STATISTICS.values():
            assert_within(estimator(operator, 60, generator=seeded(2)), oracle(exact).item())


@pytest.mark.parametrize("name", ["power_law", "exponential"])
def test_alignment(name: str) -> None:
    first, second = operator_of(name), operator_of("exponential")
    a, c = first.dense(), second.dense()
    assert_within(
        cosine_alignment(first, second, generator=seeded(1)),
        ((a * c).sum() / (a.norm() * c.norm())).item(),
    )


@pytest.mark.parametrize("tolerance", [0.1, 0.02])
@pytest.mark.parametrize("statistic", STATISTICS)
def test_tolerance_adds_probes_until_met(statistic: str, tolerance: float) -> None:
    estimator, oracle = STATISTICS[statistic]
    for operator in reductions(operator_of("power_law")):
        estimate = estimator(operator, 4, generator=seeded(3), tolerance=tolerance)
        assert estimate.relative_error <= tolerance
        assert_within(estimate, oracle(operator.dense()).item(), 5)


def test_limit_is_reported() -> None:
    estimate = effective_rank(
        operator_of("exponential"), 4, generator=seeded(), tolerance=1e-4, most_probes=20
    )
    assert estimate.num_probes == 20
    assert estimate.relative_error > 1e-4
    assert estimate.method.endswith("0.01% not met at the limit of 20 probes")


@pytest.mark.parametrize("tolerance", [0.0, -1.0, math.nan])
def test_tolerance_must_be_positive(tolerance: float) -> None:
    with pytest.raises(ValueError, match="tolerance must be above 0"):
        trace(operator_of("flat"), tolerance=tolerance)


def test_added_probes_leave_the_earlier_ones_as_they_are() -> None:
    sampler = Sampler(operator_of("power_law"), generator=seeded())
    sampler.add(5)
    before = sampler.frame.vectors.clone()
    sampler.add(7)
    vectors = sampler.frame.vectors.flatten(1)
    assert torch.equal(sampler.frame.vectors[:5], before)
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(12).double(), rtol=0, atol=1e-13)
    sampler.add(1000)
    sampler.add(1)
    assert sampler.frame.num_probes == sampler.num_probes == SIZE
    assert sampler.statistics().trace() == Estimate(
        pytest.approx(spectrum("power_law", SIZE).sum().item(), rel=1e-12)
    )


def test_default_generator_is_fixed() -> None:
    assert effective_rank(operator_of("power_law")) == effective_rank(operator_of("power_law"))
    assert effective_rank(operator_of("power_law")) != effective_rank(
        operator_of("power_law"), generator=seeded(1)
    )


def test_rayleigh_quotient() -> None:
    operator, vector = operator_of("exponential"), normal(*SHAPE)
    flat, dense = vector.flatten(), operator.dense()
    exact = (flat @ dense @ flat / flat.square().sum()).item()
    for each in (operator, DenseOperator(dense, SHAPE, SHAPE)):
        assert rayleigh_quotient(each, vector).value == pytest.approx(exact, rel=1e-12)


def test_operators_without_a_common_space_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(5, 6, 10\).*\(5, 6\)"):
        cosine_alignment(operator_of("flat"), mean_over(operator_of("flat"), "unit"))
    with pytest.raises(ValueError, match=r"\(3,\) to \(4,\)"):
        trace(DenseOperator(normal(4, 3)))


@pytest.mark.parametrize("axes", [("unit",), ("trial", "time")])
def test_alignment_of_partial_traces(axes: tuple[str, ...]) -> None:
    ntk = global_ntk(build_model("gru", units=10).linearize(normal(5, 12, 3)))
    first, second = trace_over(ntk, *axes), trace_over(ntk.core, *axes)
    a, c = first.dense(), second.dense()
    exact = ((a * c).sum() / (a.norm() * c.norm())).item()
    for seed in range(5):
        found = cosine_alignment(first, second, generator=seeded(seed))
        assert 0 <= found.value <= 1
        assert 0 < found.standard_error < 0.1
        assert_within(found, exact)
    assert cosine_alignment(first, second, 10**4).value == pytest.approx(exact, rel=1e-11)
    assert cosine_alignment(first, second, 10**4).method == "exact"
    assert cosine_alignment(first, second, 4, tolerance=0.01).relative_error <= 0.01
