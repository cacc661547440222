"""What a run has written down so far, and its folder kept true to it: tables, checkpoints, status,
plots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from kpflow_cli.errors import FailedRunError, UnwrittenFileError, describe_machine_error
from kpflow_cli.run.checkpoints import Checkpoint, Rows
from kpflow_cli.run.folder import Drawing, RunFolder
from kpflow_cli.run.layout import REPORT, SUMMARY
from kpflow_cli.run.status import Stopwatch, describe_status
from kpflow_cli.run.summary import lay_out, summarize
from kpflow_cli.run.tables import plain_rows
from kpflow_cli.run.time_left import TimeLeft
from kpflow_cli.trackers.tracking import Tracking

# each draws from the CSV files of a run; None where they do not hold what it shows
Plots = Mapping[str, Callable[[dict[str, pd.DataFrame]], Drawing | None]]
# makes the page of a run as HTML, from what its folder holds
Page = Callable[[Path], str]


class Recording:
    """The rows of a run, from the last sound checkpoint in its folder on.

    Attributes:
        last: that checkpoint, None where there is none.
        step: that the run is at.
        recorded_step: the last whose rows are among the tables.
        was_complete: whether there was nothing left to do.
    """

    def __init__(
        self,
        folder: RunFolder,
        identity: dict[str, Any],
        last_step: int,
        tracking: Tracking | None = None,
    ) -> None:
        self._folder, self._identity, self._last_step = folder, identity, last_step
        self._tracking = tracking
        self._error: str | None = None
        self._page: Page | None = None
        self._is_page_wanted = False
        self.step = 0
        self.recorded_step = -1
        self._tables: dict[str, Rows] = {}
        lost: list[str] = []
        self.last = folder.latest_checkpoint(lost.append)
        for line in lost:
            tell(line)
        if self.last is not None:
            self.step, self._tables = self.last.step, self.last.tables
            self.recorded_step = self.last.step if self.last.recorded else self.last.step - 1
        status = folder.read_status()
        self._damaged = folder.damaged_tables(status)
        # whoever has deleted the checkpoints of a complete run wants no others
        at_end = self.recorded_step == last_step or not (self._damaged or lost)
        finished = status.get("status") == "complete" and status.get("steps") == last_step
        self.was_complete = finished and at_end
        self._status = status
        self._drawn: set[str] = set(status.get("plots", ()) if self.was_complete else ())
        self._earlier: dict[str, Any] = status if self.last is not None else {}
        self._stopwatch = Stopwatch(self._earlier.get("seconds", {}))

    def keep_page(self, page: Page, *, is_wanted: bool) -> None:
        """Write the run's page anew at each measured step and at the end: where it is wanted, or
        somebody has made one.
        """
        self._page, self._is_page_wanted = page, is_wanted

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Keep run.json, and the tracker, true to how the block goes."""
        self.write_status("running")
        try:
            with self._tracking.begun_with(self._tables) if self._tracking else nullcontext():
                yield
        except BaseException as error:
            outcome = _outcome(error)
            if outcome != "interrupted":
                self._error = f"{type(error).__name__}: {error}"
            with suppress(FailedRunError):
                if outcome == "diverged":
                    tell(self._summarize(outcome, self._folder.read_tables()))
                self.write_status(outcome)
                if outcome != "interrupted":
                    self._write_page()
            raise
        self.write_status("complete")
        self._write_page()

    def time_left(self, schedule: Sequence[int]) -> TimeLeft:
        """What tells how long the rest will take of a run that is measured at these steps."""
        return TimeLeft(
            schedule,
            steps=self._last_step,
            first_step=self.step,
            recorded_step=self.recorded_step,
            seconds=self._stopwatch.seconds,
        )

    def switch(self, activity: str) -> None:
        """Go on with another activity, whose seconds are counted apart."""
        self._stopwatch.switch(activity)

    def add(self, step: int, found: Mapping[str, Rows]) -> None:
        """The rows of a step, by their table."""
        for table, new in found.items():
            self._tables.setdefault(table, []).extend(plain_rows(table, new))
        if self._tracking:
            self._tracking.log(found)
        self.step = self.recorded_step = step

    def checkpoint(
        self, model: dict[str, Any], optimizer: dict[str, Any], buffers: dict[str, Tensor]
    ) -> Checkpoint:
        """All there is at this step, recorded or not."""
        recorded = self.recorded_step == self.step
        return Checkpoint(self.step, model, optimizer, self._tables, buffers, recorded=recorded)

    def save(self, checkpoint: Checkpoint, *, measured: bool) -> None:
        """Write a checkpoint, of a measured step the tables too, and the status."""
        self._folder.save_checkpoint(checkpoint, measured=measured)
        if measured:
            self.write_tables()
        self.write_status("running")
        if measured:
            self._write_page()
            self._stopwatch.switch("training")

    def save_interrupted(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint that another session goes on from."""
        self._folder.save_checkpoint(checkpoint, measured=False)
        self.write_status("interrupted")

    def finish(self, plots: Plots) -> None:
        """Write CSV files, plots and summary: all of them, or, where the run was complete before,
        those that are missing or damaged. The summary is told.
        """
        self._stopwatch.switch("plotting")
        if not self.was_complete:
            self._folder.remove_intermediate_checkpoint()
            self.write_tables()
        elif self._damaged:
            files = ", ".join(f"{name}.csv" for name in self._damaged)
            tell(f"{files}: not there as written; written again from the last checkpoint")
            self.write_tables(self._damaged)
        summary = self._folder.read_intact(SUMMARY) if self.was_complete else None
        changed = self.draw(plots)
        if not summary:
            summary = self._summarize("complete", self._folder.read_tables())
            changed.append(SUMMARY)
        if self.was_complete and self._drawn != set(self._status.get("plots", ())):
            self._folder.write_status({**self._status, "plots": sorted(self._drawn)})
        elif self.was_complete and (self._damaged or changed):
            self._folder.write_manifest()
        if self.was_complete and self._is_page_wanted and not self._folder.has(REPORT):
            self._write_page()
        tell(summary)

    def draw(self, plots: Plots) -> list[str]:
        """Draw plots from the CSV files: all of them, or, where the run was complete before, those
        that are missing or damaged; the names of those drawn.
        """
        wanted = [
            name for name in plots if not (self.was_complete and self._folder.has_drawing(name))
        ]
        written = self._folder.read_tables() if wanted else {}
        return [name for name in wanted if self._draw(name, partial(plots[name], written))]

    def _summarize(self, status: str, tables: Mapping[str, pd.DataFrame]) -> str:
        """The run in words, written down."""
        outcome = {"status": status, "error": self._error, "config": self._identity}
        text = lay_out(summarize(tables, outcome))
        self._folder.write(SUMMARY, f"{text}\n".encode())
        return text

    def _draw(self, name: str, draw: Callable[[], Drawing | None]) -> bool:
        """Draw a plot and write it down; whether that was possible."""
        try:
            drawing = draw()
            if drawing is not None:
                self._folder.write_drawing(name, drawing)
        except FailedRunError:
            raise
        except Exception as error:
            # the numbers are there, and the same command draws what is missing
            tell(f"plots/{name}: not drawn ({type(error).__name__}: {error})")
            self._drawn.discard(name)
            return False
        self._drawn.add(name)
        return drawing is not None

    def _write_page(self) -> None:
        if self._page is None or not (self._is_page_wanted or self._folder.has(REPORT)):
            return
        try:
            html = self._page(self._folder.path)
        except Exception as error:
            # `kpflow report` makes it from the same files
            tell(f"{REPORT}: not written ({type(error).__name__}: {error})")
            return
        self._folder.write(REPORT, html.encode())
        self._folder.write_manifest()

    def _written_tables(self) -> dict[str, Rows]:
        return {name: rows for name, rows in self._tables.items() if rows}

    def write_tables(self, names: Iterable[str] | None = None) -> None:
        """Write the CSV files of these names, of all there are where none are named."""
        there = self._written_tables()
        chosen = there if names is None else {name: there[name] for name in names if name in there}
        self._folder.write_tables(chosen)

    def write_status(self, status: str) -> None:
        """Write run.json."""
        self._folder.write_status(
            describe_status(
                status,
                step=self.step,
                steps=self._last_step,
                identity=self._identity,
                error=self._error,
                drawn=sorted(self._drawn),
                last_checkpoint=(
                    self._folder.seal_of_step(self._last_step) if status == "complete" else None
                ),
                earlier=self._earlier,
                seconds=self._stopwatch.seconds(),
                tables=sorted(self._written_tables()) or self._earlier.get("tables", []),
            )
        )


def _outcome(error: BaseException) -> str:
    """What run.json says of a run that ended so: ``interrupted`` where the same command can go
    on.
    """
    resumable = isinstance(error, UnwrittenFileError) or describe_machine_error(error)
    if resumable or not isinstance(error, Exception):
        return "interrupted"
    return "diverged" if isinstance(error, FailedRunError) else "failed"


def tell(line: str) -> None:
    """A line on standard output, at once."""
    print(line, flush=True)
