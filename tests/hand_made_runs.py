"""Folders of runs that nobody made: files as a run writes them, with their checksums."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from kpflow_cli.run.identity import identity_hash
from kpflow_cli.run.manifest import checksum, manifest_bytes
from kpflow_cli.run.ownership import written_configuration
from kpflow_cli.run.provenance import made_by


def put_run(
    runs_dir: Path,
    identity: dict[str, Any],
    tables: Mapping[str, pd.DataFrame],
    *,
    step: int = 0,
    **status: Any,
) -> Path:
    """The folder of a run with this configuration and these tables, complete by default."""
    folder = runs_dir / identity_hash(identity)
    folder.mkdir(parents=True)
    content = {
        "status": "complete",
        "step": step,
        "steps": step,
        "seed": identity["seed"],
        "hash": identity_hash(identity),
        "config": identity,
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
        "config.yaml": written_configuration(identity),
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
