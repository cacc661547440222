"""``kpflow watch`` beside a run that goes on in another process."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import FileLock
from made_runs import make_run, measured
from small_runs import KPFLOW, SMALL, kpflow

from kpflow_cli.commands import watch as command
from kpflow_cli.errors import FailedRunError, UserError
from kpflow_cli.run.layout import LOCK
from kpflow_cli.watching import watch as watching
from kpflow_cli.watching.lines import heading


def training(*steps: int) -> list[dict[str, Any]]:
    return [{"step": step, "loss": 1.0 / (1 + step)} for step in steps]


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """A run's folder as if a process worked on it."""
    with FileLock(folder / LOCK):
        yield


def files_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def wait_for(happened: Callable[[], Any], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_run_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    """The lines are those of the tables that are there at the end, each once."""
    words = [str(KPFLOW), "run", *SMALL, "run_dir=run"]
    run = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for((tmp_path / "run" / LOCK).exists)
    wait_for((tmp_path / "run/config.yaml").exists)
    watched = kpflow("watch", "run", "every=0.05", cwd=tmp_path)
    assert watched.returncode == 0, watched.stderr
    run.communicate(timeout=60)
    first, *lines, last = watched.stdout.splitlines()
    assert first == heading()
    table = pd.read_csv(tmp_path / "run/measurements.csv").query("operator == 'ntk'")
    ranks = table[(table.quantity == "effective_rank") & (table.reduction == "full")]
    assert [int(line.split()[0]) for line in lines] == ranks.step.tolist() == [0, 2, 5, 15, 40]
    shown = [float(line.split()[1]) for line in lines]
    assert shown == pytest.approx(ranks.value.tolist(), rel=0.05)
    assert re.fullmatch(r"complete at step 40 of 40, in \d+ (s|min)", last)


def test_what_is_watched_is_not_touched(tmp_path: Path) -> None:
    folder = make_run(path=Path("run"), measurements=measured(0, 40), training=training(0, 40))
    before = files_of(folder)
    assert kpflow("watch", "run", cwd=tmp_path).returncode == 0
    assert files_of(folder) == before


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("running", "kpflow: run: interrupted at step 7 of 40; the same command continues it\n"),
        ("interrupted", "kpflow: run: interrupted at step 7 of 40; the same command"),
        ("diverged", "kpflow: run: diverged at step 7 of 40: loss is nan\n"),
        ("failed", "kpflow: run: failed at step 7 of 40"),
    ],
)
def test_a_run_that_did_not_end_well(status: str, told: str, tmp_path: Path) -> None:
    make_run(path=Path("run"), status=status, step=7, measurements=measured(0, 7))
    watched = kpflow("watch", "run", cwd=tmp_path)
    assert watched.returncode == 1
    assert watched.stderr.startswith(told)
    assert watched.stderr.count("\n") == 1
    assert [line.split()[0] for line in watched.stdout.splitlines()[1:]] == ["0", "7"]


def test_only_what_is_new_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(path=Path("run"), status="running", step=2, measurements=measured(0, 2))
    stream, looks, lock = io.StringIO(), list[str](), FileLock(folder / LOCK)

    def go_on(_: float) -> None:
        looks.append(stream.getvalue())
        lock.release()
        if len(looks) == 3:
            make_run(path=folder, status="running", step=5, measurements=measured(0, 2, 5))
        if len(looks) == 5:
            make_run(path=folder, status="complete", measurements=measured(0, 2, 5, 40))
        else:
            lock.acquire()

    lock.acquire()
    monkeypatch.setattr("time.sleep", go_on)
    watching.watch(folder, 1.0, stream)
    assert len(looks) == 5
    steps = [[line.split()[0] for line in look.splitlines()[1:]] for look in looks]
    assert steps == [["0", "2"], ["0", "2"], ["0", "2"], ["0", "2", "5"], ["0", "2", "5"]]
    assert [line.split()[0] for line in stream.getvalue().splitlines()] == [
        *("step", "0", "2", "5", "40", "complete")
    ]


def open_terminal(columns: int, lines: int) -> tuple[int, int]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    return ours, theirs


def read_all(descriptor: int, into: bytearray) -> None:
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:
            return
        if not part:
            return
        into += part


