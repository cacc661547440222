"""Where a run is logged, beside what it writes itself."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from kpflow_cli.config.plugins import construct
from kpflow_cli.config.validation import identity
from kpflow_cli.run.identity import flatten_keys, identity_hash
from kpflow_cli.run.layout import TRACKER
from kpflow_cli.trackers.base import TrackedRun, Tracker
from kpflow_cli.trackers.tracking import Tracking


def track(config: DictConfig, run_dir: Path) -> Tracking:
    """What logs the run of a configuration (checked) in this folder, not started. Raises UserError
    for a tracker that cannot be had.
    """
    tracker: Tracker = construct("tracker", config.tracker)
    named = identity(config)
    hyperparameters = {
        key: value if isinstance(value, bool | int | float | str) else str(value)
        for key, value in flatten_keys(named).items()
    }
    return Tracking(tracker, TrackedRun(identity_hash(named), run_dir / TRACKER, hyperparameters))
