"""Files written whole or not at all."""

from __future__ import annotations

import fcntl
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd


def csv_bytes(table: pd.DataFrame) -> bytes:
    """A table as the content of a CSV file."""
    return table.to_csv(index=False, lineterminator="\n").encode()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a temporary file, flushed to disk, then renamed. Writers of
    one file take turns.
    """
    partial = path.with_name(f".{path.name}.partial")
    with _lock(partial) as stream:
        stream.truncate(0)
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
        partial.replace(path)
    _sync_folder(path.parent)


@contextmanager
def _lock(partial: Path) -> Iterator[io.BufferedRandom]:
    """A temporary file, locked; what a killed writer left in it is still there."""
    while True:
        with partial.open("a+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            # whoever had the lock before has renamed this file: the name is free or another
            # writer's
            if _is_at(stream, partial):
                yield stream
                return


def _is_at(stream: io.BufferedRandom, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
