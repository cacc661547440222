"""The run folder: identity, lock, atomic writes, checkpoints. The only code that writes.

config.yaml          what determines the results, resolved
*.csv                training, measurements, spectra and what is recorded of single checkpoints
checkpoints/         step_<n>.pt at every measured step, latest.pt in between
plots/               PNG and PDF
run.json             seed, versions, platform, durations, status
"""

from __future__ import annotations

import fcntl
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import torch
from omegaconf import OmegaConf

from kpflow_cli import __version__
from kpflow_cli.errors import InUseError, UserError
from kpflow_cli.run.identity import describe_difference, identity_hash
from kpflow_cli.run.whole_files import csv_bytes, write_whole

Rows = list[dict[str, Any]]
_FORMAT = 1


def run_path(runs_dir: Path, choices: Mapping[str, str], identity: dict[str, Any]) -> Path:
    """Where a run goes that nobody names a folder for: ``<runs_dir>/<task>/<model>/<hash>``."""
    return runs_dir / choices["task"] / choices["model"] / identity_hash(identity)


def read_tables(run_dir: Path) -> dict[str, pd.DataFrame]:
    """Every CSV file of a run folder by its stem."""
    return {path.stem: pd.read_csv(path) for path in sorted(run_dir.glob("*.csv"))}


