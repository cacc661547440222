"""The content of run.json: how far a run is, what it is, what made it, and what it took."""

from __future__ import annotations

import time
from typing import Any

from kpflow_cli.run import provenance
from kpflow_cli.run.identity import identity_hash


class Stopwatch:
    """Seconds spent on each activity; exactly one is always under way."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = dict(seconds)
        self._activity, self._since = "starting", time.perf_counter()

    def switch(self, activity: str) -> None:
        """Go on with another activity."""
        self.seconds()
        self._activity = activity

    def seconds(self) -> dict[str, float]:
        """Seconds of each activity until now."""
        now = time.perf_counter()
        self._seconds[self._activity] = self._seconds.get(self._activity, 0.0) + now - self._since
        self._since = now
        return {activity: round(seconds, 3) for activity, seconds in self._seconds.items()}


def describe_status(
    status: str,
    *,
    step: int,
    steps: int,
    identity: dict[str, Any],
    error: str | None,
    drawn: list[str],
    last_checkpoint: str | None,
    earlier: dict[str, Any],
    seconds: dict[str, float],
    tables: list[str],
) -> dict[str, Any]:
    """The content of run.json.

    Args:
        drawn: names of the plots that there was no failure to draw.
        last_checkpoint: checksum in the checkpoint of the last step.
        earlier: the content that an earlier session left, empty where there was none.
        tables: stems of the CSV files.
    """
    peaks = (provenance.peak_memory_mib(), earlier.get("peak_memory_mib"))
    return {
        "status": status,
        "step": step,
        "steps": steps,
        "seed": identity["seed"],
        "hash": identity_hash(identity),
        "config": identity,
        **provenance.made_by(),
        **({} if error is None else {"error": error}),
        "continues": _sessions(earlier),
        "duration": round(sum(seconds.values()), 3),
        "seconds": seconds,
        "tables": tables,
        "plots": drawn,
        **({} if last_checkpoint is None else {"last_checkpoint": last_checkpoint}),
        "peak_memory_mib": max((peak for peak in peaks if peak is not None), default=None),
    }


def _sessions(status: dict[str, Any]) -> list[dict[str, Any]]:
    """What made the run so far, session by session: the step that each reached, and what it ran on;
    empty for an empty status.
    """
    if not status:
        return []
    return [
        *status.get("continues", []),
        {key: status.get(key) for key in ("step", *provenance.made_by())},
    ]
