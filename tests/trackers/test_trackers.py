"""Trackers show what the tables of a run hold: every step once, whatever happened to the run."""

from __future__ import annotations

import json
import os
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from small_runs import kpflow, small_config, table_bytes

from kpflow_cli.config.validation import identity
from kpflow_cli.errors import UserError
from kpflow_cli.run.identity import identity_hash
from kpflow_cli.run.ownership import has_configuration, written_configuration
from kpflow_cli.run.runner import run
from kpflow_cli.run.whole_files import read_csv_bytes
from kpflow_cli.sweeps.points import SweepPoint
from kpflow_cli.sweeps.worker import work_off
from kpflow_cli.trackers.base import TrackedRun, Tracker
from kpflow_cli.trackers.none import NoTracker

# step -> name -> value
Curves = dict[int, dict[str, float]]

# rows beyond the last save of a run that dies at step 37
SETTING = "training.evaluation_interval=3"
WITHOUT = small_config(SETTING)
HASH = identity_hash(identity(WITHOUT))
NEEDED = {
    "tensorboard": "event files are read back by TensorBoard itself",
    "wandb": "not in [test]",
}


class Recorder:
    """A tracker of one's own: the last start and all that was logged since."""

    runs: list[TrackedRun] = []  # noqa: RUF012
    curves: Curves = {}  # noqa: RUF012

    def start(self, run: TrackedRun) -> None:
        Recorder.runs.append(run)
        Recorder.curves = {}

    def log(self, step: int, values: Mapping[str, float]) -> None:
        assert step > max(Recorder.curves, default=-1)
        Recorder.curves[step] = dict(values)

    def close(self) -> None:
        pass


class Failing(NoTracker):
    """A tracker whose disk is full from step 15 on."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if step >= 15:
            raise OSError(28, "No space left on device")


class Dying:
    """Shows nothing, and ends the process, as it were, at step 37, two after a save."""

    def __init__(self, *_: object) -> None:
        pass

    def show_step(self, step: int, _loss: float) -> None:
        if step == 37:
            raise KeyboardInterrupt

    def show_measuring(self) -> None:
        pass

    def show_measured(self, _step: int, _measured: object) -> None:
        pass

    def close(self) -> None:
        pass


def own(name: str) -> Any:
    return small_config(SETTING, f"tracker={{_target_:{__name__}.{name}}}")


def tables_of(run_dir: Path) -> Curves:
    """What a tracker has to show, from the CSV files."""
    found: dict[int, dict[str, float]] = {}
    for row in read_csv_bytes((run_dir / "training.csv").read_bytes()).to_dict("records"):
        step = found.setdefault(int(row.pop("step")), {})
        step |= {f"training/{column}": value for column, value in row.items()}
    for row in read_csv_bytes((run_dir / "measurements.csv").read_bytes()).to_dict("records"):
        name = f"{row['operator']}/{row['quantity']}/{row['reduction']}"
        found.setdefault(row["step"], {}).update(
            {name: row["value"], f"{name}/stderr": row["stderr"]}
        )
    return {
        step: {name: value for name, value in values.items() if np.isfinite(value)}
        for step, values in found.items()
    }


def curves_of(run_dir: Path, tracker: str) -> Curves:
    """What a tracker's own reader finds; an error where it finds a step twice."""
    return {"tensorboard": _read_events, "wandb": _read_offline_run}[tracker](run_dir / "tracker")


def _read_events(folder: Path) -> Curves:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: Curves = {}
    # 0: all points of a curve, not a sample of them
    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    for name in reader.Tags()["scalars"]:
        for point in reader.Scalars(name):
            assert name not in found.setdefault(point.step, {})
            found[point.step][name] = point.value
    return found


def _read_offline_run(folder: Path) -> Curves:
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    found: Curves = {}
    for content in _list_records(path.read_bytes()):
        record = Record.FromString(content)
        if record.WhichOneof("record_type") != "history":
            continue
        items = {
            item.key or "/".join(item.nested_key): json.loads(item.value_json)
            for item in record.history.item
        }
        step = items["_step"]
        assert step not in found
        found[step] = {name: each for name, each in items.items() if not name.startswith("_")}
    return found


def _list_records(written: bytes) -> Iterator[bytes]:
    """The records of LevelDB's log format after the header of 7 bytes that wandb puts first."""
    position, parts = 7, b""
    while position < len(written):
        left = 2**15 - position % 2**15
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", written, position)
        parts += written[position + 7 : position + 7 + length]
        position += 7 + length
        # whole, or the last of several
        if kind in (1, 4):
            yield parts
            parts = b""


@pytest.fixture(scope="module")
def untracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("untracked") / "run"
    run(WITHOUT, run_dir, {})
    return run_dir


@pytest.mark.parametrize("tracker", NEEDED)
def test_a_run_that_died_shows_every_row_once(
    tracker: str, untracked: Path, tmp_path: Path
) -> None:
    """It dies after a save, and after rows that the save does not hold."""
    pytest.importorskip(tracker, reason=NEEDED[tracker])
    config, run_dir = small_config(SETTING, f"tracker={tracker}"), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(config, run_dir, {}, progress=Dying)
    assert max(curves_of(run_dir, tracker)) == 36
    run(config, run_dir, {})
    assert table_bytes(run_dir) == table_bytes(untracked)
    shown, wanted = curves_of(run_dir, tracker), tables_of(untracked)
    assert shown.keys() == wanted.keys() == {*range(0, 40, 3), 2, 5, 15, 40}
    for step, values in wanted.items():
        # an event file holds single precision
        assert shown[step] == pytest.approx(values, rel=1e-6, abs=1e-30)