@contextmanager
def on_a_terminal(
    *words: str, cwd: Path, columns: int = 60, lines: int = 24, encoding: str = "utf-8"
) -> Iterator[tuple[subprocess.Popen[bytes], bytearray]]:
    """The command on a terminal of its own, with what it has written there so far."""
    ours, theirs = open_terminal(columns, lines)
    environment = os.environ | {"TERM": "xterm", "PYTHONIOENCODING": encoding}
    for name in ("COLUMNS", "LINES"):
        environment.pop(name, None)
    shown = bytearray()
    process = subprocess.Popen(
        [KPFLOW, *words], cwd=cwd, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    reader = threading.Thread(target=read_all, args=(ours, shown), daemon=True)
    reader.start()
    try:
        yield process, shown
        process.wait(60)
        reader.join(10)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def screens(shown: bytearray) -> list[str]:
    """The frames, each as it was drawn over the one before."""
    return [
        part.replace("\r\n", "\n") for part in re.split(r"(?:\x1b\[\d+F)?\x1b\[J", shown.decode())
    ][1:]


@pytest.mark.parametrize(("encoding", "curve"), [("utf-8", "█▁"), ("ascii", "#_")])
def test_a_terminal_is_drawn_in_place(encoding: str, curve: str, tmp_path: Path) -> None:
    folder = make_run(
        path=Path("run"),
        status="running",
        step=2,
        measurements=measured(0, 2),
        training=training(0, 2),
    )
    lock = FileLock(folder / LOCK)
    lock.acquire()
    with on_a_terminal("watch", "run", "every=0.1", cwd=tmp_path, encoding=encoding) as (_, shown):
        wait_for(lambda: len(screens(shown)) >= 3)
        lock.release()
    frames = screens(shown)
    assert frames[1].startswith("run  running\nstep 2 of 40")
    # each begins where the one before began: as many lines up as that had
    ups = [int(found) for found in re.findall(r"\x1b\[(\d+)F", shown.decode())]
    assert ups == [frame.count("\n") for frame in frames[:-1]]
    for frame in frames[:-1]:
        assert f"  {curve}\n" in frame
        assert max(map(len, frame.splitlines())) < 60
    assert frames[-1].startswith("run  interrupted\n")
    assert frames[-1].endswith(
        "kpflow: run: interrupted at step 2 of 40; the same command continues it\n"
    )


def test_ctrl_c_ends_the_watching_alone(tmp_path: Path) -> None:
    folder = make_run(path=Path("run"), status="running", step=2, measurements=measured(0, 2))
    with held(folder):
        before = files_of(folder)
        with on_a_terminal("watch", "run", "every=0.1", cwd=tmp_path) as (process, shown):
            wait_for(lambda: len(screens(shown)) >= 2)
            process.send_signal(signal.SIGINT)
        assert process.returncode == 130
        assert "Traceback" not in shown.decode()
        assert "interrupted" not in shown.decode()
        assert files_of(folder) == before


def test_the_run_that_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = make_run(status="running"), make_run("seed=1", status="running")
    watched: list[Path] = []
    monkeypatch.setattr(watching, "watch", lambda folder, *_: watched.append(folder))
    with held(second):
        command.execute([])
    command.execute([first.name[:5]])
    command.execute([str(second), "every=3"])
    assert watched == [second, first, second]
    with held(first), held(second), pytest.raises(UserError, match="2 runs are running; which"):
        command.execute([])
    for word, told in (
        ("ffff", "ffff: not there, or not yet; `kpflow runs` lists those there are"),
        ("runs/memorypro/gru/later", "later: not there, or not yet; `kpflow runs` lists"),
        ("runs", "runs: no run folder; `kpflow runs` lists"),
    ):
        with pytest.raises(UserError, match=told):
            command.execute([word])
    assert len(watched) == 3


def test_files_that_never_fit_do_not_hold_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run that was killed between two files and goes on."""
    folder = make_run(path=Path("run"), status="running", step=2, measurements=measured(0, 2))
    (folder / "measurements.csv").write_text((folder / "training.csv").read_text())
    monkeypatch.setattr(watching, "_LOOK_SECONDS", 0.0)
    stream = io.StringIO()
    lock = FileLock(folder / LOCK)
    lock.acquire()
    monkeypatch.setattr("kpflow_cli.watching.watch._Lines.show", lambda *_: lock.release())
    with pytest.raises(FailedRunError, match="interrupted at step 2"):
        watching.watch(folder, 0.01, stream)
