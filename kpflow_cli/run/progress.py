"""What a run shows while it works: a bar with loss, accuracy and time left, and a line of estimates
at each measured checkpoint.
"""

from __future__ import annotations

import math
import sys
from time import monotonic
from typing import Protocol

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.measures.rows import Measured
from kpflow_cli.progress_bar import ProgressBar
from kpflow_cli.run.time_left import TimeLeft

# the statistics of a line: heading, quantity, reduction
_COLUMNS = (
    ("trace", "trace", "full"),
    ("eff. rank", "effective_rank", "full"),
    ("alignment", "alignment", "full"),
    ("temporal:mean", "effective_rank", "temporal_mean"),
    ("temporal:trace", "effective_rank", "temporal_trace"),
    ("spatial:mean", "effective_rank", "spatial_mean"),
    ("spatial:trace", "effective_rank", "spatial_trace"),
)


class Reporter(Protocol):
    """What a run tells while it works."""

    def show_step(self, step: int, loss: float, /) -> None:
        """The step reached, with its loss."""

    def show_measuring(self) -> None:
        """A checkpoint is being measured."""

    def show_measured(self, step: int, measured: Measured, /) -> None:
        """What was measured at a step."""

    def close(self) -> None:
        """The end."""


class Progress:
    """How far the run is, on standard error, and a table of measurements on standard output."""

    def __init__(self, steps: int, first_step: int, time: TimeLeft) -> None:
        self._time, self._left, self._since = time, time.seconds(first_step), monotonic()
        self._bar = ProgressBar(
            total=steps,
            left=self._seconds_left,
            initial=first_step,
            unit="step",
            mininterval=0.2,
            maxinterval=0.2,
            dynamic_ncols=True,
            # of one step there is nothing to count
            disable=steps == 0,
        )
        self._heading_shown = False
        self._loss = ""

    def show_step(self, step: int, loss: float) -> None:
        """Move the bar to a step, with its loss."""
        self._left, self._since = self._time.seconds(step), monotonic()
        self._loss = "" if math.isnan(loss) else f"loss={loss:.4g}"
        self._bar.set_postfix_str(self._loss, refresh=False)
        self._bar.update(step - self._bar.n)

    def show_measuring(self) -> None:
        """Say that the bar stands because a checkpoint is measured."""
        self._bar.set_postfix_str(f"{self._loss}, measuring NTK_S".lstrip(", "))

    def show_measured(self, step: int, measured: Measured) -> None:
        """One line: the main statistics of NTK_S that were measured, each with its relative
        standard error; none if none was.
        """
        if not measured.measurements:
            return
        if not self._heading_shown:
            self._write(
                "NTK_S along training, +- relative standard error (temporal, spatial: effective "
                "rank of each reduction)"
            )
            self._write(f"{'step':>6}" + "".join(f"{heading:>20}" for heading, _, _ in _COLUMNS))
            self._heading_shown = True
        found = {
            (row.quantity, row.reduction): row.estimate
            for row in measured.measurements
            if row.operator == "ntk"
        }
        estimates = (found.get((quantity, reduction)) for _, quantity, reduction in _COLUMNS)
        self._write(f"{step:>6}" + "".join(f"{_shown(estimate):>20}" for estimate in estimates))

    def close(self) -> None:
        """Show the end, and what took how long."""
        self._bar.set_postfix_str(
            ", ".join(filter(None, (self._loss, self._time.spent()))), refresh=False
        )
        self._bar.close()

    def _seconds_left(self) -> float | None:
        if self._left is None:
            return None
        return max(0.0, self._left - (monotonic() - self._since))

    def _write(self, line: str) -> None:
        self._bar.write(line, file=sys.stdout)
        sys.stdout.flush()


def _shown(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    error = estimate.relative_error
    return (
        f"{estimate.value:.4g} (error unknown)"
        if math.isnan(error)
        else f"{estimate.value:.4g} +- {100 * error:.1f} %"
    )
