"""A run followed until nobody works on it any more."""

from __future__ import annotations

import os
import time
from pathlib import Path
from shutil import get_terminal_size
from typing import Protocol, TextIO

from kpflow_cli.errors import FailedRunError
from kpflow_cli.watching.curves import can_show_blocks
from kpflow_cli.watching.frame import Screen, describe_end, lay_out
from kpflow_cli.watching.lines import heading, lines_after
from kpflow_cli.watching.snapshot import Snapshot, read_loosely, read_snapshot

# of files that never come to fit each other, of a run that was killed between two of them
_MOST_LOOKS = 20
_LOOK_SECONDS = 0.1
_UP, _CLEAR_BELOW, _CLEAR_ALL = "\x1b[{}F", "\x1b[J", "\x1b[2J\x1b[H"


class View(Protocol):
    """Where a run is shown."""

    def show(self, snapshot: Snapshot, /) -> None:
        """What is known of it now."""


def watch(folder: Path, seconds: float, stream: TextIO) -> None:
    """Show a run as it goes, until it has ended: on a terminal in place, else a line for each step
    that is measured. Nothing is written into its folder.

    Args:
        seconds: between two looks.

    Raises FailedRunError for a run that ended in another way than complete.
    """
    in_place = stream.isatty() and os.environ.get("TERM", "") != "dumb"
    view: View = _InPlace(stream) if in_place else _Lines(stream)
    last = _look(folder, None)
    view.show(last)
    while last.standing == "running":
        time.sleep(seconds)
        last = _look(folder, last)
        view.show(last)
    told = describe_end(last)
    if last.standing != "complete":
        raise FailedRunError(f"{folder}: {told}")
    print(told, file=stream, flush=True)


def _look(folder: Path, last: Snapshot | None) -> Snapshot:
    """What a folder holds; where its files do not come to fit each other, what it held before."""
    for _ in range(_MOST_LOOKS):
        found = read_snapshot(folder, last)
        if found is not None:
            return found
        time.sleep(_LOOK_SECONDS)
    return last or read_loosely(folder)


class _InPlace:
    """A terminal: each frame is drawn over the one before."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._blocks = can_show_blocks(stream.encoding)
        self._size, self._lines = get_terminal_size(), 0

    def show(self, snapshot: Snapshot) -> None:
        size = get_terminal_size()
        lines = lay_out(snapshot, time.time(), Screen(size.columns, size.lines, self._blocks))
        # of another size the terminal has broken the lines in its own way
        start = _UP.format(self._lines) if size == self._size and self._lines else ""
        clear = _CLEAR_BELOW if size == self._size else _CLEAR_ALL
        self._stream.write(start + clear + "".join(f"{line}\n" for line in lines))
        self._stream.flush()
        self._size, self._lines = size, len(lines)


class _Lines:
    """A file or another program: what is new, in lines that stay."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = -1

    def show(self, snapshot: Snapshot) -> None:
        for step, line in lines_after(snapshot, self._last):
            if self._last < 0:
                print(heading(), file=self._stream)
            print(line, file=self._stream, flush=True)
            self._last = step
