"""Sweeps through the installed command: repeated, killed, twice at once, in other processes;
nothing is lost and nothing made twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE

import pytest
from counted import put_task, steps_made
from small_runs import KPFLOW, SMALL, installed_kpflow, kpflow

from kpflow_cli.run.whole_files import read_csv_bytes

Start = Callable[..., subprocess.Popen[bytes]]
STEPS = 12
OWN = [option for option in SMALL if not option.startswith(("task.", "training."))]
OPTIONS = [
    "run",
    "-m",
    "--config-dir",
    "conf",
    "task=counted",
    "model=rnn",
    *OWN,
    f"training.steps={STEPS}",
    "training.batch_size=4",
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a task of one's own that counts the steps made."""
    return put_task(tmp_path)


@pytest.fixture
def start(place: Path) -> Iterator[Start]:
    """Starts kpflow beside the test; whatever still runs at its end is killed, so that a failed
    test leaves nothing behind.
    """
    with contextlib.ExitStack() as stack:

        def started(*arguments: str) -> subprocess.Popen[bytes]:
            process = stack.enter_context(
                subprocess.Popen([KPFLOW, *arguments], cwd=place, stdout=PIPE, stderr=PIPE)
            )
            stack.callback(process.kill)
            return process

        yield started


def sweep(place: Path, *overrides: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = kpflow(*OPTIONS, *overrides, cwd=place)
    assert done.returncode == status, done.stderr
    return done


def table(place: Path, done: subprocess.CompletedProcess[str], output: str = "all.csv") -> bytes:
    assert (
        kpflow("table", done.stdout.splitlines()[-1], f"output={output}", cwd=place).returncode == 0
    )
    return (place / output).read_bytes()


def records(place: Path) -> dict[Path, dict[str, object]]:
    return {path.parent: json.loads(path.read_text()) for path in place.rglob("run.json")}


def names(count: int) -> str:
    return "task.name=" + ",".join(f"p{index}" for index in range(count))


def test_a_repeated_sweep_runs_only_what_is_missing(place: Path) -> None:
    sweep(place, names(3))
    assert set(steps_made(place).values()) == {1}
    before = steps_made(place)
    done = sweep(place, names(5))
    assert before <= steps_made(place)
    assert set(steps_made(place).values()) == {1}
    assert len(steps_made(place)) == 5 * (STEPS + 1)
    assert "5 of 5 runs are complete" in done.stdout
    assert "5 done, 0 running, 0 failed, 0 left" in done.stderr


@pytest.mark.slow
def test_sixty_points_killed_at_three_moments(place: Path, start: Start) -> None:
    """Each SIGKILL costs at most the steps of the one run under way since its last save; finished
    runs are never touched again.
    """
    moments = random.Random(5)
    finished: dict[Path, int] = {}
    for _ in range(3):
        process = start(*OPTIONS, names(60))
        wanted = len(finished) + moments.randint(3, 12)
        while len(list(place.rglob("run.json"))) < wanted and process.poll() is None:
            time.sleep(0.005)
        time.sleep(moments.random() * 0.1)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        now = {
            path: (path / "measurements.csv").stat().st_mtime_ns
            for path, each in records(place).items()
            if each["status"] == "complete"
        }
        assert finished.items() <= now.items()
        finished = now
    done = sweep(place, names(60))
    made = steps_made(place)
    assert len(made) == 60 * (STEPS + 1)
    runs_with_repeated_steps = {line.split()[0] for line, count in made.items() if count > 1}
    assert len(runs_with_repeated_steps) <= 3
    assert max(made.values()) <= 4
    ended = records(place)
    assert (
        finished.items()
        <= {path: (path / "measurements.csv").stat().st_mtime_ns for path in ended}.items()
    )
    assert sum(len(each["continues"]) > 0 for each in ended.values()) <= 3
    elsewhere = sweep(place, names(60), "run_dir=undisturbed")
    assert table(place, done) == table(place, elsewhere)


def test_two_identical_sweeps_at_once(place: Path, start: Start) -> None:
    for process in [start(*OPTIONS, names(12)) for _ in range(2)]:
        output, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
        assert b"12 of 12 runs are complete" in output
    assert set(steps_made(place).values()) == {1}
    assert len(steps_made(place)) == 12 * (STEPS + 1)
    assert all(not each["continues"] for each in records(place).values())


def test_one_failed_point_does_not_stop_the_rest(place: Path) -> None:
    failed = sweep(place, "training.learning_rate=0.01,1e9,0.02", status=1)
    assert "2 of 3 runs are complete" in failed.stdout
    last = failed.stderr.splitlines()[-1]
    assert last.startswith(
        "kpflow: 1 of 3 runs failed: training.learning_rate=1000000000.0 (runs/counted/rnn/"
    )
    assert "training diverged" in last
    assert "2 done, 0 running, 1 failed, 0 left" in failed.stderr
    before = steps_made(place)
    sweep(place, "training.learning_rate=0.01,1e9,0.02", status=1)
    # the failed one is tried again, the others are not
    assert 0 < (steps_made(place) - before).total() <= STEPS


def test_a_task_that_breaks_is_a_failed_point(place: Path) -> None:
    done = sweep(place, "task.size=3,-1", status=1)
    assert "1 of 2 runs are complete" in done.stdout
    assert "task.size=-1" in done.stderr.splitlines()[-1]
    assert "RuntimeError" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_tables_of_all_engines_agree(place: Path) -> None:
    alone = table(place, sweep(place, names(5)))
    for launcher in (["hydra/launcher=joblib"], ["hydra/launcher=submitit_local", "workers=2"]):
        folder = f"run_dir={launcher[0].rpartition('=')[2]}"
        done = installed_kpflow(*OPTIONS, names(5), *launcher, folder, cwd=place)
        assert done.returncode == 0, done.stderr
        assert table(place, done) == alone
    assert set(steps_made(place).values()) == {3}


def test_table_is_tidy(place: Path) -> None:
    done = sweep(place, names(2), "model.gain=0.5,1.5,10", "training.learning_rate=0.001")
    table(place, done)
    found = read_csv_bytes((place / "all.csv").read_bytes())
    assert list(found.columns) == [
        "run", "seed", "task.name", "model.gain", "step", "operator", "quantity",
        "reduction", "value", "stderr", "probes"
    ]  # fmt: skip
    assert found.groupby("run").ngroups == 6
    # numbers in their own order, not that of their digits
    assert found["model.gain"].drop_duplicates().tolist() == [0.5, 1.5, 10]
    assert kpflow("table", "runs/counted/rnn/*", "output=glob.csv", cwd=place).returncode == 0
    assert (place / "glob.csv").read_bytes() == (place / "all.csv").read_bytes()
    folder = next((place / "runs/counted/rnn").iterdir())
    own = read_csv_bytes((folder / "measurements.csv").read_bytes())
    same = found[(found["run"] == folder.name) & (found["operator"] != "training")]
    assert same["value"].tolist() == own["value"].tolist()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["runs/none/*"], "runs/none/*: no complete runs there"),
        ([], "table takes a sweep file or one quoted glob"),
        (["a", "b"], "table takes a sweep file or one quoted glob"),
        (["a", "outptu=x"], "no option 'outptu=x' (did you mean 'output'?)"),
        (["counted.py"], "counted.py: no sweep file"),
    ],
)
def test_mistakes_with_tables_are_told_in_one_line(
    arguments: list[str], told: str, place: Path
) -> None:
    done = kpflow("table", *arguments, cwd=place)
    assert done.returncode == 2
    assert done.stderr.startswith(f"kpflow: {told}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            ["hydra/launcher=jobbib"],
            "no hydra/launcher 'jobbib' (did you mean 'joblib'?); valid: basic, joblib",
        ),
        (
            ["workers=3"],
            "workers=3: without a launcher there is one; hydra/launcher=joblib starts several",
        ),
        (["workers=0"], "workers=0: impossible; valid: at least 1"),
        (["run_dir=a,b"], "run_dir=a,b: one for the whole sweep"),
        (["hydra.launcher.nonsense=1"], "no key 'hydra.launcher.nonsense'"),
    ],
)
def test_mistakes_with_sweeps_are_told_in_one_line(
    overrides: list[str], told: str, place: Path
) -> None:
    done = kpflow(*OPTIONS, *overrides, cwd=place)
    assert done.returncode == 2
    assert done.stderr.startswith(f"kpflow: {told}")
    assert done.stderr.count("\n") == 1
    assert not (place / "runs").exists()


