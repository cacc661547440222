"""From overrides to points: the quick way gives what Hydra gives, point by point."""

from __future__ import annotations

from functools import cache

import hydra
import pytest
from hydra import compose
from hydra.errors import MissingConfigException
from small_runs import SMALL, small_config

from kpflow_cli.config.command_line import explain
from kpflow_cli.config.grid import GridPoint, grid
from kpflow_cli.config.groups import describe_choices
from kpflow_cli.config.plain_values import value_at
from kpflow_cli.config.validation import check, identity
from kpflow_cli.errors import UserError

MIXED = [
    *SMALL,
    "model=gru,rnn",
    "model.gain=0,0.5,1.5",
    "seed=range(3)",
    "analysis.measures=[ntk],[k]",
    "training.steps=7",
]


def test_every_point_is_what_hydra_composes() -> None:
    points = grid(MIXED)
    assert len(points) == 2 * 3 * 3 * 2
    with hydra.initialize_config_module("kpflow_cli.configs", version_base="1.3"):
        for point in points:
            alone = check(compose("config", [*SMALL, "training.steps=7", *point.swept]))
            assert identity(point.values) == identity(alone)
            assert point.choices["model"] == point.swept[0].removeprefix("model=")
    assert len({str(point.values) for point in points}) == len(points)


def test_without_commas_there_is_one_point() -> None:
    (point,) = grid(list(SMALL))
    assert point.swept == ()
    assert identity(point.values) == identity(small_config())


def test_interpolated_values_follow_the_swept_ones() -> None:
    points = grid(["task=student_teacher", "model=vanilla_rnn", "model.gain=0.5,2"])
    assert [point.values["task"]["input_gain"] for point in points] == [0.5, 2.0]


def test_values_that_are_not_checked_are_of_the_types_of_those_they_replace() -> None:
    overrides = [*MIXED, "training.learning_rate=1", "task.noise=0"]
    quick, checked = (grid(overrides, checked=each) for each in (False, True))
    assert [identity(point.values) for point in quick] == [
        identity(point.values) for point in checked
    ]
    assert all(type(point.values["model"]["gain"]) is float for point in quick)
    (followed,) = grid(["task=student_teacher", "model=vanilla_rnn", "model.gain=2"], checked=False)
    assert repr(followed.values["task"]["input_gain"]) == "2.0"


def test_a_number_beyond_floating_point_is_refused_where_values_are_checked() -> None:
    with pytest.raises(UserError, match=r"model\.gain="):
        grid([*SMALL, f"model.gain=1,{'9' * 400}"])
    assert len(grid([*SMALL, f"model.gain=1,{'9' * 400}"], checked=False)) == 2


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("model.gain=0.5,-1", r"model\.gain=-1: impossible; valid: at least 0"),
        ("model.gian=0.5,1", r"no key 'model\.gian' \(did you mean 'gain'"),
        ("model=gru,grru", r"no model 'grru' \(did you mean 'gru'"),
        ("seed=0,one", r"seed=one"),
        ("+sweep=gain", r"no sweep 'gain'"),
    ],
)
def test_a_bad_value_of_any_point_is_refused(override: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        grid([*SMALL, override])


def test_a_launcher_that_is_not_installed_names_its_extra() -> None:
    for launcher, extra in (("joblib", "joblib"), ("submitit_slurm", "slurm")):
        missing = MissingConfigException(
            "", missing_cfg_file=f"hydra/launcher/{launcher}", options=["basic"]
        )
        told = (
            f"no hydra/launcher '{launcher}'; valid: basic; `pip install 'kpflow[{extra}]'` "
            "brings it"
        )
        assert str(explain(missing)) == told


@cache
def named_grid(name: str) -> list[GridPoint]:
    """Those of thousands of points take seconds."""
    return grid([f"+sweep={name}"])


@pytest.mark.parametrize("name", describe_choices(("sweep",))["sweep"])
def test_every_named_grid_composes(name: str) -> None:
    points = named_grid(name)
    assert len(points) > 10
    assert all(len(point.swept) > 1 for point in points)
    assert len({point.swept for point in points}) == len(points)


def test_the_plane_of_gain_and_input_rank_is_the_papers() -> None:
    points = named_grid("gain_input_rank")
    values = {
        key: sorted({value_at(point.values, key) for point in points})
        for key in ("task.case", "task.input_rank", "seed")
    }
    assert values == {
        "task.case": ["W", "Win", "both"],
        "task.input_rank": list(range(2, 63, 4)),
        "seed": [0, 1, 2],
    }
    gains = sorted({point.values["model"]["gain"] for point in points})
    assert gains == pytest.approx([3 * index / 49 for index in range(50)], abs=5e-5)
    assert len(points) == 50 * 16 * 3 * 3


def test_overrides_replace_a_named_grids_values() -> None:
    points = grid(
        ["+sweep=gain_input_rank", "seed=5", "task.case=W", "model.gain=0,1", "task.input_rank=2,4"]
    )
    assert [point.swept for point in points] == [
        ("model.gain=0", "task.input_rank=2"),
        ("model.gain=0", "task.input_rank=4"),
        ("model.gain=1", "task.input_rank=2"),
        ("model.gain=1", "task.input_rank=4"),
    ]


def test_the_plane_of_input_dimension_and_width_is_the_papers() -> None:
    points = named_grid("attention_width")
    widths, dimensions = (
        {value_at(point.values, key) for point in points}
        for key in ("model.width", "task.input_dim")
    )
    assert widths == {8, 12, 16, 24, 32, 48, 64, 96, 128}
    assert (len(dimensions), min(dimensions), max(dimensions)) == (24, 1, 256)
    assert len(points) == 9 * 24
