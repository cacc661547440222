"""Differences of two values in units of their standard error, beside scipy's Welch test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from kpflow_cli.comparison.differences import subtract
from kpflow_cli.comparison.values import ErrorKind, Value


def mean_of(sample: np.ndarray) -> Value:
    spread = float(sample.std(ddof=1))
    return Value(
        float(sample.mean()), spread / math.sqrt(len(sample)), "seeds", len(sample), spread
    )


@pytest.mark.parametrize("sizes", [(2, 2), (3, 3), (2, 7), (5, 3), (12, 40)])
@pytest.mark.parametrize("seed", range(8))
def test_ratio_of_pooled_seeds_is_the_statistic_of_welch(sizes: tuple[int, int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    one, other = generator.normal(0, 1, sizes[0]), generator.normal(seed % 4, 3, sizes[1])
    found, expected = (
        subtract(mean_of(other), mean_of(one)),
        stats.ttest_ind(other, one, equal_var=False),
    )
    assert found.amount == pytest.approx(other.mean() - one.mean())
    assert found.ratio == pytest.approx(expected.statistic)
    assert found.degrees == max(int(expected.df), 1)
    # a whole number of degrees of freedom, rounded down: never clear where Welch's test is not
    threshold = stats.t.ppf(0.975, found.degrees)
    assert found.is_clear == (abs(expected.statistic) > threshold)
    if found.is_clear:
        assert expected.pvalue < 0.05


def test_of_probes_the_degrees_are_one_less_than_they_are() -> None:
    one, other = Value(10.0, 3.0, "probes", 20), Value(2.0, 4.0, "probes", 5)
    found = subtract(other, one)
    assert (found.amount, found.error, found.ratio) == (-8.0, 5.0, pytest.approx(-1.6))
    assert found.degrees == int(25**2 / (81 / 19 + 256 / 4))
    assert not found.is_clear
    assert subtract(Value(-40.0, 4.0, "probes", 5), one).is_clear


def test_beside_an_exact_value_the_other_error_counts_alone() -> None:
    found = subtract(Value(3.0, 0.5, "probes", 9), Value(1.0, 0.0, "exact"))
    assert (found.error, found.ratio, found.degrees, found.told) == (0.5, 4.0, 8, "")
    assert found.is_clear


KINDS: list[tuple[Value, Value, str]] = [
    (Value(3.0, 0.0, "exact"), Value(1.0, 0.0, "exact"), "exact"),
    (Value(1.0, 0.0, "exact"), Value(1.0, 0.0, "exact"), "exact"),
    (Value(1.0, math.nan, "unknown", 1), Value(3.0, 0.5, "probes", 9), "unknown"),
    (Value(1.0, math.nan, "none"), Value(2.0, math.nan, "none"), "no error"),
    (Value(1.0, math.nan, "none"), Value(2.0, 0.1, "seeds", 3, 0.2), "no error"),
    (Value(1.0, 0.0, "seeds", 3, 0.0), Value(2.0, 0.0, "seeds", 3, 0.0), "no spread"),
    (Value(1.0, 0.3, "bound"), Value(2.0, 0.3, "bound"), "beyond bound"),
    (Value(1.0, 0.3, "bound"), Value(1.5, 0.3, "bound"), "within bound"),
    (Value(1.0, 0.3, "bound"), Value(1.2, 0.0, "exact"), "within bound"),
]


@pytest.mark.parametrize(("one", "other", "told"), KINDS)
@pytest.mark.parametrize("turned", [False, True])
def test_without_standard_errors_there_is_a_word_and_no_ratio(
    one: Value, other: Value, told: str, turned: bool
) -> None:
    first, second = (other, one) if turned else (one, other)
    found = subtract(second, first)
    assert found.amount == second.value - first.value
    assert (found.told, found.degrees, found.is_clear) == (told, 0, False)
    assert math.isnan(found.ratio)


@pytest.mark.parametrize(("value", "ratio"), [(11.0, 4.5), (-7.0, -3.5), (1.5, 0.0)])
def test_a_bound_is_taken_off_before_standard_errors_are_counted(
    value: float, ratio: float
) -> None:
    found = subtract(Value(value, 1.0, "bound"), Value(1.0, 2.0, "probes", 9))
    assert (found.ratio, found.bound, found.error) == (ratio, 1.0, 2.0)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_errors_of_any_size_are_squared(size: float) -> None:
    kinds: ErrorKind = "probes"
    found = subtract(Value(9 * size, 3 * size, kinds, 9), Value(4 * size, 4 * size, kinds, 9))
    assert found.ratio == pytest.approx(1.0)
    assert found.degrees == int(25**2 / (81 / 8 + 256 / 8))
