"""A run that is finished and whole is told so without building anything of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from kpflow_cli import __version__
from kpflow_cli.config.plugins import PLUGIN_GROUPS, TARGET, find_class
from kpflow_cli.config.validation import identity
from kpflow_cli.run.identity import identity_hash
from kpflow_cli.run.layout import CHECKPOINTS, CONFIG, REPORT, SUMMARY
from kpflow_cli.run.manifest import is_intact, read_manifest
from kpflow_cli.run.ownership import written_configuration
from kpflow_cli.run.reading import in_use, is_complete, read_status
from kpflow_cli.run.seals import intact_seal

_OWN = "kpflow_cli."


def finished_summary(
    run_dir: Path, values: Mapping[str, Any], plots: Collection[str]
) -> str | None:
    """The summary of the run of a checked configuration, where there is nothing left to do: all
    that it wrote is there as it wrote it, its last checkpoint, if any is kept, and its plots of
    these names included, and a page of it where one is asked for.

    None where anything is missing or other than it was, where another version of kpflow made it,
    and where code or files of one's own, which may have changed since, have a say in it: these are
    for the run itself to find out.
    """
    named, steps = identity(dict(values)), values["training"]["steps"]
    status, checksums = read_status(run_dir), read_manifest(run_dir) or {}
    whole = (
        is_told_by_its_keys(values)
        and (not values["report"] or (run_dir / REPORT).exists())
        and is_complete(run_dir, identity_hash(named))
        and status.get("steps") == status.get("step") == steps
        and status.get("versions", {}).get("kpflow") == __version__
        and set(plots) <= set(status.get("plots", []))
        and SUMMARY in checksums
        and all(is_intact(run_dir, name, checksums) for name in checksums if name != REPORT)
        and (run_dir / CONFIG).read_bytes() == written_configuration(named)
        and _are_checkpoints_sound(run_dir / CHECKPOINTS, steps, status.get("last_checkpoint"))
        and not in_use(run_dir)
    )
    return (run_dir / SUMMARY).read_text().rstrip() or None if whole else None


def is_told_by_its_keys(values: Mapping[str, Any]) -> bool:
    """Whether task and model are the program's own, and depend on nothing but their keys."""
    targets = [values[group][TARGET] for group in PLUGIN_GROUPS]
    classes = [values[group].get("target", _OWN) for group in PLUGIN_GROUPS]
    return all(name.startswith(_OWN) for name in (*targets, *classes)) and not any(
        hasattr(find_class(group, values[group][TARGET]), "complete_keys")
        for group in PLUGIN_GROUPS
    )


def _are_checkpoints_sound(folder: Path, last_step: int, seal: str | None) -> bool:
    """Whether the last checkpoint is the one that the run ended with, and none is beyond it.
    Whoever has deleted all checkpoints of a run wants no others.
    """
    names = [path.stem for path in folder.glob("*.pt")]
    if not names:
        return True
    steps = [int(named[1]) for name in names if (named := re.fullmatch(r"step_(\d+)", name))]
    if "latest" in names or max(steps, default=-1) != last_step:
        return False
    try:
        found = intact_seal((folder / f"step_{last_step}.pt").read_bytes())
    except OSError:
        return False
    return found is not None and found == seal