def read_status(run_dir: Path) -> dict[str, Any]:
    """run.json of a run folder, empty if there is none."""
    try:
        status = json.loads((run_dir / "run.json").read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


def is_complete(run_dir: Path) -> bool:
    """Whether a run is finished and all CSV files it wrote are there."""
    status = read_status(run_dir)
    return status.get("status") == "complete" and all(
        (run_dir / f"{name}.csv").exists() for name in status.get("tables", ())
    )


def in_use(run_dir: Path) -> bool:
    """Whether a process works in a run folder; a dead one holds no lock."""
    try:
        with (run_dir / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


@dataclass(frozen=True)
class Checkpoint:
    """Everything needed to continue after ``step`` gradient steps.

    Attributes:
        model, optimizer: state dicts.
        tables: rows of every CSV file so far, by its stem.
    """

    step: int
    model: dict[str, Any]
    optimizer: dict[str, Any]
    tables: dict[str, Rows]


class Drawing(Protocol):
    """A figure that can save itself, such as matplotlib's."""

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write to a file-like object."""


class RunFolder:
    """One run's folder, locked by this process; made by ``open_run_folder``."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        self._identity = identity

    def latest_checkpoint(self) -> Checkpoint | None:
        """The checkpoint of the highest step; None in a new folder. Raises UserError if any
        checkpoint is truncated or another run's.
        """
        checkpoints = [
            self.load_checkpoint(path) for path in sorted((self.path / "checkpoints").glob("*.pt"))
        ]
        return max(checkpoints, key=lambda checkpoint: checkpoint.step, default=None)

    def save_checkpoint(self, checkpoint: Checkpoint, *, measured: bool) -> None:
        """Write ``step_<n>.pt`` for a measured step, ``latest.pt`` otherwise."""
        content = vars(checkpoint) | {
            "format": _FORMAT,
            "kpflow": __version__,
            "config": self._identity,
            "seed": self._identity["seed"],
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        self.write(
            f"checkpoints/{f'step_{checkpoint.step}' if measured else 'latest'}.pt",
            buffer.getvalue(),
        )

    def remove_intermediate_checkpoint(self) -> None:
        """Delete ``latest.pt``, once a measured checkpoint is newer."""
        (self.path / "checkpoints" / "latest.pt").unlink(missing_ok=True)

    def write_tables(self, tables: dict[str, Rows]) -> None:
        """Write each table as a CSV file of its name."""
        for name, rows in tables.items():
            self.write(f"{name}.csv", csv_bytes(pd.DataFrame(rows)))

    def write_drawing(self, name: str, drawing: Drawing) -> None:
        """Write ``plots/<name>.png`` and ``.pdf``; their metadata say what made them."""
        made_by = (
            f"kpflow {__version__}, configuration {identity_hash(self._identity)}, seed "
            f"{self._identity['seed']}"
        )
        for suffix, metadata in (
            ("png", {"Software": made_by}),
            ("pdf", {"Creator": made_by, "CreationDate": None}),
        ):
            buffer = io.BytesIO()
            drawing.savefig(buffer, format=suffix, metadata=metadata)
            self.write(f"plots/{name}.{suffix}", buffer.getvalue())

    def has_table(self, name: str) -> bool:
        """Whether the CSV file of this name is there."""
        return (self.path / f"{name}.csv").exists()

    def has_drawing(self, name: str) -> bool:
        """Whether the plot of this name is there, PNG and PDF."""
        return all((self.path / "plots" / f"{name}.{suffix}").exists() for suffix in ("png", "pdf"))

    def write_status(self, status: dict[str, Any]) -> None:
        """Write run.json."""
        self.write("run.json", (json.dumps(status, indent=2) + "\n").encode())

    def read_status(self) -> dict[str, Any]:
        """run.json, empty if there is none."""
        return read_status(self.path)

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all: a temporary file, flushed to disk, then renamed."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        write_whole(path, content)

    def load_checkpoint(self, path: Path) -> Checkpoint:
        """A checkpoint of this run. Raises UserError for a file that is none."""
        try:
            content = torch.load(path, weights_only=True, map_location="cpu")
            checkpoint = Checkpoint(*(content[name] for name in Checkpoint.__dataclass_fields__))
            config, written_as = content["config"], content["format"]
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"{path}: not a whole kpflow checkpoint ({reason:.120}); move it away to continue "
                "from the one before"
            ) from None
        if config != self._identity:
            raise UserError(
                f"{path}: a checkpoint of another configuration; "
                f"{describe_difference(config, self._identity)}"
            )
        if written_as != _FORMAT:
            raise UserError(
                f"{path}: written in format {written_as}; this kpflow reads format {_FORMAT}"
            )
        named = re.fullmatch(r"step_(\d+)", path.stem)
        if (named and int(named[1]) != checkpoint.step) or not (named or path.stem == "latest"):
            raise UserError(f"{path}: holds step {checkpoint.step}, not what its name says")
        return checkpoint


@contextmanager
def open_run_folder(path: Path, identity: dict[str, Any]) -> Iterator[RunFolder]:
    """The folder of the run with this identity, made if missing, locked until the end of the block.

    Raises UserError, and touches nothing, if ``path`` is no folder, cannot be written, holds
    something else or another configuration's run; InUseError if another process works in it.
    """
    _refuse_foreign(path, identity)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / ".lock").open("a")
    except OSError as error:
        raise UserError(f"run_dir={path}: cannot be written ({error.strerror})") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InUseError(f"run_dir={path}: in use by another kpflow process") from None
        _refuse_foreign(path, identity)
        folder = RunFolder(path, identity)
        if not (path / "config.yaml").exists():
            folder.write("config.yaml", OmegaConf.to_yaml(OmegaConf.create(identity)).encode())
        yield folder


def _refuse_foreign(path: Path, identity: dict[str, Any]) -> None:
    try:
        if not path.exists():
            return
        if not path.is_dir():
            raise UserError(f"run_dir={path}: not a folder")
        entries = [entry.name for entry in path.iterdir()]
        if "config.yaml" not in entries:
            # what a run killed in its first moments leaves behind
            foreign = [name for name in entries if name not in (".lock", ".config.yaml.partial")]
            if foreign:
                raise UserError(
                    f"run_dir={path}: holds files that are no kpflow run, such as {min(foreign)}"
                )
            return
    except OSError as error:
        raise UserError(f"run_dir={path}: cannot be read ({error.strerror})") from None
    try:
        found = OmegaConf.to_container(OmegaConf.load(path / "config.yaml"))
    except Exception as error:
        raise UserError(
            f"run_dir={path}: config.yaml cannot be read ({str(error).splitlines()[0]})"
        ) from None
    if found != identity:
        raise UserError(
            f"run_dir={path}: holds a run of another configuration; "
            f"{describe_difference(found, identity)}"
        )