def _workers_of(place: Path) -> list[int]:
    """The processes that submitit started in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words, cwd = (entry / "cmdline").read_bytes().split(b"\0"), (entry / "cwd").readlink()
        except OSError:
            continue
        if b"submitit.core._submit" in words and cwd == place:
            found.append(int(entry.name))
    return found


def _wait_for_steps(place: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    while steps_made(place).total() <= count:
        assert process.poll() is None
        time.sleep(0.01)


def test_terminated_run_saves_and_continues(place: Path, start: Start) -> None:
    alone = [option for option in OPTIONS if option != "-m"] + [
        "training.steps=20000",
        "training.evaluation_interval=500",
    ]
    process = start(*alone, "save_interval=1000000", "run_dir=out")
    _wait_for_steps(place, 200, process)
    process.terminate()
    output = process.communicate(timeout=60)[0].decode()
    assert process.returncode == -signal.SIGTERM
    record = json.loads((place / "out" / "run.json").read_text())
    assert record["status"] == "interrupted"
    assert f"SIGTERM at step {record['step']}: saved" in output
    before = steps_made(place)
    assert before.total() == record["step"] + 1
    process = start(*alone, "run_dir=out")
    _wait_for_steps(place, before.total() + 20, process)
    process.kill()
    process.communicate()
    # only the loss of the step that it stopped at is computed again
    assert [count for count in (steps_made(place) - before).values() if count > 1] == []
    assert len(+(steps_made(place) & before)) == len(before)
    assert sum(count == 2 for count in steps_made(place).values()) == 1


@pytest.mark.slow
def test_a_preempted_job_saves_is_requeued_and_continues(place: Path, start: Start) -> None:
    options = [
        *OPTIONS,
        "training.steps=3000",
        "training.evaluation_interval=500",
        "save_interval=1000000",
    ]
    launcher = ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=60"]
    process = start(*options, *launcher)
    _wait_for_steps(place, 200, process)
    (worker,) = _workers_of(place)
    os.kill(worker, signal.SIGUSR2)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    made = steps_made(place)
    assert len(made) == 3001
    # one job was cut off in the middle, and made the step that it stopped at twice
    assert sum(count == 2 for count in made.values()) == 1
    (record,) = records(place).values()
    assert [session["step"] for session in record["continues"]] != []
    alone = kpflow(*options, "run_dir=undisturbed", cwd=place)
    assert table(place, alone, "alone.csv") == table(
        place, subprocess.CompletedProcess([], 0, output.decode()), "requeued.csv"
    )
