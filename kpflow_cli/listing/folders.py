"""Run folders, wherever below a place they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from kpflow_cli.errors import UserError, reason_of
from kpflow_cli.run.layout import CONFIG, LOCK, MANIFEST, STATUS
from kpflow_cli.sweeps.sweep_file import read_sweep


def find_runs(place: Path) -> list[Path]:
    """The run folders of a sweep file, or those in a folder, itself included, by their names.

    Links are followed, hidden folders are not looked into, nor are run folders. Raises UserError
    for a place that is neither a sweep file nor a folder that can be read.
    """
    if place.is_file():
        return [folder for folder in read_sweep(place) if is_run_folder(folder)]
    try:
        os.scandir(place).close()
    except OSError as error:
        raise UserError(f"{place}: cannot be read ({reason_of(error)})") from None
    return sorted(_walk(place, set()))


def is_run_folder(path: Path) -> bool:
    """Whether a folder is there, and a run's."""
    try:
        return _is_run({entry.name for entry in path.iterdir()})
    except OSError:
        return False


def _walk(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """``seen`` are folders by device and number: a link may lead back to where it is."""
    try:
        found = folder.stat()
        with os.scandir(folder) as entries:
            listed = list(entries)
    except OSError:
        # gone since, or somebody else's
        return
    if (found.st_dev, found.st_ino) in seen:
        return
    seen.add((found.st_dev, found.st_ino))
    if _is_run({entry.name for entry in listed}):
        yield folder
        return
    for entry in listed:
        if not entry.name.startswith(".") and entry.is_dir():
            yield from _walk(folder / entry.name, seen)


def _is_run(names: set[str]) -> bool:
    """Whether a folder with such entries is a run's: config.yaml alone is anybody's."""
    return bool(names & {STATUS, CONFIG}) and bool(names & {MANIFEST, LOCK})
