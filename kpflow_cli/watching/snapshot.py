"""A run's folder at one moment of its work."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.run.layout import MANIFEST, STATUS
from kpflow_cli.run.manifest import is_intact, read_manifest
from kpflow_cli.run.reading import in_use
from kpflow_cli.run.standing import read_standing

_TABLES = _TRAINING, _MEASUREMENTS = "training.csv", "measurements.csv"
_NUMBERS = ("value", "stderr", "probes")
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, csv.Error)
# of training.csv by its columns, of measurements.csv by quantity and reduction of NTK_S
Series = dict[int, float]
Estimates = dict[int, Estimate]


@dataclass(frozen=True)
class Snapshot:
    """What a run has written down.

    Attributes:
        standing: one of ``run.standing.STANDINGS``.
        status: content of run.json, empty where there is none yet.
        written: when it was written, seconds since the epoch; NaN where there is none.
        stamp: of the state that it wrote down last.
        training: each column of training.csv by step, without what is not known.
        measured: estimates of NTK_S by quantity, reduction and step.
    """

    folder: Path
    standing: str
    status: Mapping[str, Any]
    written: float
    stamp: tuple[int, int]
    training: Mapping[str, Series]
    measured: Mapping[tuple[str, str], Estimates]

    @property
    def steps_measured(self) -> list[int]:
        """Steps of which measurements.csv has rows of NTK_S, ascending."""
        return sorted({step for found in self.measured.values() for step in found})


def read_snapshot(folder: Path, last: Snapshot | None = None) -> Snapshot | None:
    """What a folder holds, ``last`` itself where that is still so; None where it is between two
    states: a run at work writes its files one after the other, and their checksums last.
    """
    stamp = _stamp(folder)
    if last is not None and last.standing == "running" and stamp == last.stamp and in_use(folder):
        return last
    found = read_loosely(folder)
    if found.standing != "running":
        return found
    checksums = read_manifest(folder) or {}
    whole = all(is_intact(folder, name, checksums) for name in _TABLES if name in checksums)
    begun = not (folder / STATUS).exists() or found.status
    return found if whole and begun and _stamp(folder) == stamp else None


def read_loosely(folder: Path) -> Snapshot:
    """What a folder holds, whether its files fit each other or not; what cannot be read is left
    out.
    """
    stamp = _stamp(folder)
    standing, status = read_standing(folder)
    training, measured = dict[str, Series](), dict[tuple[str, str], Estimates]()
    with suppress(*_UNREADABLE):
        training = _read_training(_rows(folder / _TRAINING))
    with suppress(*_UNREADABLE):
        measured = _read_measured(_rows(folder / _MEASUREMENTS))
    return Snapshot(folder, standing, status, _written(folder), stamp, training, measured)


def _stamp(folder: Path) -> tuple[int, int]:
    """Changes with each state that a run writes down."""
    try:
        found = (folder / MANIFEST).stat()
    except OSError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns


def _written(folder: Path) -> float:
    try:
        return (folder / STATUS).stat().st_mtime
    except OSError:
        return math.nan


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def _read_training(rows: list[dict[str, str]]) -> dict[str, Series]:
    """Where training diverged its last row has the loss alone, which may be no number."""
    found: dict[str, Series] = {}
    for row in rows:
        step = int(row.pop("step"))
        for name, value in row.items():
            series = found.setdefault(name, {})
            if value or name == "loss":
                series[step] = float(value or math.nan)
    return found


def _read_measured(rows: list[dict[str, str]]) -> dict[tuple[str, str], Estimates]:
    found: dict[tuple[str, str], Estimates] = {}
    for row in rows:
        if row["operator"] == "ntk":
            value, error, probes = (float(row[name] or math.nan) for name in _NUMBERS)
            known = int(probes) if math.isfinite(probes) else 0
            estimate = Estimate(value, error, known, "")
            found.setdefault((row["quantity"], row["reduction"]), {})[int(row["step"])] = estimate
    return found
