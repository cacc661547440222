"""The numbers of many runs, a row each: files of one form are read as one, thousands in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kpflow_cli.run.whole_files import read_csv_bytes

VALUES = ["step", "operator", "quantity", "reduction", "value", "stderr", "probes"]
_RUN, _FILE = "run index", "file index"
_WORDS = ("operator", "quantity", "reduction")


@dataclass(frozen=True)
class _Kind:
    """A table that runs have.

    Attributes:
        dtypes: of columns that pandas would not find out.
        tidy: from its columns to a row a number; rows of one run stay together.
    """

    name: str
    dtypes: dict[str, str]
    tidy: Callable[[pd.DataFrame], pd.DataFrame]


def read_rows(runs: Sequence[Path], seen: Iterable[Path] | None = None) -> pd.DataFrame:
    """Rows of measurements.csv, then of training.csv, of each run in turn, with the index of the
    run in the column ``run index``. ``seen`` is ``runs`` for one who watches them go by.
    """
    files: dict[tuple[int, bytes], list[tuple[int, bytes]]] = {}
    for index, run in enumerate(runs if seen is None else seen):
        for place, kind in enumerate(_KINDS):
            try:
                header, _, body = (run / f"{kind.name}.csv").read_bytes().partition(b"\n")
            except FileNotFoundError:
                continue
            files.setdefault((place, header), []).append((index, body))
    parts = []
    for (place, header), bodies in files.items():
        kind = _KINDS[place]
        # what is no plain number or word has a meaning within its own file alone
        alike = not any(b'"' in body for _, body in bodies)
        table = _read(kind, header, bodies) if alike else None
        tables = (
            [table]
            if table is not None and _is_plain(table)
            else [_read(kind, header, [each]) for each in bodies]
        )
        # columns without a row have no type to give
        parts += [kind.tidy(each).assign(**{_FILE: place}) for each in tables if len(each)]
    if not parts:
        return pd.DataFrame(columns=[_RUN, *VALUES])
    gathered = pd.concat(parts, ignore_index=True)
    ordered = gathered.sort_values([_RUN, _FILE], kind="stable", ignore_index=True)
    return ordered.reindex(columns=[_RUN, *VALUES])


def column_of(values: Sequence[Any], rows: pd.Series[int]) -> pd.Series[Any]:
    """A value a run as a value a row, of the type that they all have in common."""
    kinds = {type(value) for value in values}
    column = (
        pd.Series(list(values))
        if len(kinds) == 1
        else pd.concat([pd.Series([value]) for value in values], ignore_index=True)
    )
    return column.take(rows.to_numpy()).reset_index(drop=True)


def _read(kind: _Kind, header: bytes, bodies: Sequence[tuple[int, bytes]]) -> pd.DataFrame:
    """Files with one header as one table, with the index of each row's run."""
    ended = [body if body.endswith(b"\n") or not body else body + b"\n" for _, body in bodies]
    table = read_csv_bytes(b"\n".join([header, b"".join(ended)]), dtype=kind.dtypes)
    counts = [body.count(b"\n") for body in ended] if len(bodies) > 1 else [len(table)]
    table[_RUN] = np.repeat([index for index, _ in bodies], counts)
    return table


def _is_plain(table: pd.DataFrame) -> bool:
    """Whether a table of many files is what it would be of each alone: numbers, in order."""
    numbers = table.drop(columns=[name for name in _WORDS if name in table])
    return all(dtype.kind in "iuf" for dtype in numbers.dtypes)


def _tidy_measurements(table: pd.DataFrame) -> pd.DataFrame:
    return table


def _tidy_training(table: pd.DataFrame) -> pd.DataFrame:
    """Its columns one after the other at each step, by their names as quantities."""
    melted = table.melt(["step", _RUN], var_name="quantity", ignore_index=False)
    return melted.sort_values([_RUN, "step"], kind="stable").assign(operator="training")


_KINDS = (
    _Kind("measurements", {"probes": "Int64"}, _tidy_measurements),
    _Kind("training", {}, _tidy_training),
)
