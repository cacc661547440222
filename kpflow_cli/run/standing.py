"""How a run stands: what its run.json says, held against whether a process works on it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from kpflow_cli.run.layout import MANIFEST, STATUS
from kpflow_cli.run.reading import in_use, read_status

# damaged: run.json is not there as it was written, or a table that it names is not
STANDINGS = ("complete", "running", "interrupted", "diverged", "failed", "damaged")
# of a run at work: its status and the checksum of it are written one after the other
_LOOKS, _LOOK_SECONDS = 5, 0.05


def read_standing(run_dir: Path) -> tuple[str, dict[str, Any]]:
    """One of ``STANDINGS``, and the content of run.json, empty where it is not there as it was
    written. Tables are not looked at.

    A run that nobody works on is not running, whatever was written last.
    """
    status = read_status(run_dir)
    if status.get("status") == "complete":
        return "complete", status
    if in_use(run_dir):
        for _ in range(0 if status else _LOOKS):
            time.sleep(_LOOK_SECONDS)
            status = read_status(run_dir)
            if status:
                break
        return "running", status
    if status.get("status") in (None, "running"):
        # it may have ended since it was looked at
        status = read_status(run_dir)
    word = status.get("status")
    if word == "running":
        return "interrupted", status
    if word in STANDINGS:
        return word, status
    died_young = not any((run_dir / name).exists() for name in (STATUS, MANIFEST))
    return "interrupted" if died_young else "damaged", status
