"""What a page of a run is made from: the files of its folder, those that are there and sound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from kpflow_cli.durations import in_words
from kpflow_cli.errors import UserError
from kpflow_cli.report.page import Tone
from kpflow_cli.run.layout import CONFIG, MANIFEST, PLOTS, STATUS
from kpflow_cli.run.manifest import checksum, read_manifest
from kpflow_cli.run.standing import read_standing
from kpflow_cli.run.whole_files import read_csv_bytes

_CONTINUES = "the same command continues it"


@dataclass(frozen=True)
class RunRecord:
    """A run as its folder holds it.

    Attributes:
        path: the folder.
        status: run.json, empty where there is none as it was written.
        config: all that determined the results, empty where nothing tells.
        tables: sound CSV files by their stems.
        plots: SVG files of its plots by their stems, of a run that is whole.
        damaged: what is not as it was written, a line each.
        standing: a word of ``kpflow_cli.run.standing.STANDINGS``.
        written: when run.json was, in seconds since 1970; None where it was not.
    """

    path: Path
    standing: str
    status: Mapping[str, Any]
    config: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]
    plots: Mapping[str, bytes] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    written: float | None = None


@dataclass(frozen=True)
class State:
    """How far a run is, in words."""

    word: str
    tone: Tone
    told: str = field(default="")


def read_record(folder: Path) -> RunRecord:
    """The run of a folder, whatever of it is there. Raises UserError where nothing is."""
    standing, status = read_standing(folder)
    at_work = standing == "running"
    config = status.get("config") or _read_config(folder)
    damaged: list[str] = [] if status else [f"{STATUS}: not there as it was written"]
    # a run at work writes each file whole, and its checksum after it
    checksums = None if at_work else read_manifest(folder)
    tables = _read_tables(folder, checksums, damaged)
    if checksums == {}:
        damaged.append(f"{MANIFEST}: not as it was written; nothing can be held against it")
    elif checksums is not None:
        lost = [each for each in status.get("tables", []) if f"{each}.csv" not in checksums]
        damaged += [f"{each}.csv: not there" for each in lost]
    if not (status or config or tables):
        raise UserError(f"{folder}: no kpflow run there")
    written = (folder / STATUS).stat().st_mtime if status else None
    # of other plots nobody knows what they were drawn from
    plots = _read_plots(folder, checksums) if checksums and not damaged else {}
    return RunRecord(folder, standing, status, config, tables, plots, tuple(damaged), written)


def describe_state(standing: str, status: Mapping[str, Any]) -> State:
    """How far a run is, from ``kpflow_cli.run.standing.read_standing``."""
    if not status:
        return State(standing, "doubtful", f"{STATUS} is not there as it was written")
    steps, step = status.get("steps"), status.get("step")
    where = f"at step {step} of {steps}"
    match standing:
        case "complete":
            took = in_words(float(status.get("duration", 0.0)))
            return State(standing, "good", f"all {steps} steps, in {took}")
        case "running":
            return State(standing, "active", where)
        case "interrupted":
            return State(standing, "doubtful", f"{where}; {_CONTINUES}")
    return State(standing, "bad", f"{where}: {status.get('error', 'nobody knows why')}")


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        found: Any = OmegaConf.to_container(OmegaConf.load(folder / CONFIG))
    except Exception:
        # whatever a file that is no configuration holds
        return {}
    return found if isinstance(found, dict) else {}


def _read_plots(folder: Path, checksums: Mapping[str, str]) -> dict[str, bytes]:
    """Drawings that are as they were written."""
    found = {}
    for name in checksums:
        path = folder / name
        if path.suffix == ".svg" and path.parent.name == PLOTS and path.exists():
            content = path.read_bytes()
            if checksum(content) == checksums[name]:
                found[path.stem] = content
    return found


def _read_tables(
    folder: Path, checksums: Mapping[str, str] | None, damaged: list[str]
) -> dict[str, pd.DataFrame]:
    """Tables that are as they were written; ``damaged`` is told of the others."""
    there = {path.name for path in folder.glob("*.csv")}
    names = there if checksums is None else {each for each in checksums if each.endswith(".csv")}
    tables = {}
    for name in sorted(names):
        try:
            content = (folder / name).read_bytes()
            if checksums is not None and checksum(content) != checksums[name]:
                damaged.append(f"{name}: not as it was written, and left out")
                continue
            tables[name.removesuffix(".csv")] = read_csv_bytes(content)
        except (OSError, ValueError) as error:
            reason = "not there" if isinstance(error, FileNotFoundError) else "cannot be read"
            damaged.append(f"{name}: {reason}")
    return tables
