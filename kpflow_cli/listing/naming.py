"""The one run that somebody means."""

from __future__ import annotations

import re
from pathlib import Path

from kpflow_cli.config.paths import read_path
from kpflow_cli.errors import UserError
from kpflow_cli.listing.folders import find_runs, is_run_folder
from kpflow_cli.run.reading import in_use

_HASH = re.compile(r"[0-9a-f]{4,12}")
_LISTS = "`kpflow runs` lists those there are"


def is_hash(word: str) -> bool:
    """Whether a word is the beginning of a hash rather than a place."""
    return bool(_HASH.fullmatch(word)) and not read_path(word).exists()


def find_run(word: str, folder: Path) -> Path:
    """The run folder of this path, or of the hash that begins so in a folder of runs. Raises
    UserError where there is none, or several.
    """
    path = read_path(word)
    if path.exists():
        if is_run_folder(path):
            return path
        raise UserError(f"{word}: no run folder; {_LISTS}")
    there = find_runs(folder) if is_hash(word) and folder.is_dir() else []
    found = [each for each in there if each.name.startswith(word)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{word}: {len(found)} runs begin so, such as {found[0]} and {found[1]}")
    raise UserError(f"{word}: not there, or not yet; {_LISTS}")


def find_running(folder: Path) -> Path:
    """The run in a folder of runs that a process works on. Raises UserError where there is none, or
    several.
    """
    there = find_runs(folder) if folder.is_dir() else []
    found = [each for each in there if in_use(each)]
    if len(found) == 1:
        return found[0]
    if found:
        named = ", ".join(map(str, found[:3])) + (", ..." if len(found) > 3 else "")
        raise UserError(f"{len(found)} runs are running; which? {named}")
    raise UserError(f"{folder}: no run is running there; {_LISTS}")
