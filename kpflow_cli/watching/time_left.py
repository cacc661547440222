"""How long a run still takes, by what it has taken so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kpflow_cli.run.schedule import geometric


def seconds_left(status: Mapping[str, Any], since: float) -> float | None:
    """Seconds that training and measuring still take, each at the rate that it has had; None where
    nothing tells yet, and for runs that are not those of ``kpflow run``.

    Args:
        status: content of run.json.
        since: seconds since it was written.
    """
    step, steps = status.get("step", 0), status.get("steps", 0)
    config = status.get("config", {})
    if "training" not in config or not 0 < step <= steps:
        return None
    schedule = geometric(config["training"]["steps"], config["analysis"]["checkpoints"])
    measured = sum(each <= step for each in schedule)
    seconds = status.get("seconds", {})
    training = seconds.get("training", 0.0) / step * (steps - step)
    measuring = seconds.get("measuring", 0.0) / measured * (len(schedule) - measured)
    return float(max(0.0, training + measuring - since))
