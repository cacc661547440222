"""One point of a sweep: a run with its folder, and what its folder says of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig

from kpflow_cli.config.validation import read_only
from kpflow_cli.run.reading import is_complete, read_status

State = Literal["complete", "failed", "open"]


@dataclass(frozen=True)
class SweepPoint:
    """Plain values, so that thousands of points are quick to send to another process.

    Attributes:
        label: what tells it apart from the other points, for people.
        values: its configuration, checked.
        path: of its run folder.
    """

    label: str
    values: dict[str, Any]
    path: Path

    @property
    def config(self) -> DictConfig:
        """Its configuration, read-only."""
        return read_only(self.values)


def state(path: Path, since: float) -> State:
    """Of the run in a folder that is called by its hash: ``complete``; ``failed`` after the time
    ``since``; else ``open``, there is work to do or under way.
    """
    if is_complete(path, path.name):
        return "complete"
    if not was_written_since(path, since):
        return "open"
    return "failed" if read_status(path).get("status") in ("failed", "diverged") else "open"


def was_written_since(path: Path, since: float) -> bool:
    """Whether the status file of a run folder was written at the time ``since`` or later."""
    try:
        return (path / "run.json").stat().st_mtime >= since
    except OSError:
        return False
