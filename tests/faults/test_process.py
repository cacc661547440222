"""kpflow among other processes: closed streams, readers that leave, signals, parents that die."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from counted import put_task, steps_made
from small_runs import KPFLOW, SMALL, table_bytes
from tally import Tally

pytestmark = pytest.mark.faults
OWN = [option for option in SMALL if not option.startswith(("task.", "training."))]
RUN = ["run", "--config-dir", "conf", "task=counted", "model=rnn", *OWN, "training.batch_size=4"]
SHORT = [*RUN, "training.steps=3"]
LONG = [*RUN, "training.steps=100000", "training.evaluation_interval=1000", "save_interval=1000000"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put_task(tmp_path_factory.mktemp("process"))


def _count(section: str, fault: str) -> None:
    """For the report: a fault that was survived."""
    tally = Tally(section, fault.replace("|", r"\|"))
    tally.add("survived", fault)
    tally.close()


def _shell(line: str, place: Path) -> subprocess.CompletedProcess[str]:
    """As someone types it; ``$RUN`` is a short run."""
    words = {"K": str(KPFLOW), "RUN": " ".join([str(KPFLOW), *SHORT])}
    command = ["bash", "-c", f"set -o pipefail; {line}"]
    return subprocess.run(
        command, cwd=place, env=os.environ | words, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "line",
    [
        "$RUN run_dir={name} 2>&-",
        "$RUN run_dir={name} >&-",
        "$RUN run_dir={name} <&- >&- 2>&-",
        "$RUN run_dir={name} | true",
        "$RUN run_dir={name} 2>&1 | head -n 1",
        "$RUN run_dir={name} >/dev/full 2>/dev/full",
    ],
)
def test_a_run_goes_on_whoever_reads(line: str, place: Path) -> None:
    name = f"streams{abs(hash(line))}"
    done = _shell(line.format(name=name), place)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    _count("streams that are closed, full or left", line)
    assert json.loads((place / name / "run.json").read_text())["status"] == "complete"
    # no file takes the place of a stream that is closed
    assert (place / name / ".lock").read_bytes() == b""


@pytest.mark.parametrize(
    "line",
    [
        "$K list | true",
        "$K run --help | head -n 1",
        "$K --help | true",
        "$K figure --help | true",
        "$K run --cfg job | true",
        "$K nonsense 2>&-; [ $? = 2 ]",
        "$K list >/dev/full",
    ],
)
def test_a_reader_that_leaves_is_no_error(line: str, place: Path) -> None:
    done = _shell(line, place)
    assert (done.returncode, done.stderr) == (0, "")
    _count("streams that are closed, full or left", line)


@contextlib.contextmanager
def _started(place: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    def be_interruptible() -> None:
        # what runs in the background of a shell ignores Ctrl-C
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        [KPFLOW, *arguments], cwd=place, preexec_fn=be_interruptible, **pipes
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _wait_until(condition: object, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while not condition():  # type: ignore[operator]
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_run_that_measures_ends_and_continues_to_the_same_bytes(
    number: signal.Signals, tmp_path: Path
) -> None:
    """Each measurement takes minutes."""
    put_task(tmp_path)
    slow = [*RUN, "training.steps=3", "analysis.checkpoints=2", "analysis.probes=20"]
    (tmp_path / "slow_measure.py").write_text(
        "import pathlib, time\n"
        "import kpflow_cli as kp\n"
        "def measure(subject):\n"
        "    pathlib.Path('measuring').touch()\n"
        "    while pathlib.Path('slow').exists():\n"
        "        time.sleep(0.01)\n"
        "    return kp.Measured()\n"
    )
    command = [*slow, "analysis.measures=[ntk,slow_measure.measure]"]
    (tmp_path / "slow").touch()
    with _started(tmp_path, *command, "run_dir=out") as process:
        _wait_until((tmp_path / "measuring").exists, process)
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert b"Traceback" not in errors
    assert f"{number.name} at step 0: saved".encode() in output
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "interrupted"
    (tmp_path / "slow").unlink()
    for name in ("out", "undisturbed"):
        with _started(tmp_path, *command, f"run_dir={name}") as process:
            process.communicate()
            assert process.returncode == 0
    assert table_bytes(tmp_path / "out") == table_bytes(tmp_path / "undisturbed")
    _count("signals to processes", f"{number.name} to a run that measures")


@pytest.mark.parametrize("command", ["verify", "bench", "list"])
def test_every_command_ends_by_the_signal(command: str, tmp_path: Path) -> None:
    with _started(tmp_path, command) as process:
        time.sleep(0.3)
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert process.returncode in (0, -signal.SIGTERM)
    assert b"Traceback" not in errors
    _count("signals to processes", f"SIGTERM to kpflow {command}")


def _of_place(place: Path) -> list[int]:
    """Processes that work in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink() == place and b"python" in (
                entry / "cmdline"
            ).read_bytes():
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_of_a_sweep_end_with_it_and_save(number: signal.Signals, tmp_path: Path) -> None:
    put_task(tmp_path)
    sweep = ["-m", "task.name=a,b", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    with _started(tmp_path, LONG[0], *sweep, *LONG[1:]) as process:
        _wait_until(lambda: steps_made(tmp_path).total() > 200, process)
        process.send_signal(number)
        process.communicate()
    until = time.monotonic() + 20
    while _of_place(tmp_path):
        assert time.monotonic() < until, "workers live on"
        time.sleep(0.1)
    records = [json.loads(path.read_text()) for path in tmp_path.rglob("run.json")]
    assert records
    assert {record["status"] for record in records} == {"interrupted"}
    _count("signals to processes", f"{number.name} to a sweep of several workers")
