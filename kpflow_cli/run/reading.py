"""What other programs and parts of this one read of a run folder, each file held against its
checksum.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from kpflow_cli.errors import DamagedFileError
from kpflow_cli.run.identity import identity_hash
from kpflow_cli.run.layout import CONFIG, LOCK, STATUS
from kpflow_cli.run.manifest import checksum, is_intact, read_manifest
from kpflow_cli.run.whole_files import read_csv_bytes

if TYPE_CHECKING:
    import pandas as pd

# Windows has none
fcntl: ModuleType | None
try:
    fcntl = import_module("fcntl")
except ImportError:
    fcntl = None


def run_path(runs_dir: Path, choices: Mapping[str, str], identity: dict[str, Any]) -> Path:
    """Where a run goes that nobody names a folder for: ``<runs_dir>/<task>/<model>/<hash>``."""
    return runs_dir / choices["task"] / choices["model"] / identity_hash(identity)


def read_tables(run_dir: Path) -> dict[str, pd.DataFrame]:
    """Every CSV file that a run wrote into its folder, by its stem.

    Raises DamagedFileError for one that is not as it was written.
    """
    checksums = read_manifest(run_dir)
    if checksums is None:
        return {
            path.stem: read_csv_bytes(path.read_bytes()) for path in sorted(run_dir.glob("*.csv"))
        }
    tables = {}
    for name in sorted(name for name in checksums if name.endswith(".csv")):
        try:
            content = (run_dir / name).read_bytes()
        except OSError:
            content = b""
        if checksum(content) != checksums[name]:
            raise DamagedFileError(
                f"{run_dir / name}: not as it was written; the command that made the run writes it "
                "again"
            )
        tables[name.removesuffix(".csv")] = read_csv_bytes(content)
    return tables


def read_status(run_dir: Path) -> dict[str, Any]:
    """run.json of a run folder; empty if there is none, or none as the run of this folder wrote
    it.
    """
    try:
        content = (run_dir / STATUS).read_bytes()
        status = json.loads(content)
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(status, dict):
        return {}
    checksums = read_manifest(run_dir)
    if checksums is None:
        # written by a version that made no manifests
        return {} if "manifest" in status else status
    own = checksums.get(STATUS) == checksum(content) and is_intact(run_dir, CONFIG, checksums)
    return status if own else {}


def is_complete(run_dir: Path, expected_hash: str | None = None) -> bool:
    """Whether a run is finished, and all CSV files it wrote are there as it wrote them; where a
    hash is expected, whether it is that run.
    """
    status = read_status(run_dir)
    if status.get("status") != "complete" or expected_hash not in (None, status.get("hash")):
        return False
    return not damaged_tables(run_dir, status, read_manifest(run_dir))


def damaged_tables(
    run_dir: Path, status: dict[str, Any], checksums: Mapping[str, str] | None
) -> list[str]:
    """Stems of the CSV files that a status names and that are not there as they were written; where
    there are no checksums, that are not there.
    """
    names = status.get("tables", [])
    if checksums is None:
        return [name for name in names if not (run_dir / f"{name}.csv").exists()]
    return [name for name in names if not is_intact(run_dir, f"{name}.csv", checksums)]


def in_use(run_dir: Path) -> bool:
    """Whether a process works in a run folder; a dead one holds no lock. Of a folder that may only
    be read it is told too, and those who ask are not in each other's way.
    """
    try:
        with (run_dir / LOCK).open("rb") as stream:
            return _is_held(stream.fileno(), run_dir / LOCK)
    except OSError:
        # whoever tries to work there finds out why it cannot be
        return False


def _is_held(descriptor: int, path: Path) -> bool:
    """Whether somebody has a lock on an open file for themselves."""
    if fcntl is None:
        try:
            with FileLock(path, blocking=False):
                return False
        except Timeout:
            return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
