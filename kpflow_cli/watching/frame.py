"""All that is known of a run, on a screen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kpflow_cli.durations import in_words
from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.watching.curves import draw_curve
from kpflow_cli.watching.snapshot import Snapshot
from kpflow_cli.watching.time_left import seconds_left

# as `kpflow run` calls them
QUANTITIES = {
    ("effective_rank", "full"): "effective rank",
    ("effective_rank", "temporal_mean"): "  temporal:mean",
    ("effective_rank", "temporal_trace"): "  temporal:trace",
    ("effective_rank", "spatial_mean"): "  spatial:mean",
    ("effective_rank", "spatial_trace"): "  spatial:trace",
    ("alignment", "full"): "alignment",
}
_LONGEST_BAR = 30
# titles, empty lines, and what comes below a frame
_AROUND = 6


@dataclass(frozen=True)
class Screen:
    """Where a frame goes.

    Attributes:
        width: columns.
        height: lines.
        blocks: whether it shows block characters.
    """

    width: int
    height: int
    blocks: bool


@dataclass(frozen=True)
class _Row:
    """A quantity with its first and last value and all of them."""

    name: str
    first: str
    last: str
    values: Sequence[float]


def lay_out(snapshot: Snapshot, now: float, screen: Screen) -> list[str]:
    """Lines of a frame that fits a screen: how far the run is, then a line for each quantity, with
    its value and its curve so far.

    Args:
        now: seconds since the epoch.
    """
    head = _describe(snapshot, now, screen)
    blocks = [
        (_title("evaluated", snapshot.training.get("loss", {})), _training_rows(snapshot)),
        (_title("measured", snapshot.steps_measured), _measured_rows(snapshot)),
    ]
    widths = [
        max((len(getattr(row, column)) for _, rows in blocks for row in rows), default=0)
        for column in ("name", "first", "last")
    ]
    # a task may have dozens of accuracies, of which the first tell most
    room = screen.height - len(head) - len(blocks[1][1]) - _AROUND
    lines = list(head)
    for title, rows in blocks:
        if rows:
            shown = rows if rows is blocks[1][1] else rows[: max(room, 1)]
            lines += ["", title, *(_line(row, widths, screen) for row in shown)]
    return [line[: screen.width - 1].rstrip() for line in lines[: screen.height - 2]]


def describe_end(snapshot: Snapshot) -> str:
    """How a run stands that nobody works on any more, in a line."""
    step, steps = (snapshot.status.get(name, "-") for name in ("step", "steps"))
    match snapshot.standing:
        case "complete":
            return f"complete at step {step} of {steps}, in {_duration(snapshot)}"
        case "interrupted" if not snapshot.status:
            return "interrupted before anything was saved; the same command begins it again"
        case "interrupted":
            return f"interrupted at step {step} of {steps}; the same command continues it"
        case "diverged" | "failed" as word:
            error = str(snapshot.status.get("error", "nobody knows why"))
            reason = error.removeprefix("DivergedError: ")
            return f"{word} at step {step} of {steps}: {reason}"
    return "damaged: run.json is not there as it was written; the command that made it mends it"


def _describe(snapshot: Snapshot, now: float, screen: Screen) -> list[str]:
    if snapshot.standing != "running":
        return [f"{snapshot.folder}  {snapshot.standing}"]
    status = snapshot.status
    if not status:
        return [f"{snapshot.folder}  running", "starting"]
    since = max(0.0, now - snapshot.written)
    seconds = status.get("seconds", {})
    took = [
        f"{in_words(seconds[name])} {name}" for name in ("training", "measuring") if name in seconds
    ]
    return [
        f"{snapshot.folder}  running",
        _progress(status, since, screen),
        "; ".join([f"saved {in_words(since)} ago", ", ".join(took)]).rstrip("; "),
    ]


def _progress(status: Mapping[str, Any], since: float, screen: Screen) -> str:
    """``step 347 of 1500  [#####------] 23 %  about 4 min left``."""
    step, steps = int(status.get("step", 0)), int(status.get("steps", 0))
    left = seconds_left(status, since)
    rest = "" if left is None else f"  about {in_words(left)} left"
    if step == steps:
        rest = "  plots to draw"
    told = f"step {step} of {steps}"
    share = step / steps if steps else 1.0
    bar = min(_LONGEST_BAR, screen.width - len(told) - len(rest) - len("  [] 100 % "))
    filled = round(share * bar)
    drawn = f"  [{'#' * filled}{'-' * (bar - filled)}]" if bar > 3 else ""
    return f"{told}{drawn} {100 * share:.0f} %{rest}"


def _duration(snapshot: Snapshot) -> str:
    return in_words(float(snapshot.status.get("duration", 0.0)))


def _training_rows(snapshot: Snapshot) -> list[_Row]:
    rows = []
    for name, series in snapshot.training.items():
        values = list(series.values())
        if values:
            first, last = f"{values[0]:.3g}", f"{values[-1]:.4g}"
            rows.append(_Row(name.replace("_", " "), first, last, values))
    return rows


def _measured_rows(snapshot: Snapshot) -> list[_Row]:
    rows = []
    for key, name in QUANTITIES.items():
        estimates = [each for _, each in sorted(snapshot.measured.get(key, {}).items())]
        if estimates:
            first = f"{estimates[0].value:.3g}"
            values = [each.value for each in estimates]
            rows.append(_Row(name, first, show(estimates[-1]), values))
    return rows


def show(estimate: Estimate) -> str:
    """``348.1 +- 4.2``, without what the error rests on."""
    if estimate.standard_error == 0 or math.isnan(estimate.standard_error):
        return f"{estimate.value:.4g}"
    return str(estimate).partition(" (")[0]


def _title(word: str, steps: Iterable[int]) -> str:
    """``measured at 5 steps: first 0, last 40``."""
    listed = list(steps)
    if len(listed) < 2:
        return f"{word} at step {', '.join(map(str, listed))}"
    return f"{word} at {len(listed)} steps: first {listed[0]}, last {listed[-1]}"


def _line(row: _Row, widths: Sequence[int], screen: Screen) -> str:
    cells = zip((row.name, row.first, row.last), widths, strict=True)
    head = "".join(f"{cell:<{width}}  " for cell, width in cells)
    room = screen.width - 1 - len(head)
    return head + draw_curve(row.values, max(room, 1), blocks=screen.blocks)
