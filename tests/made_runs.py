"""Folders of runs in any state, made without a run: what a run would have written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from small_runs import small_config

from kpflow_cli.config.validation import identity
from kpflow_cli.run.folder import open_run_folder
from kpflow_cli.run.identity import identity_hash
from kpflow_cli.run.layout import STATUS
from kpflow_cli.run.status import describe_status

Rows = list[dict[str, Any]]


def make_run(
    *overrides: str,
    status: str = "complete",
    step: int = 40,
    path: Path | None = None,
    training: Rows | None = None,
    measurements: Rows | None = None,
) -> Path:
    """A run folder of 40 steps, by default where ``kpflow run`` would put it."""
    named = identity(small_config(*overrides))
    model = next((word[6:] for word in overrides if word.startswith("model=")), "gru")
    folder = path or Path("runs/memorypro") / model / identity_hash(named)
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "training": [{"step": 0, "loss": 1.0}] if training is None else training,
        "measurements": measurements or [],
    }
    written = {name: rows for name, rows in tables.items() if rows}
    with open_run_folder(folder, named) as opened:
        opened.write_tables(written)
        opened.write("checkpoints/step_0.pt", b"0" * 1000)
        opened.write("plots/training.png", b"1" * 500)
        opened.write_status(
            describe_status(
                status,
                step=step,
                steps=40,
                identity=named,
                error="DivergedError: loss is nan" if status == "diverged" else None,
                drawn=[],
                last_checkpoint=None,
                earlier={},
                seconds={"training": 3.0},
                tables=sorted(written),
            )
        )
    return folder


def measured(*steps: int, operator: str = "ntk") -> Rows:
    """Rows of measurements.csv: an effective rank of 10 at step 0, one more each step."""
    return [
        {
            "step": step,
            "operator": operator,
            "quantity": "effective_rank",
            "reduction": "full",
            "value": 10.0 + step,
            "stderr": 0.5,
            "probes": 20,
        }
        for step in steps
    ]


def aged(folder: Path, seconds: float) -> Path:
    """The folder, with its status written as long ago."""
    written = (folder / STATUS).stat().st_mtime - seconds
    os.utime(folder / STATUS, (written, written))
    return folder
