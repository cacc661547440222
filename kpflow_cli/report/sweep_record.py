"""What a page of a sweep is made from: of each run its state, the keys in which it differs from the
others, and its last numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from kpflow_cli.config.validation import with_later_keys
from kpflow_cli.report.run_record import State, describe_state
from kpflow_cli.run.identity import flatten_keys
from kpflow_cli.run.reading import is_complete
from kpflow_cli.run.standing import read_standing
from kpflow_cli.sweeps.run_rows import read_rows
from kpflow_cli.sweeps.sweep_file import read_sweep
from kpflow_cli.sweeps.table import differing_keys, order_of


@dataclass(frozen=True)
class LastNumber:
    """The last number of its kind that a run found, with its standard error; NaN is unknown."""

    value: float
    standard_error: float


@dataclass(frozen=True)
class SweptRun:
    """A run of a sweep.

    Attributes:
        step: that it is at, None where it has not begun.
        keys: its value of each key in which the runs differ; empty where it has not begun.
        numbers: by what they are of, such as ``ntk effective_rank full`` or ``loss``.
    """

    name: str
    state: State
    step: int | None = None
    keys: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, LastNumber] = field(default_factory=dict)


@dataclass(frozen=True)
class SweepRecord:
    """A sweep as its file and its runs' folders hold it.

    Attributes:
        keys: in which the runs differ.
        quantities: names of numbers that any of them has, in their order.
    """

    name: str
    keys: Sequence[str]
    quantities: Sequence[str]
    runs: Sequence[SweptRun]


def read_sweep_record(path: Path) -> SweepRecord:
    """The sweep of a sweep file. Raises UserError for another file."""
    folders = read_sweep(path)
    standings = {folder: read_standing(folder) for folder in folders}
    statuses = {folder: status for folder, (_, status) in standings.items()}
    begun = [folder for folder in folders if statuses[folder]]
    configurations = {
        folder: flatten_keys(with_later_keys(statuses[folder]["config"])) for folder in begun
    }
    keys = differing_keys(configurations.values())
    numbers = _read_last_numbers(begun)
    runs = [
        SweptRun(
            folder.name,
            _describe(folder, *standings[folder]),
            statuses[folder].get("step"),
            {key: configurations[folder].get(key) for key in keys}
            if folder in configurations
            else {},
            numbers.get(folder, {}),
        )
        for folder in folders
    ]
    # those that have not begun come last
    runs.sort(key=lambda run: (not run.keys, [order_of(each) for each in run.keys.values()]))
    quantities = list(dict.fromkeys(name for run in runs for name in run.numbers))
    return SweepRecord(path.stem, keys, quantities, runs)


def _describe(folder: Path, standing: str, status: Mapping[str, Any]) -> State:
    if not folder.exists():
        return State("not begun", "plain")
    if standing == "complete" and not is_complete(folder):
        return State("damaged", "bad", "the command that made the run writes its tables again")
    return describe_state(standing, status)


def _read_last_numbers(folders: Sequence[Path]) -> dict[Path, dict[str, LastNumber]]:
    """Of each run and each kind of number the one of the highest step."""
    rows = read_rows(folders).dropna(subset=["value"])
    of_training = rows["operator"] == "training"
    rows["name"] = rows["quantity"].where(
        of_training, rows["operator"] + " " + rows["quantity"] + " " + rows["reduction"].fillna("")
    )
    # training.csv is read after measurements.csv, and comes first on a page
    rows = rows.assign(later=~of_training).sort_values(
        ["run index", "later", "step"], kind="stable"
    )
    found: dict[Path, dict[str, LastNumber]] = {folder: {} for folder in folders}
    for index, name, value, error in zip(
        *(rows[column] for column in ("run index", "name", "value", "stderr")), strict=True
    ):
        # the later of one name takes the place of the earlier
        found[folders[index]][name] = LastNumber(float(value), _number(error))
    return found


def _number(value: Any) -> float:
    return float("nan") if pd.isna(value) else float(value)
