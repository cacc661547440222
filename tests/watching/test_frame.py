"""A screen full of a run, and its lines."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.watching.frame import QUANTITIES, Screen, describe_end, lay_out
from kpflow_cli.watching.lines import heading, lines_after
from kpflow_cli.watching.snapshot import Snapshot
from kpflow_cli.watching.time_left import seconds_left

STATUS = {
    "step": 10,
    "steps": 40,
    "duration": 125.0,
    "config": {"training": {"steps": 40}, "analysis": {"checkpoints": 5}},
    "seconds": {"training": 5.0, "measuring": 90.0, "starting": 1e6},
}


def snapshot(standing: str = "running", **changes: Any) -> Snapshot:
    values: dict[str, Any] = {
        "status": STATUS,
        "written": 1000.0,
        "stamp": (0, 0),
        "training": {
            "loss": {0: 1.0, 5: 0.5, 10: 0.25},
            "evaluation_loss": {0: 1.5, 5: 0.75, 10: 0.125},
            "learned_fraction_1": {0: -5.014e-08, 5: 0.1, 10: 0.9},
        },
        "measured": {
            key: {0: Estimate(8.0, 0.5, 20), 10: Estimate(4.0 + place, 0.25, 20)}
            for place, key in enumerate(QUANTITIES)
        },
    }
    return Snapshot(Path("runs/a"), standing, **(values | changes))


def test_a_frame() -> None:
    assert lay_out(snapshot(), 1004.0, Screen(80, 24, blocks=False)) == [
        "runs/a  running",
        # 5 s for 10 steps, 90 s for 3 of 5 checkpoints (0, 2, 5; 15, 40): 15 + 60 - 4
        "step 10 of 40  [########----------------------] 25 %  about 71 s left",
        "saved 4 s ago; 5 s training, 2 min measuring",
        "",
        "evaluated at 3 steps: first 0, last 10",
        "loss                1          0.25          #-_",
        "evaluation loss     1.5        0.125         #~_",
        "learned fraction 1  -5.01e-08  0.9           __#",
        "",
        "measured at 2 steps: first 0, last 10",
        "effective rank      8          4.00 +- 0.25  #_",
        "  temporal:mean     8          5.00 +- 0.25  #_",
        "  temporal:trace    8          6.00 +- 0.25  #_",
        "  spatial:mean      8          7.00 +- 0.25  #_",
        "  spatial:trace     8          8.00 +- 0.25  ~~",
        "alignment           8          9.00 +- 0.25  _#",
    ]


@pytest.mark.parametrize("width", [20, 40, 60, 100])
@pytest.mark.parametrize("height", [5, 10, 24])
def test_frames_fit(width: int, height: int) -> None:
    many = {f"accuracy_{index}": dict.fromkeys(range(300), 0.5) for index in range(40)}
    one = snapshot(training={"loss": dict.fromkeys(range(300), 1.0), **many})
    lines = lay_out(one, 1000.0, Screen(width, height, blocks=True))
    # the line below a frame, where the cursor is, is the screen's too
    assert len(lines) < height - 1
    assert max(map(len, lines)) < width
    if height >= 24:
        assert any(line.startswith("alignment") for line in lines)
        assert any(line.startswith("accuracy 1 ") for line in lines)


@pytest.mark.parametrize(
    ("standing", "status", "told"),
    [
        ("complete", STATUS, "complete at step 10 of 40, in 2 min"),
        ("interrupted", STATUS, "interrupted at step 10 of 40; the same command continues it"),
        ("interrupted", {}, "interrupted before anything was saved; the same command begins"),
        (
            "diverged",
            STATUS | {"error": "DivergedError: loss is nan"},
            "diverged at step 10 of 40: loss is nan",
        ),
        ("failed", STATUS, "failed at step 10 of 40: nobody knows why"),
        ("damaged", {}, "damaged: run.json is not there as it was written; the command that made"),
    ],
)
def test_how_it_ended(standing: str, status: dict[str, Any], told: str) -> None:
    assert describe_end(snapshot(standing, status=status)).startswith(told)
    first = lay_out(snapshot(standing, status=status), 0.0, Screen(80, 24, blocks=True))[0]
    assert first == f"runs/a  {standing}"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"step": 40}, "step 40 of 40  [##############################] 100 %  plots to draw"),
        ({"step": 0}, "step 0 of 40  [------------------------------] 0 %"),
        ({"config": {}}, "step 10 of 40  [########----------------------] 25 %"),
    ],
)
def test_how_far_it_is(changes: dict[str, Any], line: str) -> None:
    shown = lay_out(snapshot(status=STATUS | changes), 0.0, Screen(80, 24, blocks=True))
    assert shown[1] == line


def test_a_run_that_has_only_begun() -> None:
    begun = snapshot(status={}, written=math.nan, training={}, measured={})
    assert lay_out(begun, 0.0, Screen(80, 24, blocks=True)) == ["runs/a  running", "starting"]


@pytest.mark.parametrize(
    ("step", "seconds"),
    [
        # steps 0, 2, 5, 15 and 40 are measured; half a second a step, 30 s a checkpoint
        (2, 38 * 0.5 + 3 * 30),
        (14, 26 * 0.5 + 2 * 30),
        (15, 25 * 0.5 + 1 * 30),
        (40, 0.0),
    ],
)
def test_time_left_counts_training_and_measuring_apart(step: int, seconds: float) -> None:
    measured = sum(each <= step for each in (0, 2, 5, 15, 40))
    spent = {"training": 0.5 * step, "measuring": 30.0 * measured, "plotting": 1e9}
    status = STATUS | {"step": step, "seconds": spent}
    assert seconds_left(status, 0.0) == pytest.approx(seconds)
    assert seconds_left(status, 1e6) == 0


def test_a_line_for_each_measured_step() -> None:
    one = snapshot()
    lines = list(lines_after(one, -1))
    assert [step for step, _ in lines] == [0, 10]
    assert len(heading().split()) == len(["step", "effective", "rank"]) + 7
    cells = lines[1][1].split("  ")
    assert [cell.strip() for cell in cells if cell] == [
        *("10", "4.00 +- 0.25", "6.00 +- 0.25", "8.00 +- 0.25", "9.00 +- 0.25"),
        *("10", "0.25", "0.125", "-"),
    ]
    assert list(lines_after(one, 0)) == lines[1:]
    assert list(lines_after(one, 10)) == []


def test_a_line_tells_which_step_its_losses_are_of() -> None:
    one = snapshot(training={"loss": {0: 1.0, 20: 0.5}})
    (_, line) = next(lines_after(one, 0))
    assert line.split()[-4:] == ["0", "1", "-", "-"]


def test_lines_of_a_run_without_measurements() -> None:
    assert [step for step, _ in lines_after(snapshot(measured={}), -1)] == [0, 5, 10]
