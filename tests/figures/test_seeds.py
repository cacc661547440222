"""Errors of claims about initializations: whole seeds, whatever the points of one share."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from kpflow_cli.figures.learning_speed import correlate_within
from kpflow_cli.figures.planes import average_over_planes
from kpflow_cli.figures.seeds import average_over_seeds, average_seeds
from kpflow_cli.figures.table import stack, tabulate
from scipy import stats

from kpflow_cli.estimators.estimate import Estimate


def test_mean_of_seeds_is_scipys() -> None:
    values = [3.0, 5.0, 4.5]
    found = average_seeds(values)
    assert (found.value, found.num_probes, found.method) == (
        pytest.approx(np.mean(values)),
        3,
        "seeds",
    )
    assert found.standard_error == pytest.approx(stats.sem(values))
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert found.interval() == pytest.approx((low, high))


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan]])
def test_too_few_seeds_tell_nothing(values: list[float]) -> None:
    assert math.isnan(average_seeds(values).value)


def test_one_seed_keeps_its_own_error() -> None:
    rows = pd.DataFrame({"line": [7, 7], "value": [1.0, 2.0]})
    own = Estimate(1.5, 0.1, 20, "probes")
    assert average_over_seeds(rows, lambda _: own) is own


def plane(logs: np.ndarray, error: float, seed: int = 0, probes: int = 9) -> pd.DataFrame:
    """Rows of a plane ``(y, x)`` of the exponentials, each with the same relative error."""
    y, x = (pd.Series(axis.ravel()) for axis in np.indices(logs.shape))
    values = pd.Series(np.exp(logs).ravel())
    return tabulate(
        "plane", "all", line=seed, x=x, y=y, value=values, stderr=error * values, probes=probes
    )


@pytest.mark.slow
def test_intervals_cover_although_the_points_of_a_seed_share_their_noise() -> None:
    """1,000 times three seeds, each with one draw for all its points: 95 % cover, within 4 binomial
    errors (false alarm 6e-5).
    """
    generator = np.random.default_rng(1)
    covered = []
    for _ in range(1000):
        seeds = [plane(np.full((2, 2), generator.normal()), 0.01, seed) for seed in range(3)]
        low, high = average_over_planes(stack(seeds), lambda logs: float(logs.mean())).interval()
        covered.append(low <= 0 <= high)
    assert np.mean(covered) == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 1000))


def test_of_one_seed_the_error_is_the_larger_of_independent_and_shared_noise() -> None:
    """Of 200 draws a standard deviation is known to 5 %; here to 5 of its errors (false alarm
    6e-7).
    """
    logs = np.zeros((4, 5))
    for statistic, error in (
        (lambda logs: float(logs.mean()), 0.1),
        (lambda logs: float(logs[0, 0] - logs[3, 4]), 0.1 * math.sqrt(2)),
        (lambda logs: float(logs.shape[0]), 0.0),
    ):
        rows = plane(logs, 0.1)
        # an exact value beside the others
        rows.loc[7, ["stderr", "probes"]] = 0
        found = average_over_planes(rows, statistic)
        assert (found.num_probes, found.method) == (9, "probes")
        assert found.standard_error == pytest.approx(error, rel=0.25)


def networks(seeds: int) -> pd.DataFrame:
    """Overlap grows over ranks as the drop does, and falls over gains where the drop grows; one
    network is unstable and against both.
    """
    rows = [
        {
            "line": str(seed),
            "gain": gain,
            "rank": rank,
            "overlap": rank / gain**5,
            "drop": gain + 0.1 * rank,
            "stable": True,
        }
        for seed in range(seeds)
        for gain in (1, 2, 3)
        for rank in (1, 2, 3)
    ]
    wild = [
        {"line": str(seed), "gain": 1, "rank": 4, "overlap": 99.0, "drop": -5.0, "stable": False}
        for seed in range(seeds)
    ]
    return pd.DataFrame([*rows, *wild])


def test_correlations_within_gains_and_within_ranks_are_told_apart() -> None:
    points = networks(3)
    assert correlate_within(points, "gain") == Estimate(1.0, 0.0, 3, "seeds")
    assert correlate_within(points, "rank") == Estimate(-1.0, 0.0, 3, "seeds")
    pooled = stats.spearmanr(
        points["overlap"][points["stable"]], points["drop"][points["stable"]]
    ).statistic
    assert -1 < pooled < 1


def test_of_one_seed_the_error_of_a_correlation_is_unknown() -> None:
    found = correlate_within(networks(1), "gain")
    assert found.value == 1.0
    assert found.interval() == (-math.inf, math.inf)
