"""Files and folders that a command line names."""

from __future__ import annotations

import tempfile
from pathlib import Path

from kpflow_cli.errors import UserError


def read_path(written: object, key: str = "") -> Path:
    """The path, ``~`` in it included. Raises UserError, with the ``key`` that it is of, for one
    that no file can have.
    """
    label = f"{key}={written}" if key else str(written)
    try:
        path = Path(str(written)).expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:
        raise UserError(f"{label}: no path ({_reason(error)})") from None
    return path


def is_folder(path: Path) -> bool:
    """Whether a folder is there that can be looked for."""
    try:
        return path.is_dir()
    except OSError:
        return False


def refuse_unwritable(folder: Path, key: str) -> None:
    """Raises UserError for a folder that cannot be made or written; leaves nothing behind."""
    try:
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        finally:
            for each in missing:
                each.rmdir()
    except (OSError, ValueError) as error:
        raise UserError(f"{key}={folder}: cannot be written ({_reason(error)})") from None


def _reason(error: Exception) -> object:
    return error.strerror if isinstance(error, OSError) else error
