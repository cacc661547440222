from __future__ import annotations

import math

import pytest

from kpflow_cli.estimators.estimate import Estimate


def test_exact_value_says_so() -> None:
    estimate = Estimate(2 / 3)
    assert (estimate.standard_error, estimate.num_probes, estimate.method) == (0.0, 0, "exact")
    assert str(estimate) == "0.666667 (exact)"


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (348.1234, 4.21, "348.1 +- 4.2"),
        (1234.5678, 0.123, "1234.57 +- 0.12"),
        (3484.0, 42.1, "3484 +- 42"),
        (3484.0, 421.0, "3480 +- 420"),
        (3484.0, 0.0996, "3484.00 +- 0.10"),
        (3484.0, 99.6, "3480 +- 100"),
        (-0.5, 0.031, "-0.500 +- 0.031"),
        (0.0, 0.5, "0.00 +- 0.50"),
        (1.23456e8, 4.2e6, "1.235e+08 +- 4.2e+06"),
        (-1.2345e-4, 1.2e-9, "-1.234500e-04 +- 1.2e-09"),
        (0.0, 1.2e-9, "0.0e+00 +- 1.2e-09"),
        (5.25, math.inf, "5.25 +- inf"),
        (5.25, 0.0, "5.25 +- 0"),
    ],
)
def test_value_is_rounded_to_the_place_of_its_error(
    value: float, error: float, expected: str
) -> None:
    assert str(Estimate(value, error, 40, "jackknife")) == f"{expected} (40 probes)"


def test_format_pads_the_whole_text() -> None:
    estimate = Estimate(3.0, 0.5, 4, "jackknife")
    assert f"{estimate:>26}" == "3.00 +- 0.50 (4 probes)".rjust(26)
    assert f"{estimate}" == str(estimate)


# two-sided quantiles of Student's t, from the tables of Abramowitz and Stegun 26.10 and of NIST
@pytest.mark.parametrize(
    ("confidence", "num_probes", "quantile"),
    [
        (0.95, 2, 12.706),
        (0.95, 3, 4.303),
        (0.95, 4, 3.182),
        (0.95, 5, 2.776),
        (0.95, 11, 2.228),
        (0.95, 24, 2.069),
        (0.95, 31, 2.042),
        (0.95, 41, 2.021),
        (0.95, 121, 1.980),
        (0.95, 100001, 1.960),
        (0.5, 2, 1.000),
        (0.5, 7, 0.718),
        (0.9, 2, 6.314),
        (0.9, 16, 1.753),
        (0.99, 2, 63.657),
        (0.99, 6, 4.032),
        (0.99, 61, 2.660),
        (0.999, 2, 636.619),
        (0.999, 11, 4.587),
        (0.999, 121, 3.373),
    ],
)
def test_interval_reaches_quantiles_of_student_t(
    confidence: float, num_probes: int, quantile: float
) -> None:
    lower, upper = Estimate(10.0, 2.0, num_probes, "jackknife").interval(confidence)
    assert (upper - 10) / 2 == pytest.approx(quantile, abs=5.1e-4)
    assert upper - 10 == pytest.approx(10 - lower, rel=1e-12)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_quantiles_of_few_degrees_in_closed_form(confidence: float) -> None:
    """tan(pi c / 2) of 1 degree of freedom, c sqrt(2 / (1 - c^2)) of 2."""
    reaches = [Estimate(0.0, 1.0, num_probes).interval(confidence)[1] for num_probes in (2, 3)]
    expected = [math.tan(math.pi * confidence / 2), confidence * math.sqrt(2 / (1 - confidence**2))]
    assert reaches == pytest.approx(expected, rel=1e-12)


def test_interval_of_an_exact_value_is_the_value() -> None:
    assert Estimate(4.5).interval() == (4.5, 4.5)


def test_bound_of_rounding() -> None:
    estimate = Estimate(4.5, 0.25, 0, "exact up to rounding")
    assert str(estimate) == "4.50 +- 0.25 (rounding)"
    assert estimate.interval() == estimate.interval(0.5) == (4.25, 4.75)


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (Estimate(3.1, math.nan, 2, "jackknife"), "3.1 (error unknown: 2 probes)"),
        (Estimate(3.1, math.nan), "3.1 (error unknown)"),
        (Estimate(math.nan, 1.0, 4), "nan (error unknown: 4 probes)"),
    ],
)
def test_unknown_error_is_said_in_words(estimate: Estimate, expected: str) -> None:
    assert str(estimate) == expected
    assert "+-" not in str(estimate)


@pytest.mark.parametrize(
    "estimate", [Estimate(4.5, math.nan, 1), Estimate(4.5, math.nan, 2), Estimate(4.5, 1.0, 1)]
)
def test_unknown_error_leaves_the_whole_line(estimate: Estimate) -> None:
    assert estimate.interval() == (-math.inf, math.inf)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, 95])
def test_confidence_is_a_probability(confidence: float) -> None:
    with pytest.raises(ValueError, match=f"between 0 and 1, got {confidence}"):
        Estimate(4.5, 1.0, 8).interval(confidence)


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [(4.0, 1.0, 0.25), (-4.0, 1.0, 0.25), (4.0, 0.0, 0.0), (0.0, 0.5, 0.5)],
)
def test_relative_error(value: float, error: float, expected: float) -> None:
    assert Estimate(value, error, 8).relative_error == expected


def test_unknown_error_stays_unknown() -> None:
    assert math.isnan(Estimate(4.0, math.nan, 1).relative_error)


def test_estimates_are_immutable() -> None:
    with pytest.raises(AttributeError):
        Estimate(1.0).value = 2.0  # type: ignore[misc]