@pytest.mark.parametrize("first", ["none", "recorder"])
def test_a_tracker_chosen_late_shows_the_run_from_its_first_step(
    first: str, untracked: Path, tmp_path: Path
) -> None:
    config = own("Recorder")
    with pytest.raises(KeyboardInterrupt):
        run(WITHOUT if first == "none" else config, tmp_path / "run", {}, progress=Dying)
    run(config, tmp_path / "run", {})
    assert Recorder.curves == tables_of(untracked)
    assert Recorder.runs[-1].hash == HASH
    assert Recorder.runs[-1].hyperparameters["training.learning_rate"] == 0.1


def test_the_tracker_is_no_part_of_a_runs_identity() -> None:
    for tracker in ("tensorboard", "wandb"):
        assert identity(small_config(SETTING, f"tracker={tracker}")) == identity(WITHOUT)


@pytest.mark.parametrize("tracker", NEEDED)
def test_configuration_is_shown(tracker: str, tmp_path: Path) -> None:
    pytest.importorskip(tracker, reason=NEEDED[tracker])
    run(small_config(f"tracker={tracker}", "training.steps=0"), tmp_path / "run", {})
    (path,) = (
        path
        for path in (tmp_path / "run" / "tracker").rglob("*")
        if "tfevents" in path.name or path.suffix == ".wandb"
    )
    assert b"training.learning_rate" in path.read_bytes()
    assert b"kpflow_cli.tasks.memory_pro.MemoryPro" in path.read_bytes()


def test_a_tracker_that_fails_is_told_in_a_line_and_the_run_goes_on(
    untracked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(own("Failing"), tmp_path / "run", {})
    assert table_bytes(tmp_path / "run") == table_bytes(untracked)
    told = [line for line in capsys.readouterr().err.splitlines() if "tracker" in line]
    assert len(told) == 1
    assert "No space left on device; the run goes on without it" in told[0]


def test_a_full_disk_is_told_and_the_run_goes_on(
    untracked: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TensorBoard's own writer would print a traceback from a thread."""
    records = pytest.importorskip(
        "tensorboard.summary.writer.record_writer", reason=NEEDED["tensorboard"]
    )
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    write = records.RecordWriter
    full = Path("/dev/full").open("wb")  # noqa: SIM115
    monkeypatch.setattr(records, "RecordWriter", lambda stream: stream.close() or write(full))
    run(small_config(SETTING, "tracker=tensorboard"), tmp_path / "run", {})
    assert table_bytes(tmp_path / "run") == table_bytes(untracked)
    told = capsys.readouterr().err
    assert told.count("tracker: ") == told.count("No space left on device") == 1


@pytest.mark.parametrize("tracker", NEEDED)
def test_a_missing_package_is_refused_before_any_work(
    tracker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, tracker, None)
    with pytest.raises(
        UserError, match=rf"tracker={tracker}: needs .*pip install 'kpflow\[{tracker}"
    ):
        run(small_config(SETTING, f"tracker={tracker}"), tmp_path / "run", {})
    assert not (tmp_path / "run").exists()


def test_online_without_a_login_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb", reason=NEEDED["wandb"])
    monkeypatch.setattr(wandb, "login", lambda **_: False)
    with pytest.raises(UserError, match=r"tracker\.mode=online: nobody is logged in"):
        run(small_config("tracker=wandb", "tracker.mode=online"), tmp_path / "run", {})
    assert not (tmp_path / "run").exists()


def test_a_folder_of_ones_own_has_one_for_each_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason=NEEDED["tensorboard"])
    config = small_config(
        "tracker=tensorboard", f"tracker.folder={tmp_path}/all", "training.steps=0"
    )
    run(config, tmp_path / "run", {})
    assert [path.name for path in (tmp_path / "all").iterdir()] == [identity_hash(identity(config))]
    assert not (tmp_path / "run" / "tracker").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"tracker\.folder=.*/file/x: cannot be written"):
        run(
            small_config("tracker=tensorboard", f"tracker.folder={tmp_path}/file/x"),
            tmp_path / "other",
            {},
        )


def test_workers_of_a_sweep_log_too(tmp_path: Path) -> None:
    values: Any = OmegaConf.to_container(own("Recorder"))
    point = SweepPoint("", values, tmp_path / HASH)
    assert work_off([point], time.time(), os.getpid()) == {}
    assert Recorder.curves == tables_of(tmp_path / HASH)


def test_a_sweep_with_a_tracker_that_is_not_there_makes_nothing(tmp_path: Path) -> None:
    done = kpflow("run", "-m", "tracker=tensorbord", "seed=0,1", cwd=tmp_path)
    assert done.returncode == 2
    assert "no tracker 'tensorbord' (did you mean 'tensorboard'?)" in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_a_tracker_left_is_no_strangers_file(tmp_path: Path) -> None:
    """A folder that lost its configuration is still the run's."""
    (tmp_path / "tracker").mkdir()
    assert not has_configuration(tmp_path, written_configuration(identity(WITHOUT)))


def test_trackers_keep_the_protocol() -> None:
    assert isinstance(NoTracker(), Tracker)
