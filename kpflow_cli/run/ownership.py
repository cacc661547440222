"""Whose a folder is: this run's, nobody's, or something that no run may touch."""

from __future__ import annotations

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
    PLOTS,
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
    names = (LOCK, CHECKPOINTS, PLOTS, STATUS, MANIFEST, SUMMARY, TRACKER)
    beside = (entry.with_name(CHECKPOINTS), entry.with_name(MANIFEST))
    return (
        entry.name in names
        or is_partial(entry)
        or (entry.suffix == ".csv" and any(each.exists() for each in beside))
    )
