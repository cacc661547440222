"""What is read of a folder while its files are written one after the other."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from made_runs import make_run, measured

from kpflow_cli.run.layout import LOCK, MANIFEST, STATUS
from kpflow_cli.watching.snapshot import read_loosely, read_snapshot

FILES = ("training.csv", "measurements.csv", STATUS, MANIFEST)


def state(step: int, name: str) -> Path:
    """The folder of a run that has measured step 0 and this one."""
    training = [{"step": each, "loss": 1.0 / (1 + each)} for each in (0, step)]
    return make_run(
        status="running",
        step=step,
        path=Path(name),
        training=training,
        measurements=[*measured(0, step), *measured(0, operator="k")],
    )


def test_what_a_folder_holds() -> None:
    found = read_snapshot(state(7, "run"))
    assert found is not None
    assert found.standing == "interrupted"
    assert found.training == {"loss": {0: 1.0, 7: 0.125}}
    assert found.steps_measured == [0, 7]
    estimate = found.measured["effective_rank", "full"][7]
    assert (estimate.value, estimate.standard_error, estimate.num_probes) == (17.0, 0.5, 20)


@pytest.mark.parametrize("written", range(1, len(FILES)))
def test_between_two_states_nothing_is_believed(written: int) -> None:
    folder, later = state(7, "run"), state(15, "later")
    with FileLock(folder / LOCK):
        before = read_snapshot(folder)
        assert before is not None
        assert before.standing == "running"
        assert read_snapshot(folder, before) is before
        for name in FILES[:written]:
            shutil.copy(later / name, folder / "new")
            (folder / "new").rename(folder / name)
        if written >= FILES.index(STATUS):
            assert read_snapshot(folder) is None
        # of files that never come to fit
        assert read_loosely(folder).steps_measured == ([0, 7] if written < 2 else [0, 15])
        for name in FILES[written:]:
            shutil.copy(later / name, folder / "new")
            (folder / "new").rename(folder / name)
        after = read_snapshot(folder, before)
        assert after is not None
        assert after.steps_measured == [0, 15]
        assert after.status["step"] == 15


def test_tables_that_are_new_before_their_checksums_are_not_read() -> None:
    folder, later = state(7, "run"), state(15, "later")
    with FileLock(folder / LOCK):
        shutil.copy(later / "measurements.csv", folder)
        assert read_snapshot(folder) is None


def test_the_end_is_seen_at_once() -> None:
    folder = state(7, "run")
    with FileLock(folder / LOCK):
        before = read_snapshot(folder)
    after = read_snapshot(folder, before)
    assert after is not None
    assert after.standing == "interrupted"


def test_where_training_diverged() -> None:
    training: list[dict[str, Any]] = [
        {"step": 0, "loss": 1.0, "accuracy": 0.5},
        {"step": 3, "loss": math.nan, "accuracy": None},
    ]
    found = read_snapshot(make_run(status="diverged", training=training))
    assert found is not None
    assert found.training["accuracy"] == {0: 0.5}
    assert list(found.training["loss"]) == [0, 3]
    assert math.isnan(found.training["loss"][3])


def test_a_run_that_has_only_begun() -> None:
    folder = make_run(status="running")
    for name in ("training.csv", STATUS, MANIFEST):
        (folder / name).unlink()
    with FileLock(folder / LOCK):
        found = read_snapshot(folder)
    assert found is not None
    assert (found.standing, found.status, found.training) == ("running", {}, {})


@pytest.mark.parametrize("content", [b"", b"\xff", b"step\nx\n", b"step,loss\n1,2,3\n", b"a,b\n"])
def test_whatever_a_table_holds(content: bytes) -> None:
    folder = make_run(status="interrupted", measurements=measured(0))
    for name in ("training.csv", "measurements.csv"):
        (folder / name).write_bytes(content)
    found = read_snapshot(folder)
    assert found is not None
    assert found.standing == "interrupted"
    assert found.measured == {}
