"""A run's tables on their way to a tracker, which may fail without harm to the run."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from kpflow_cli.trackers.base import TrackedRun, Tracker

Tables = Mapping[str, Iterable[Mapping[str, Any]]]


class Tracking:
    """Logs the rows of training.csv and measurements.csv.

    Those tables are the truth. A run that continues logs again all that its tables hold, so that
    the tracker shows no step twice, none that the run has not kept, and misses none, whatever it
    had been shown before.
    """

    def __init__(self, tracker: Tracker, run: TrackedRun) -> None:
        self._tracker, self._run, self._works = tracker, run, False

    @contextmanager
    def begun_with(self, tables: Tables) -> Iterator[None]:
        """A session of the run, which begins with what its tables hold already."""
        self._works = True
        self._attempt(partial(self._tracker.start, self._run))
        self.log(tables)
        try:
            yield
        finally:
            self._attempt(self._tracker.close)
            self._works = False

    def log(self, tables: Tables) -> None:
        """New rows of the tables."""
        for step, values in values_by_step(tables).items():
            self._attempt(partial(self._tracker.log, step, values))

    def _attempt(self, act: Callable[[], None]) -> None:
        """Do it; what goes wrong is told once and ends the tracking."""
        if not self._works:
            return
        try:
            act()
        except Exception as error:
            self._works = False
            with suppress(Exception):
                self._tracker.close()
            reason = " ".join(str(error).split())
            # a sweep's worker has no standard output
            print(
                f"tracker: {type(error).__name__}: {reason}; the run goes on without it, and its "
                "tables hold every number",
                file=sys.stderr,
                flush=True,
            )


def values_by_step(tables: Tables) -> dict[int, dict[str, float]]:
    """The finite numbers of training.csv and measurements.csv, by step, ascending, and name.

    ``training/<column>``; ``<operator>/<quantity>/<reduction>``, beside it with ``/stderr`` its
    standard error where that is known.
    """
    found: dict[int, dict[str, float]] = {}
    for row in tables.get("training", ()):
        named = {f"training/{column}": value for column, value in row.items() if column != "step"}
        found.setdefault(row["step"], {}).update(named)
    for row in tables.get("measurements", ()):
        name = f"{row['operator']}/{row['quantity']}/{row['reduction']}"
        found.setdefault(row["step"], {}).update(
            {name: row["value"], f"{name}/stderr": row["stderr"]}
        )
    return {step: _finite(found[step]) for step in sorted(found)}


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
