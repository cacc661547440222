"""How far work is: a bar on a terminal; in a log whole lines, few, the first in time to be of use,
the last at the end.
"""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from small_runs import SMALL

from kpflow_cli import progress_bar
from kpflow_cli.progress_bar import ProgressBar


class Clock:
    """Seconds that pass where a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Log(io.StringIO):
    """Standard error that is no terminal, and when each of its lines ended."""

    def __init__(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        monkeypatch.setattr(sys, "stderr", self)
        self._clock = clock
        self.times: list[float] = []

    def write(self, text: str) -> int:
        self.times += [self._clock.now] * text.count("\n")
        return super().write(text)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress_bar, "monotonic", made)
    monkeypatch.setattr("tqdm.std.time", made)
    return made


def test_a_log_has_a_line_a_minute_and_one_at_the_end(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(clock, monkeypatch)
    bar = ProgressBar(total=2400, desc="made", unit="step")
    for step in range(2400):
        clock.now += 0.125
        bar.set_postfix_str(f"loss={step}", refresh=step % 7 == 0)
        bar.update()
        # what else is told clears a bar on a terminal and shows it again
        ProgressBar.write(f"step {step}", file=io.StringIO())
    bar.close()
    bar.close()
    assert "\r" not in log.getvalue()
    assert "\x1b" not in log.getvalue()
    lines = log.getvalue().splitlines()
    # 300 seconds: after 10, then every 60, and the end
    assert [time - 1000 for time in log.times] == pytest.approx([10, 70, 130, 190, 250, 300], abs=1)
    assert lines[0].startswith("made: 3% ")
    assert "04:50" in lines[0]
    assert lines[-1].startswith("made: 100% 2400/2400 [05:00<00:00, ")
    assert lines[-1].endswith("loss=2399]")


def test_a_short_work_has_a_line_at_the_end(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(clock, monkeypatch)
    for _ in ProgressBar(range(4), unit="run"):
        clock.now += 1
    assert log.getvalue() == "100% 4/4 [00:04<00:00,  1.00run/s]\n"


@pytest.mark.parametrize(("seconds", "lines"), [(1, 0), (30, 3)])
def test_a_bar_that_does_not_stay_leaves_nothing_of_a_short_work(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, seconds: int, lines: int
) -> None:
    log = Log(clock, monkeypatch)
    for _ in ProgressBar(range(4), unit="run", leave=False):
        clock.now += seconds
    assert log.getvalue().count("\n") == lines


def test_what_tells_of_each_piece_anyway_has_no_lines(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(clock, monkeypatch)
    for _ in ProgressBar(range(4), in_logs=False):
        clock.now += 100
    assert not log.getvalue()


def test_a_bar_that_waits_shows_nothing_before(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(clock, monkeypatch)
    for _ in ProgressBar(range(4), unit="run", delay=5.0):
        clock.now += 1
    assert not log.getvalue()


def test_what_breaks_work_off_leaves_how_far_it_came(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(clock, monkeypatch)

    def work() -> None:
        with ProgressBar(total=10) as bar:
            bar.update(3)
            clock.now += 5
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert log.getvalue().startswith("30% 3/10 ")
    assert log.getvalue().endswith("\n")


def test_the_time_left_may_be_known_better(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(clock, monkeypatch)
    for left, told in ((None, "<?,"), (3725.0, "<1:02:05,")):
        bar = ProgressBar(total=10, left=lambda left=left: left)
        clock.now += 2
        bar.update(5)
        bar.close()
        assert told in log.getvalue().splitlines()[-1]


def test_the_log_of_a_run(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        subprocess.run(
            [sys.executable, "-m", "kpflow_cli", "run", *SMALL, "run_dir=out"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=log,
            check=True,
        )
    written = (tmp_path / "log").read_bytes()
    assert b"\r" not in written
    last = written.decode().splitlines()[-1]
    assert re.fullmatch(
        r"100% 40/40 \[\S+<00:00, .*loss=\S+, training \d+ (s|min), measuring \d+ (s|min)\]", last
    )


def test_a_terminal_has_a_bar() -> None:
    program = (
        "from kpflow_cli.progress_bar import ProgressBar\n"
        "for _ in ProgressBar(range(3), unit='run'):\n    pass\n"
    )
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    subprocess.run([sys.executable, "-c", program], stderr=theirs, check=True)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert shown.startswith("\r  0%|")
    assert re.search(r"\r100%\|\S+\| 3/3 \[00:00<00:00, .*run/s\]\r\n$", shown)
