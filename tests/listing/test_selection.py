"""Which runs are chosen, their order, and in what they are said to differ."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from kpflow_cli.errors import UserError
from kpflow_cli.listing.differences import differences, uncommon
from kpflow_cli.listing.listed_run import ListedRun
from kpflow_cli.listing.selection import in_order, select


def listed(name: str, **changes: Any) -> ListedRun:
    config = changes.pop("config", {})
    values: dict[str, Any] = {
        "path": Path("runs") / name,
        "task": "memorypro",
        "model": "gru",
        "status": "complete",
        "step": 5,
        "steps": 5,
        "hash": name,
        "version": "1",
        "error": "",
        "written": 0.0,
        "size": 1,
    }
    return ListedRun(**(values | changes), config=config)


RUNS = [
    listed("aa11", written=3.0, config={"model.units": 64, "seed": 0, "a.on": True, "b": None}),
    listed(
        "aa22",
        written=1.0,
        model="rnn",
        status="interrupted",
        step=2,
        size=9,
        config={"model.units": 128.0, "seed": 0, "analysis.measures": ["ntk", "k"]},
    ),
    listed("bb33", written=2.0, task="flipflop", size=5, config={"model.units": 9, "seed": 1}),
]


# an hour after the youngest was written
NOW = 3603.0


def names(runs: list[ListedRun]) -> list[str]:
    return [run.path.name for run in runs]


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ([], ["aa11", "aa22", "bb33"]),
        (["task=memorypro"], ["aa11", "aa22"]),
        (["task=memorypro", "status=interrupted"], ["aa22"]),
        (["model.units=64.0"], ["aa11"]),
        (["model.units=128,9"], ["aa22", "bb33"]),
        (["a.on=true"], ["aa11"]),
        (["b=null"], ["aa11"]),
        (["analysis.measures=k"], ["aa22"]),
        (["run=aa"], ["aa11", "aa22"]),
        (["run=bb33,aa1"], ["aa11", "bb33"]),
        # written 3600, 3602 and 3601 s ago
        (["older=1h"], ["aa22", "bb33"]),
        (["newer=60 min"], ["aa11"]),
        (["older=3601s"], ["aa22"]),
        (["newer=0.05d", "task=flipflop"], ["bb33"]),
        # a status that there is, and that none has
        (["status=diverged"], []),
        (["status=interrupted", "model=gru"], []),
    ],
)
def test_filters(words: list[str], chosen: list[str]) -> None:
    assert names(select(RUNS, words, NOW)) == chosen


@pytest.mark.parametrize(
    ("word", "told"),
    [
        (
            "model.unit=64",
            r"no key 'model.unit' \(did you mean 'model.units'\?\); keys there: task",
        ),
        ("status=done", "status=done: unknown; valid: complete, damaged, diverged, failed, int"),
        (
            "task=memoryproo",
            r"memoryproo: in no run there \(did you mean 'memorypro'\?\); there ar",
        ),
        ("model.units=65", "model.units=65: in no run there; there are 9, 64, 128.0"),
        ("model.units=many", "model.units=many: in no run there"),
        ("model.units=", "'model.units=': no filter"),
        ("older=soon", "older=soon: no duration; a number with s, min, h or d, such as 30d"),
        ("newer=3", "newer=3: no duration"),
        ("olde=3d", r"no key 'olde' \(did you mean 'older'\?\)"),
        ("run=ff", "run=ff: the beginning of no run's hash there"),
    ],
)
def test_filters_that_are_none(word: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        select(RUNS, [word], NOW)


@pytest.mark.parametrize(
    ("key", "order"),
    [
        ("age", ["aa11", "bb33", "aa22"]),
        ("-age", ["aa22", "bb33", "aa11"]),
        ("size", ["aa22", "bb33", "aa11"]),
        ("step", ["aa11", "bb33", "aa22"]),
        ("task", ["bb33", "aa11", "aa22"]),
        ("status", ["aa11", "bb33", "aa22"]),
        ("model.units", ["bb33", "aa11", "aa22"]),
        ("-model.units", ["aa22", "aa11", "bb33"]),
        # those without the key come last
        ("a.on", ["aa11", "aa22", "bb33"]),
    ],
)
def test_order(key: str, order: list[str]) -> None:
    assert names(in_order(RUNS, key)) == order


def test_an_order_that_is_none() -> None:
    with pytest.raises(UserError, match=r"sort=sized: unknown \(did you mean 'size'\?\); valid: a"):
        in_order(RUNS, "sized")


def test_differences_of_a_sweep() -> None:
    runs = [
        listed(f"r{index}", config={"model.units": 8, "model.gain": gain, "seed": seed})
        for index, (gain, seed) in enumerate([(0.5, 0), (1, 0), (1.0, 1)])
    ]
    assert differences(runs) == [
        {"model.gain": 0.5, "seed": 0},
        {"model.gain": 1, "seed": 0},
        {"model.gain": 1.0, "seed": 1},
    ]
    assert uncommon(runs) == differences(runs)
    assert differences(runs[:1]) == [{}]


def test_values_of_one_meaning_are_no_difference() -> None:
    pairs: list[tuple[Any, Any, bool]] = [
        (1, 1.0, False),
        (True, 1, True),
        ("1", 1, True),
        (None, "null", True),
        ([1], [1], False),
        (math.nan, math.nan, False),
    ]
    for one, other, differ in pairs:
        runs = [listed("a", config={"key": one}), listed("b", config={"key": other})]
        assert bool(differences(runs)[0]) is differ, (one, other)


def test_keys_of_a_model_are_compared_within_it() -> None:
    runs = [
        listed("a", model="gru", config={"model.units": 8, "dtype": "float32"}),
        listed("b", model="rnn", config={"model.units": 9, "model.dt": 1, "dtype": "float64"}),
        listed("c", model="rnn", config={"model.units": 9, "model.dt": 2, "dtype": "float64"}),
    ]
    assert differences(runs) == [
        {"dtype": "float32"},
        {"model.dt": 1, "dtype": "float64"},
        {"model.dt": 2, "dtype": "float64"},
    ]


def test_what_nearly_all_have_is_not_repeated() -> None:
    runs = [listed(f"r{i}", config={"seed": i, "training.steps": 9}) for i in range(4)]
    runs.append(listed("odd", config={"seed": 4, "training.steps": 7}))
    assert uncommon(runs)[0] == {"seed": 0}
    assert uncommon(runs)[-1] == {"seed": 4, "training.steps": 7}
    assert differences(runs)[0] == {"seed": 0, "training.steps": 9}
