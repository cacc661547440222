"""One line of the list: what a run folder says of its run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from kpflow_cli.config.validation import with_later_keys
from kpflow_cli.listing.choices import name_choices
from kpflow_cli.run.identity import flatten_keys, identity_hash
from kpflow_cli.run.layout import CONFIG, STATUS
from kpflow_cli.run.standing import read_standing


@dataclass(frozen=True)
class ListedRun:
    """A run as its folder has it.

    Attributes:
        status: one of ``run.standing.STANDINGS``.
        step: that was saved last; None where nothing tells, as of ``steps``.
        hash: of its configuration, empty where nothing tells.
        config: all that determined its results, by keys such as ``model.units``.
        version: of the kpflow that made it.
        error: why it broke off, empty where it did not.
        written: when its status was, seconds since the epoch.
        size: bytes of all its files.
    """

    path: Path
    task: str
    model: str
    status: str
    step: int | None
    steps: int | None
    hash: str
    config: Mapping[str, Any]
    version: str
    error: str
    written: float
    size: int


def read_run(folder: Path) -> ListedRun:
    """The run of a folder, whatever of it is there. Of tables it is seen whether they are there,
    not what is in them.
    """
    standing, status = read_standing(folder)
    files = _list_files(folder)
    try:
        return _describe(folder, standing, status, files)
    except (TypeError, AttributeError, ValueError):
        # a status that is as it was written, and of another form
        return _describe(folder, "damaged", {}, files)


def _describe(
    folder: Path, standing: str, status: Mapping[str, Any], files: Mapping[str, os.stat_result]
) -> ListedRun:
    if standing == "complete" and not _has_tables(files, status.get("tables", [])):
        standing = "damaged"
    identity = status.get("config") or _read_identity(folder)
    config = flatten_keys(with_later_keys(identity)) if identity else {}
    run_hash = str(status.get("hash") or (identity_hash(identity) if identity else ""))
    task, model = name_choices(folder, config, run_hash)
    last = files.get(STATUS) or files.get(CONFIG)
    return ListedRun(
        folder,
        task,
        model,
        standing,
        _whole(status.get("step")),
        _whole(status.get("steps", config.get("training.steps"))),
        run_hash,
        config,
        str(status.get("versions", {}).get("kpflow", "")),
        str(status.get("error", "")),
        last.st_mtime if last else 0.0,
        sum(found.st_size for found in files.values()),
    )


def _list_files(folder: Path) -> dict[str, os.stat_result]:
    """Every file of a folder and those within it, by its name there."""
    found, waiting = dict[str, os.stat_result](), [""]
    while waiting:
        inner = waiting.pop()
        try:
            with os.scandir(folder / inner) as entries:
                for entry in entries:
                    name = f"{inner}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(f"{name}/")
                    else:
                        found[name] = entry.stat(follow_symlinks=False)
        except OSError:
            # a run at work renames and removes what is listed here
            continue
    return found


def _has_tables(files: Mapping[str, os.stat_result], names: list[str]) -> bool:
    return all(f"{name}.csv" in files and files[f"{name}.csv"].st_size for name in names)


def _read_identity(folder: Path) -> dict[str, Any]:
    """The configuration of a run whose status nothing vouches for: for a list it is enough."""
    for name, read in ((STATUS, _from_status), (CONFIG, _from_config)):
        try:
            found = read((folder / name).read_text())
        except Exception:
            # whatever a damaged file holds
            continue
        if isinstance(found, dict) and all(
            isinstance(found.get(group, {}), dict) for group in ("training", "analysis")
        ):
            return found
    return {}


def _from_status(written: str) -> Any:
    return json.loads(written)["config"]


def _from_config(written: str) -> Any:
    return OmegaConf.to_container(OmegaConf.create(written))


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
