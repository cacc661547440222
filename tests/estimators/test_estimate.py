from __future__ import annotations

import math

import pytest

from kpflow_cli.estimators.estimate import Estimate


def test_exact_value_says_so() -> None:
    estimate = Estimate(2 / 3)
    assert (estimate.standard_error, estimate.num_probes, estimate.method) == (0.0, 0, "exact")
    assert str(estimate) == "0.666667 (exact)"


def test_value_comes_with_its_error_and_probes() -> None:
    assert str(Estimate(1234.5678, 0.123, 30, "jackknife")) == "1234.57 +- 0.12 (30 probes)"


def test_format_pads_the_whole_text() -> None:
    estimate = Estimate(3.0, 0.5, 4, "jackknife")
    assert f"{estimate:>24}" == "    3 +- 0.5 (4 probes)".rjust(24)
    assert f"{estimate}" == str(estimate)


@pytest.mark.parametrize(("value", "error", "expected"), [(4.0, 1.0, 0.25), (-4.0, 1.0, 0.25), (4.0, 0.0, 0.0), (0.0, 0.5, 0.5)])
def test_relative_error(value: float, error: float, expected: float) -> None:
    assert Estimate(value, error, 8).relative_error == expected


def test_unknown_error_stays_unknown() -> None:
    assert math.isnan(Estimate(4.0, math.nan, 1).relative_error)


def test_estimates_are_immutable() -> None:
    with pytest.raises(AttributeError):
        Estimate(1.0).value = 2.0  # type: ignore[misc]
