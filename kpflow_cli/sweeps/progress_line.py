"""One line for a whole sweep, read off the run folders: it knows of every worker, wherever it
works.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Self

from kpflow_cli.progress_bar import ProgressBar
from kpflow_cli.run.reading import read_status
from kpflow_cli.sweeps.points import SweepPoint, state, was_written_since

_FORMAT = "{desc}: {percentage:3.0f}% |{bar}| {elapsed}<{remaining}{postfix}"


class ProgressLine:
    """Done / running / failed / left, and the time left, on standard error, until the end of a
    ``with`` block.
    """

    def __init__(self, points: Sequence[SweepPoint], since: float, title: str) -> None:
        self._since = since
        self._open = {point.path for point in points}
        self._counts: Counter[str] = Counter()
        total = len(points)
        started, counts = self._look()
        self._bar = ProgressBar(
            total=total,
            initial=started,
            desc=title,
            bar_format=_FORMAT,
            dynamic_ncols=True,
            mininterval=0,
            miniters=0,
            postfix=counts,
        )
        # all folders are read for it
        self._interval = 0.5 if self._bar.on_terminal else 5.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # whatever breaks this off, what is told next begins a line
        try:
            self._ended.set()
            self._thread.join()
            self._show(refresh=False)
        finally:
            self._bar.close()

    def _watch(self) -> None:
        while not self._ended.wait(self._interval):
            self._show()

    def _look(self) -> tuple[float, str]:
        """Points' worth of work done, those under way in part; and all counts in words."""
        parts, running = 0.0, 0
        for path in list(self._open):
            found = state(path, self._since) if (path / "run.json").exists() else "open"
            if found != "open":
                self._open.remove(path)
                self._counts[found] += 1
            elif (
                was_written_since(path, self._since)
                and (status := read_status(path)).get("status") == "running"
            ):
                parts += status.get("step", 0) / (status.get("steps", 0) + 1)
                running += 1
        left = len(self._open) - running
        counts = (
            f"{self._counts['complete']} done, {running} running, {self._counts['failed']} "
            f"failed, {left} left"
        )
        return self._counts.total() + parts, counts

    def _show(self, *, refresh: bool = True) -> None:
        self._bar.n, counts = self._look()
        self._bar.set_postfix_str(counts, refresh=refresh)
