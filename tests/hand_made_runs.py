"""Folders of runs that nobody made: files as a run writes them, with their checksums."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from small_runs import small_config

from kpflow_cli.config.validation import identity
from kpflow_cli.run.identity import identity_hash
from kpflow_cli.run.manifest import checksum, manifest_bytes
from kpflow_cli.run.ownership import written_configuration
from kpflow_cli.run.provenance import made_by

# gain, units and seed of a small sweep
POINTS = list(itertools.product((0.5, 1.0, 10.0), (7, 20), (0, 1)))


def configured(gain: float, units: int, seed: int) -> dict[str, Any]:
    """The configuration of a point."""
    found = copy.deepcopy(identity(small_config()))
    found["seed"] = seed
    found["model"] |= {"gain": gain, "units": units}
    return found


def tables_of(place: int) -> dict[str, pd.DataFrame]:
    """Numbers of a run's own, the last of them those of step 20; loss is also known later."""
    values = np.random.default_rng(place).random(6)
    measured = [
        (step, "ntk", quantity, "full", value * (step + 1), 0.25 * value, 8)
        for value, (step, quantity) in zip(
            values, itertools.product((0, 20), ("effective_rank", "alignment")), strict=False
        )
    ]
    measured.append((20, "k", "trace", "full", 1.5, 0.0, 0))
    columns = ["step", "operator", "quantity", "reduction", "value", "stderr", "probes"]
    training = pd.DataFrame(
        {"step": [0, 20, 21], "loss": [3.0, 2.0, values[4]], "accuracy": [0.0, values[5], None]}
    )
    return {"measurements": pd.DataFrame(measured, columns=columns), "training": training}


def put_run(
    runs_dir: Path,
    configuration: dict[str, Any],
    tables: Mapping[str, pd.DataFrame],
    *,
    step: int = 0,
    **status: Any,
) -> Path:
    """The folder of a run with this configuration and these tables, complete by default."""
    folder = runs_dir / identity_hash(configuration)
    folder.mkdir(parents=True)
    content = {
        "status": "complete",
        "step": step,
        "steps": step,
        "seed": configuration["seed"],
        "hash": identity_hash(configuration),
        "config": configuration,
        **made_by(),
        "continues": [],
        "duration": 1.0,
        "seconds": {"training": 1.0},
        "tables": sorted(tables),
        "peak_memory_mib": None,
        "manifest": "SHA256SUMS",
        **status,
    }
    files = {
        "config.yaml": written_configuration(configuration),
        "run.json": json.dumps(content).encode(),
        **{f"{name}.csv": table.to_csv(index=False).encode() for name, table in tables.items()},
    }
    for name, each in files.items():
        (folder / name).write_bytes(each)
    sums = {name: checksum(each) for name, each in files.items()}
    (folder / "SHA256SUMS").write_bytes(manifest_bytes(sums))
    return folder


def put_sweep(runs_dir: Path, folders: list[Path], *absent: str) -> Path:
    """A sweep file of these folders and of runs that have not begun."""
    names = sorted([*(str(each.relative_to(runs_dir)) for each in folders), *absent])
    path = runs_dir / "sweeps" / f"{identity_hash({'runs': names})}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"overrides": [], "runs": names}))
    return path


def put_grid(runs_dir: Path) -> Path:
    """The sweep file of the small sweep, all of it complete."""
    folders = [
        put_run(runs_dir, configured(*point), tables_of(place), step=40)
        for place, point in enumerate(POINTS)
    ]
    return put_sweep(runs_dir, folders)
