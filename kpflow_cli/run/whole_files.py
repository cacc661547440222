"""Files written whole or not at all."""

from __future__ import annotations

import io
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpflow_cli.errors import UnwrittenFileError

if TYPE_CHECKING:
    import pandas as pd

_PARTIAL = ".*.partial"


def csv_bytes(table: pd.DataFrame) -> bytes:
    """A table as the content of a CSV file."""
    return table.to_csv(index=False, lineterminator="\n").encode()


def read_csv_bytes(content: bytes, **options: Any) -> pd.DataFrame:
    """The table of a CSV file's content, each number as it was written: pandas before 3 may be off
    in the last digit by itself. ``options`` of ``pandas.read_csv``.
    """
    import pandas as pd

    if int(pd.__version__.partition(".")[0]) < 3:
        options["float_precision"] = "round_trip"
    return pd.read_csv(io.BytesIO(content), **options)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a temporary file of a name of its own, flushed to disk,
    then renamed. Of several writers at once the last one's content stays.

    Raises UnwrittenFileError, and leaves the file as it was, where that cannot be.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        try:
            with partial.open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise UnwrittenFileError(path, error) from None


def remove_partial_files(folder: Path) -> None:
    """Delete what killed writers left in a folder that nobody else writes to."""
    for path in folder.glob(_PARTIAL):
        path.unlink(missing_ok=True)


def is_partial(path: Path) -> bool:
    """Whether a file is what a killed writer leaves."""
    return path.match(_PARTIAL)


def _sync_folder(path: Path) -> None:
    # Windows opens no folders
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
