"""The runs that a command line names: their folders, and what is in them as it was written."""

from __future__ import annotations

import glob
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpflow_cli.config.paths import read_path
from kpflow_cli.config.validation import with_later_keys
from kpflow_cli.errors import DamagedFileError, UserError, nearest
from kpflow_cli.run.identity import flatten_keys
from kpflow_cli.run.layout import CONFIG, MANIFEST, STATUS
from kpflow_cli.run.manifest import read_manifest
from kpflow_cli.run.reading import damaged_tables, is_complete
from kpflow_cli.run.standing import read_standing
from kpflow_cli.sweeps.sweep_file import read_sweep
from kpflow_cli.sweeps.table import differing_keys, order_of

# what a comparison reads of a run
_TABLES = ("measurements", "training")
_TAKES = "compare takes run folders, such as runs/memorypro/gru/<hash>, and sweep files"


@dataclass(frozen=True)
class ComparedRun:
    """A run that is compared.

    Attributes:
        keys: its configuration by flat names.
        state: how far it is where it is not complete, empty where it is.
    """

    folder: Path
    keys: dict[str, Any]
    state: str

    @property
    def seed(self) -> Any:
        """Of its configuration."""
        return self.keys.get("seed")


def find_runs(places: Sequence[str]) -> list[ComparedRun]:
    """The runs of places, in their order: of a run folder; of a sweep file the complete ones of its
    runs, of a quoted glob the run folders that fit, both by their keys. A run of these that was
    named before counts once.

    Raises UserError for what is none of these and for a run folder that is named twice,
    DamagedFileError for one that is not as it was written.
    """
    found: dict[Path, ComparedRun] = {}
    for place in places:
        path = read_path(place)
        is_one = path.exists() or not glob.has_magic(place)
        if path.is_file():
            runs = _in_order(_complete_runs_of(path))
        elif is_one:
            if path.resolve() in found:
                raise UserError(f"{place}: named twice")
            runs = [_read(path)]
        else:
            runs = _in_order([each for each in _match(str(path)) if _is_run(each)])
            if not runs:
                raise UserError(f"{place}: no run folder fits; {_TAKES}")
        for run in runs:
            found.setdefault(run.folder.resolve(), run)
    return list(found.values())


def _in_order(folders: Sequence[Path]) -> list[ComparedRun]:
    """By the keys in which they differ, the seed last."""
    runs = [_read(folder) for folder in folders]
    differing = differing_keys([run.keys for run in runs])
    keys = sorted(differing, key=lambda key: key == "seed")
    return sorted(runs, key=lambda run: [order_of(run.keys.get(key)) for key in keys])


def _complete_runs_of(sweep: Path) -> list[Path]:
    every = read_sweep(sweep)
    complete = [folder for folder in every if is_complete(folder)]
    if not complete:
        raise UserError(f"{sweep}: no complete runs there")
    if len(complete) < len(every):
        print(
            f"kpflow: {sweep}: {len(every) - len(complete)} of {len(every)} runs are not complete "
            "and are left out",
            file=sys.stderr,
        )
    return complete


def _match(pattern: str) -> list[Path]:
    # pathlib's own refuses some patterns, absolute ones among them
    return sorted(Path(found) for found in glob.glob(pattern))  # noqa: PTH207


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in (STATUS, CONFIG, MANIFEST))


def _read(folder: Path) -> ComparedRun:
    if not folder.exists():
        beside = [each.name for each in folder.parent.iterdir()] if folder.parent.is_dir() else []
        raise UserError(f"{folder}: not there{nearest(folder.name, beside)}; {_TAKES}")
    if not _is_run(folder):
        raise UserError(f"{folder}: no run folder; {_TAKES}")
    standing, status = read_standing(folder)
    if "config" not in status:
        raise DamagedFileError(
            f"{folder / STATUS}: not there as it was written; the command that made the run writes "
            "it again"
        )
    # a run at work writes each file whole, and its checksum after it
    checksums = None if standing == "running" else read_manifest(folder)
    written = {"tables": [each for each in status.get("tables", []) if each in _TABLES]}
    damaged = damaged_tables(folder, written, checksums)
    if damaged:
        raise DamagedFileError(
            f"{folder / damaged[0]}.csv: not as it was written; the command that made the run "
            "writes it again"
        )
    keys = flatten_keys(with_later_keys(status["config"]))
    state = f"{standing} at step {status.get('step')} of {status.get('steps')}"
    return ComparedRun(folder, keys, "" if standing == "complete" else state)
