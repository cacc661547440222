"""Sweeps as Hydra's grammar writes them: each stands for the values that it says, or is refused in
a line before any combination is made.
"""

from __future__ import annotations

import time
import tracemalloc

import pytest
from small_runs import SMALL

from kpflow_cli.config.grid import grid
from kpflow_cli.config.plain_values import value_at
from kpflow_cli.errors import UserError


def values(key: str, written: str, *others: str) -> list[object]:
    points = grid([*SMALL, *others, f"{key}={written}"])
    return [value_at(point.values, key) for point in points]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("range(0,1,0.1)", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        ("range(0.3,0,-0.1)", [0.3, 0.2, 0.1]),
        ("range(3)", [0, 1, 2]),
        ("range(2,0,-1)", [2, 1]),
        ("sort(range(0,1,0.3),reverse=true)", [0.9, 0.6, 0.3, 0.0]),
        ("sort(range(0,10,3),reverse=true)", [9, 6, 3, 0]),
        ("sort(range(9,0,-3))", [3, 6, 9]),
        ("sort(range(1,3))", [1, 2]),
        ("sort(3,1,2)", [1, 2, 3]),
        ("choice(1,2.5)", [1, 2.5]),
        ("tag(few,choice(1,2))", [1, 2]),
        ("tag(few,range(1,3))", [1, 2]),
        ("1e-3,2", [0.001, 2]),
    ],
)
def test_a_sweep_has_the_values_that_it_says(written: str, expected: list[float]) -> None:
    assert values("model.gain", written) == expected


def test_shuffled_values_are_all_there() -> None:
    assert sorted(values("seed", "shuffle(range(20))")) == list(range(20))
    assert sorted(values("seed", "shuffle(4,2,7)")) == [2, 4, 7]


def test_glob_chooses_from_a_group() -> None:
    points = grid([*SMALL, "model=glob(gru*)"])
    assert [point.choices["model"] for point in points] == ["gru", "gru2"]


def test_lists_and_mappings_are_values_too() -> None:
    own = ["model=custom", "model.target=kpflow_cli.models.networks.MLP"]
    assert values("analysis.measures", "[ntk],[k,p]") == [["ntk"], ["k", "p"]]
    points = grid([*SMALL, *own, "++model.kwargs={layers:1},{layers:2}"])
    assert [point.values["model"]["kwargs"] for point in points] == [{"layers": 1}, {"layers": 2}]


def test_params_of_the_sweeper_are_swept() -> None:
    points = grid([*SMALL, "+hydra.sweeper.params.seed='0,1'", "model.gain=1,2"])
    assert [(point.values["seed"], point.values["model"]["gain"]) for point in points] == [
        (0, 1.0), (0, 2.0), (1, 1.0), (1, 2.0)
    ]  # fmt: skip


def test_swept_interpolations_follow_their_point() -> None:
    points = grid(["seed=1,2", "save_interval=${seed},7"])
    assert [point.values["save_interval"] for point in points] == [1, 7, 2, 7]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("seed=interval(0,1)", r"seed=interval\(0,1\): stands for no list of values; such as"),
        ("seed=range(3,3)", r"seed=range\(3,3\): stands for no value at all"),
        ("seed=range(3,0)", r"seed=range\(3,0\): stands for no value at all"),
        ("seed=range(0,1,0)", r"range\(0,1,0\): a step of 0 leads nowhere"),
        ("seed=range(0,inf)", r"range\(0,inf,1\): start, stop and step have to be finite"),
        ("model=glob(grx*)", r"model=glob\(grx\*\): matches no model.*; valid: attention, cnn"),
        ("seed=glob(*)", r"seed=glob\(\*\): glob\(\) chooses from a group, and seed is none"),
        ("seed=range(0,100000000)", r"seed=range\(0,100000000\): 100,000,000 runs; .* 100,000"),
        ("seed=range(0,1e300,1e-300)", r"1\.0e\+600 runs; a sweep has at most 100,000"),
        ("seed=shuffle(range(10**8))", "cannot read"),
        ("seed=shuffle(range(100000000))", "100,000,000 runs"),
        ("seed=sort(range(100000000),reverse=true)", "100,000,000 runs"),
        (
            "model.gain=${model.gain},1",
            r"model\.gain: follows another key that is not there, or itself",
        ),
    ],
)
def test_what_stands_for_no_values_is_refused_at_once(override: str, told: str) -> None:
    tracemalloc.start()
    started = time.perf_counter()
    with pytest.raises(UserError, match=told):
        grid([*SMALL, override])
    assert time.perf_counter() - started < 10
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()


def test_the_count_is_that_of_all_axes() -> None:
    with pytest.raises(UserError, match=r"seed=range\(1000\) model.gain=range\(101\): 101,000"):
        grid([*SMALL, "seed=range(1000)", "model.gain=range(101)"])


@pytest.mark.parametrize("followed", ["model.gain", "model.gian"])
def test_a_value_that_follows_itself_or_nothing_is_refused(followed: str) -> None:
    told = r"^model\.gain: follows another key that is not there, or itself; "
    with pytest.raises(UserError, match=told):
        grid([*SMALL, f"model.gain=${{{followed}}},1"])
