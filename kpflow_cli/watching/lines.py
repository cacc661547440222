"""What is known of a run as lines one below the other: one for each measured step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kpflow_cli.watching.frame import show
from kpflow_cli.watching.snapshot import Snapshot

_ESTIMATES = {
    "effective rank": ("effective_rank", "full"),
    "temporal:trace": ("effective_rank", "temporal_trace"),
    "spatial:trace": ("effective_rank", "spatial_trace"),
    "alignment": ("alignment", "full"),
}
_TRAINING = {"loss": "loss", "evaluated": "evaluation_loss", "accuracy": "accuracy"}
_WIDTH = 17


def heading() -> str:
    """Over the lines; ``trained`` is the last step of training.csv up to the measured one, and
    what follows is of that step.
    """
    return (
        f"{'step':>8}"
        + "".join(f"{name:>{_WIDTH}}" for name in _ESTIMATES)
        + f"{'trained':>9}"
        + "".join(f"{name:>11}" for name in _TRAINING)
    )


def lines_after(snapshot: Snapshot, last: int) -> Iterator[tuple[int, str]]:
    """Steps after ``last``, each with its line: those that were measured; of a run without
    measurements of NTK_S those of training.csv.
    """
    trained = sorted(snapshot.training.get("loss", {}))
    for step in snapshot.steps_measured or trained:
        if step > last:
            found = (snapshot.measured.get(key, {}).get(step) for key in _ESTIMATES.values())
            row = max((each for each in trained if each <= step), default=None)
            cells = [f"{step:>8}", *(f"{_cell(each):>{_WIDTH}}" for each in found)]
            cells.append(f"{'-' if row is None else row:>9}")
            for name in _TRAINING.values():
                value = snapshot.training.get(name, {}).get(-1 if row is None else row)
                cells.append(f"{'-' if value is None else f'{value:.4g}':>11}")
            yield step, "".join(cells)


def _cell(estimate: Any) -> str:
    return "-" if estimate is None else show(estimate)
