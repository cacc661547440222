"""Whose a folder is: this run's, nobody's, or something that no run may touch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from kpflow_cli.errors import UserError, reason_of
from kpflow_cli.run.identity import describe_difference, same_values
from kpflow_cli.run.layout import (
    CHECKPOINTS,
    CONFIG,
    LOCK,
    MANIFEST,
    PAGE_FORMAT,
    PLOT_FORMATS,
    PLOTS,
    REPORT,
    STATUS,
    SUMMARY,
    TRACKER,
)
from kpflow_cli.run.manifest import checksum, read_manifest
from kpflow_cli.run.whole_files import is_partial


def has_configuration(path: Path, written: bytes) -> bool:
    """Whether a folder has a run's configuration as it is ``written``; one that has it damaged, in
    other words, or no more, has not.

    Raises UserError if it holds something else than this run.
    """
    try:
        if not path.exists():
            return False
        if not path.is_dir():
            raise UserError(f"run_dir={path}: not a folder")
        entries = list(path.iterdir())
        found = (path / CONFIG).read_bytes() if (path / CONFIG).exists() else None
    except OSError as error:
        raise UserError(f"run_dir={path}: cannot be read ({reason_of(error)})") from None
    if found == written:
        return True
    # what the manifest says was written here is more certain than what now stands there
    recorded = (read_manifest(path) or {}).get(CONFIG)
    if recorded == checksum(written):
        return False
    if found is not None:
        _refuse_another(found, written, path)
        return False
    foreign = [entry.name for entry in entries if not _is_own(entry)]
    if foreign:
        raise UserError(
            f"run_dir={path}: holds files that are no kpflow run, such as {min(foreign)}"
        )
    if recorded is not None:
        raise UserError(f"run_dir={path}: holds what is left of a run of another configuration")
    return False


def written_configuration(identity: dict[str, Any]) -> bytes:
    """config.yaml of a run."""
    return OmegaConf.to_yaml(OmegaConf.create(identity)).encode()


def foreign_files(run_dir: Path) -> list[str]:
    """Names of what is in a run's folder and no run leaves there, in order: other files, other
    folders, links to elsewhere. Raises OSError for a folder that cannot be read.
    """
    recorded = read_manifest(run_dir) or {}
    foreign = []
    for entry in run_dir.iterdir():
        if entry.is_symlink():
            foreign.append(entry.name)
        elif entry.name in (CHECKPOINTS, PLOTS) and entry.is_dir():
            foreign += [
                f"{entry.name}/{inner.name}"
                for inner in entry.iterdir()
                if not _is_in(inner, entry.name, recorded)
            ]
        elif entry.name == TRACKER:
            continue
        elif entry.is_dir() or not (
            _is_own(entry) or entry.name == CONFIG or entry.name in recorded
        ):
            foreign.append(entry.name)
    return sorted(foreign)


def _is_in(path: Path, folder: str, recorded: Mapping[str, str]) -> bool:
    """Whether a run leaves such a file in the folder of its checkpoints, or of its plots."""
    if path.is_symlink() or not path.is_file():
        return False
    kinds = ("pt",) if folder == CHECKPOINTS else (*PLOT_FORMATS, PAGE_FORMAT)
    return path.suffix[1:] in kinds or is_partial(path) or f"{folder}/{path.name}" in recorded


def _refuse_another(found: bytes, written: bytes, path: Path) -> None:
    """Raise UserError for a config.yaml that is not this run's in other words."""
    try:
        there = OmegaConf.to_container(OmegaConf.create(found.decode()))
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"run_dir={path}: {CONFIG} cannot be read ({reason})") from None
    here: Any = OmegaConf.to_container(OmegaConf.create(written.decode()))
    if not same_values(there, here):
        raise UserError(
            f"run_dir={path}: holds a run of another configuration; "
            f"{describe_difference(there, here)}"
        )


def _is_own(entry: Path) -> bool:
    """Whether a run leaves such an entry where it dies in its first moments, or where its folder is
    being removed while it writes; what is in it is checked when it is read.
    """
    names = (LOCK, CHECKPOINTS, PLOTS, STATUS, MANIFEST, SUMMARY, REPORT, TRACKER)
    beside = (entry.with_name(CHECKPOINTS), entry.with_name(MANIFEST))
    return (
        entry.name in names
        or is_partial(entry)
        or (entry.suffix == ".csv" and any(each.exists() for each in beside))
    )
