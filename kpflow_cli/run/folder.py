"""The folder of a run: config.yaml, run.json (its status), SHA256SUMS, CSV files, checkpoints,
plots. The only code that writes there.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from filelock import FileLock, Timeout

from kpflow_cli import __version__
from kpflow_cli.errors import (
    DamagedFileError,
    InUseError,
    LostFolderError,
    UnwrittenFileError,
    UserError,
    reason_of,
)
from kpflow_cli.run.checkpoints import Checkpoint, Rows, pack_checkpoint, unpack_checkpoint
from kpflow_cli.run.identity import identity_hash
from kpflow_cli.run.layout import (
    CHECKPOINTS,
    CONFIG,
    LOCK,
    MANIFEST,
    PAGE_FORMAT,
    PLOT_FORMATS,
    PLOTS,
    STATUS,
)
from kpflow_cli.run.manifest import checksum, is_intact, manifest_bytes, read_manifest
from kpflow_cli.run.ownership import has_configuration, written_configuration
from kpflow_cli.run.reading import damaged_tables, read_status
from kpflow_cli.run.seals import intact_seal
from kpflow_cli.run.whole_files import csv_bytes, read_csv_bytes, remove_partial_files, write_whole


class Drawing(Protocol):
    """A figure that can save itself, such as matplotlib's."""

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write to a file-like object."""


class RunFolder:
    """One run's folder, locked by this process; made by ``open_run_folder``."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        self._identity = identity
        self._lock_file = _identify(path / LOCK)
        self._has_manifest = read_manifest(path) is not None
        self._checksums = read_manifest(path) or {}

    def latest_checkpoint(self, tell: Callable[[str], None]) -> Checkpoint | None:
        """The checkpoint of the highest step that is as it was written, None where there is none;
        ``tell`` is told of those that are not.

        Raises UserError for one of another run.
        """
        folder = self.path / CHECKPOINTS
        latest = self._undamaged(folder / "latest.pt", tell)
        steps = {
            int(named[1]): path
            for path in folder.glob("step_*.pt")
            if (named := re.fullmatch(r"step_(\d{1,18})", path.stem))
        }
        for step in sorted(steps, reverse=True):
            if latest is not None and step < latest.step:
                break
            found = self._undamaged(steps[step], tell)
            if found is not None:
                return found
        return latest

    def _undamaged(self, path: Path, tell: Callable[[str], None]) -> Checkpoint | None:
        if not path.exists():
            return None
        try:
            return self.load_checkpoint(path)
        except DamagedFileError as error:
            tell(f"{error}; continuing without it")
            return None

    def load_checkpoint(self, path: Path) -> Checkpoint:
        """A checkpoint of this run. Raises DamagedFileError for a file that is none as it was
        written, UserError for another run's.
        """
        try:
            checkpoint = unpack_checkpoint(path.read_bytes(), self._identity)
        except DamagedFileError as error:
            raise DamagedFileError(f"{path}: not a whole kpflow checkpoint ({error})") from None
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        except OSError as error:
            raise DamagedFileError(f"{path}: cannot be read ({reason_of(error)})") from None
        if path.stem not in ("latest", f"step_{checkpoint.step}"):
            raise DamagedFileError(f"{path}: holds step {checkpoint.step}, not what its name says")
        return checkpoint

    def save_checkpoint(self, checkpoint: Checkpoint, *, measured: bool) -> None:
        """Write ``step_<n>.pt`` for a measured step, ``latest.pt`` otherwise."""
        name = f"step_{checkpoint.step}" if measured else "latest"
        self.write(f"{CHECKPOINTS}/{name}.pt", pack_checkpoint(checkpoint, self._identity))

    def seal_of_step(self, step: int) -> str | None:
        """The checksum in the checkpoint of a measured step, None where there is none as it was
        written.
        """
        try:
            return intact_seal((self.path / CHECKPOINTS / f"step_{step}.pt").read_bytes())
        except OSError:
            return None

    def remove_intermediate_checkpoint(self) -> None:
        """Delete ``latest.pt``, once a measured checkpoint is newer."""
        (self.path / CHECKPOINTS / "latest.pt").unlink(missing_ok=True)

    def write_tables(self, tables: dict[str, Rows]) -> None:
        """Write each table as a CSV file of its name."""
        for name, rows in tables.items():
            self.write(f"{name}.csv", csv_bytes(pd.DataFrame(rows)))

    def damaged_tables(self, status: dict[str, Any]) -> list[str]:
        """Stems of the CSV files that a status names and that are not there as they were
        written.
        """
        return damaged_tables(self.path, status, self._checksums if self._has_manifest else None)

    def write_drawing(self, name: str, drawing: Drawing) -> None:
        """Write ``plots/<name>.png``, ``.pdf`` and ``.svg``; their metadata say what made them."""
        made_by = (
            f"kpflow {__version__}, configuration {identity_hash(self._identity)}, seed "
            f"{self._identity['seed']}"
        )
        metadata = {
            "png": {"Software": made_by},
            "pdf": {"Creator": made_by, "CreationDate": None},
            "svg": {"Creator": made_by, "Date": None},
        }
        for suffix in (*PLOT_FORMATS, PAGE_FORMAT):
            buffer = io.BytesIO()
            drawing.savefig(buffer, format=suffix, metadata=metadata[suffix])
            self.write(f"{PLOTS}/{name}.{suffix}", buffer.getvalue())

    def has_drawing(self, name: str) -> bool:
        """Whether the plot of this name is there as it was written, PNG and PDF."""
        names = [f"{PLOTS}/{name}.{suffix}" for suffix in PLOT_FORMATS]
        if not self._has_manifest:
            return all((self.path / each).exists() for each in names)
        return all(is_intact(self.path, each, self._checksums) for each in names)

    def has(self, name: str) -> bool:
        """Whether there is a file of this name, whatever is in it."""
        return (self.path / name).exists()

    def read_intact(self, name: str) -> str | None:
        """The text of a file that is there as it was written, else None."""
        if not is_intact(self.path, name, self._checksums):
            return None
        return (self.path / name).read_text().rstrip()

    def write_status(self, status: dict[str, Any]) -> None:
        """Write run.json, then the manifest of all that was written so far."""
        content = {**status, "manifest": MANIFEST}
        self.write(STATUS, (json.dumps(content, indent=2) + "\n").encode())
        self.write_manifest()

    def write_manifest(self) -> None:
        """Write the checksums of all that was written so far."""
        self.write(MANIFEST, manifest_bytes(self._checksums))
        self._has_manifest = True

    def read_tables(self) -> dict[str, pd.DataFrame]:
        """Every CSV file by its stem, as it was written."""
        return {
            path.stem: read_csv_bytes(path.read_bytes())
            for path in sorted(self.path.glob("*.csv"))
            if path.name in self._checksums or not self._has_manifest
        }

    def read_status(self) -> dict[str, Any]:
        """run.json, empty if there is none of this run."""
        status = read_status(self.path)
        return status if status.get("hash") == identity_hash(self._identity) else {}

    def configure(self, written: bytes, *, is_there: bool) -> None:
        """Have config.yaml as it is ``written``."""
        self._checksums[CONFIG] = checksum(written)
        if not is_there:
            self.write(CONFIG, written)

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all. Raises LostFolderError where the folder is not there
        any more, UnwrittenFileError where it cannot be written.
        """
        self._refuse_lost()
        path = self.path / name
        if path.parent != self.path:
            _make_folder(path.parent)
        write_whole(path, content)
        try:
            self._refuse_lost()
        except LostFolderError:
            # lost since: the file is in a folder that is not ours
            path.unlink(missing_ok=True)
            raise
        if path.parent.name != CHECKPOINTS and name != MANIFEST:
            self._checksums[name] = checksum(content)

    def _refuse_lost(self) -> None:
        if _identify(self.path / LOCK) != self._lock_file:
            raise LostFolderError(self.path)


@contextmanager
def open_run_folder(path: Path, identity: dict[str, Any]) -> Iterator[RunFolder]:
    """The folder of the run with this identity, made if missing, locked until the end of the block.

    Raises UserError, and touches nothing, if ``path`` is no folder, cannot be written, holds
    something else or another configuration's run; InUseError if another process works in it.
    """
    written = written_configuration(identity)
    has_configuration(path, written)
    try:
        path.mkdir(parents=True, exist_ok=True)
        held = FileLock(path / LOCK, blocking=False).acquire()
    except Timeout:
        raise InUseError(f"run_dir={path}: in use by another kpflow process") from None
    except OSError as error:
        raise UserError(f"run_dir={path}: cannot be written ({reason_of(error)})") from None
    with held:
        is_there = has_configuration(path, written)
        for folder in (path, path / CHECKPOINTS, path / PLOTS):
            remove_partial_files(folder)
        opened = RunFolder(path, identity)
        opened.configure(written, is_there=is_there)
        yield opened


def _identify(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise UnwrittenFileError(path, error) from None
