"""``sweeps/<hash>.json``: which runs belong to a sweep, for ``kpflow table`` and for whoever
wonders later.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from kpflow_cli.errors import UserError
from kpflow_cli.run import provenance
from kpflow_cli.run.identity import identity_hash
from kpflow_cli.run.whole_files import write_whole
from kpflow_cli.sweeps.points import SweepPoint


def sweep_path(points: Sequence[SweepPoint], runs_dir: Path) -> Path:
    """Where a sweep file is: one set of points has one, whatever order and whatever words
    it was asked for in.
    """
    return runs_dir / "sweeps" / f"{_hash(_folders(points, runs_dir))}.json"


def write_sweep(points: Sequence[SweepPoint], runs_dir: Path, overrides: list[str]) -> float:
    """Write a sweep file; returns when, by the clock of that file system. Raises UserError
    if it cannot be written.
    """
    path = sweep_path(points, runs_dir)
    content = {"overrides": overrides, "runs": _folders(points, runs_dir), **provenance.made_by()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, (json.dumps(content, indent=1) + "\n").encode())
    except OSError as error:
        raise UserError(f"run_dir={runs_dir}: cannot be written ({error.strerror})") from None
    return path.stat().st_mtime


def _hash(folders: list[str]) -> str:
    return identity_hash({"runs": folders})


def _folders(points: Sequence[SweepPoint], runs_dir: Path) -> list[str]:
    return sorted(os.path.relpath(point.path, runs_dir) for point in points)


def read_sweep(path: Path) -> list[Path]:
    """The run folders of a sweep. Raises UserError for another file, and for one whose name is not
    the hash of the folders in it.
    """
    try:
        folders = json.loads(path.read_text())["runs"]
        found = [path.parent.parent / folder for folder in folders]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: no sweep file ({error})") from None
    if path.stem != _hash(folders):
        raise UserError(
            f"{path}: not as it was written; the command that made the sweep writes it again"
        )
    return found
