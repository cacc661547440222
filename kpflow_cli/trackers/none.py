"""No tracker."""

from __future__ import annotations

from collections.abc import Mapping

from kpflow_cli.trackers.base import TrackedRun


class NoTracker:
    """Logs nothing."""

    def start(self, run: TrackedRun) -> None:
        """Nothing to begin."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Nothing to log."""

    def close(self) -> None:
        """Nothing to end."""
