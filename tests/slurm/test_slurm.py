"""Sweeps on a real Slurm: a job cancelled half way, a job preempted; repeated or requeued, they end
as if nothing had happened.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from counted import put_task, steps_made
from small_runs import KPFLOW, SMALL, kpflow

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

Start = Callable[[list[str]], subprocess.Popen[str]]
SAVE_INTERVAL = 50
OWN = [option for option in SMALL if not option.startswith(("task.", "training.", "save_interval"))]
OPTIONS = [
    "run",
    "-m",
    "--config-dir",
    "conf",
    "task=counted",
    "model=rnn",
    *OWN,
    "training.batch_size=4",
    "training.evaluation_interval=500",
]
SLURM = [
    "hydra/launcher=submitit_slurm",
    "hydra.launcher.partition=main",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.mem_gb=1",
    "hydra.launcher.timeout_min=5",
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a task of one's own that counts the steps made."""
    return put_task(tmp_path)


@pytest.fixture
def start(place: Path) -> Iterator[Start]:
    """Starts the installed command; what a failed test leaves at work is killed."""
    processes: list[subprocess.Popen[str]] = []

    def started(options: list[str]) -> subprocess.Popen[str]:
        processes.append(
            subprocess.Popen(
                [KPFLOW, *options],
                cwd=place,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return processes[-1]

    yield started
    for process in processes:
        process.kill()
        process.communicate()


def wait_for_steps(
    place: Path, count: int, names: list[str], process: subprocess.Popen[str]
) -> None:
    """Until every point has made more than so many steps."""
    deadline = time.monotonic() + 120
    while min(steps_by_name(place)[name] for name in names) <= count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def steps_by_name(place: Path) -> Counter[str]:
    return Counter(line.split()[0] for line in steps_made(place).elements())


def jobs() -> list[str]:
    return sorted(
        subprocess.check_output(
            ["squeue", "--noheader", "--array", "--format=%i"], text=True, timeout=60
        ).split()
    )


def records(place: Path) -> dict[str, dict[str, object]]:
    found = [json.loads(path.read_text()) for path in place.rglob("runs/*/*/*/run.json")]
    return {each["config"]["task"]["name"]: each for each in found}


def table(place: Path, output: str, stdout: str) -> bytes:
    assert kpflow("table", stdout.splitlines()[-1], f"output={output}", cwd=place).returncode == 0
    return (place / output).read_bytes()


def test_a_sweep_with_a_cancelled_job_is_completed_by_the_same_command(
    place: Path, start: Start
) -> None:
    """Finished runs are not made again, the cancelled one loses less than a save interval, and the
    CSVs are those of a sequential run.
    """
    names = ["p0", "p1", "p2", "p3"]
    steps = 8000
    sweep = [*OPTIONS, f"training.steps={steps}", f"task.name={','.join(names)}"]
    on_slurm = [*sweep, *SLURM, f"save_interval={SAVE_INTERVAL}", "workers=2"]
    process = start(on_slurm)
    wait_for_steps(place, 500, names, process)
    finished = {name for name, record in records(place).items() if record["status"] == "complete"}
    assert len(finished) == 2
    first, _ = jobs()
    subprocess.run(["scancel", first], check=True, timeout=60)
    _, errors = process.communicate(timeout=120)
    if process.returncode == 0:
        # the other job came by the point that was left, and finished it
        assert {record["status"] for record in records(place).values()} == {"complete"}
    else:
        assert process.returncode == 1
        last = errors.splitlines()[-1]
        assert last.startswith(
            f"kpflow: hydra/launcher=submitit_slurm: a worker was lost (Job {first} "
        )
        assert last.endswith("the same command continues")

    # beside the other job, where that is still at work
    process = start(on_slurm)
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert "4 of 4 runs are complete" in output
    ended = records(place)
    assert {record["status"] for record in ended.values()} == {"complete"}
    (cancelled,) = [name for name, record in ended.items() if record["continues"]]
    assert cancelled not in finished
    (session,) = ended[cancelled]["continues"]
    assert 500 <= session["step"] < steps
    made = steps_by_name(place)
    assert {made[name] for name in names if name != cancelled} == {steps + 1}
    assert steps + 1 < made[cancelled] <= steps + 1 + SAVE_INTERVAL
    assert len(steps_made(place)) == len(names) * (steps + 1)

    alone = kpflow(*sweep, "save_interval=1000000", "run_dir=alone", cwd=place, timeout=200)
    assert table(place, "alone.csv", alone.stdout) == table(place, "slurm.csv", output)


def test_a_preempted_job_saves_is_requeued_and_continues(place: Path, start: Start) -> None:
    steps = 6000
    sweep = [*OPTIONS, f"training.steps={steps}", "save_interval=1000000"]
    process = start(
        [*sweep, *SLURM, "hydra.launcher.max_num_timeout=3", "hydra.launcher.signal_delay_s=30"]
    )
    wait_for_steps(place, 500, ["a"], process)
    (job,) = jobs()
    subprocess.run(["scancel", "--signal=USR2", job], check=True, timeout=60)
    output, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    made = steps_made(place)
    assert len(made) == steps + 1
    # only the loss of the step that it stopped at is computed again
    assert [count for count in made.values() if count > 1] == [2]
    (session,) = records(place)["a"]["continues"]
    assert 500 <= session["step"] < steps
    alone = kpflow(*sweep, "run_dir=alone", cwd=place)
    assert table(place, "alone.csv", alone.stdout) == table(place, "requeued.csv", output)
