"""Many runs as one tidy table, configuration columns beside values."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from kpflow_cli.config.validation import with_later_keys
from kpflow_cli.errors import UserError, nearest
from kpflow_cli.progress_bar import ProgressBar
from kpflow_cli.run.identity import flatten_keys
from kpflow_cli.run.reading import is_complete, read_status
from kpflow_cli.run.whole_files import csv_bytes, write_whole
from kpflow_cli.sweeps.run_rows import column_of, read_rows
from kpflow_cli.sweeps.sweep_file import read_sweep


def write_table(place: Path, output: Path | None, columns: list[str]) -> None:
    """Write one CSV file of the complete runs of a sweep file or a glob, and print its name: by
    default beside the sweep file, ``table.csv`` for a glob.

    Raises UserError where there are no complete runs, for a column that is no key of any, and for
    a file that cannot be written.
    """
    is_sweep = place.is_file()
    folders = read_sweep(place) if is_sweep else _find_folders(str(place))
    runs = sorted(
        (folder for folder in folders if is_complete(folder)), key=lambda folder: folder.name
    )
    if not runs:
        raise UserError(f"{place}: no complete runs there")
    if is_sweep and len(runs) < len(folders):
        print(
            f"kpflow: {len(folders) - len(runs)} of {len(folders)} runs are not complete and are "
            "left out",
            file=sys.stderr,
        )
    output = output or (place.with_suffix(".csv") if is_sweep else Path("table.csv"))
    try:
        write_whole(output, csv_bytes(gather(runs, columns)))
    except OSError as error:
        raise UserError(f"output={output}: cannot be written ({error.strerror})") from None
    print(output, flush=True)


def _find_folders(pattern: str) -> list[Path]:
    # pathlib's own refuses some patterns, absolute ones among them
    return sorted(Path(found) for found in glob.glob(pattern))  # noqa: PTH207


def gather(runs: list[Path], columns: list[str]) -> pd.DataFrame:
    """One table of runs that are complete, in the order of their configurations. Raises UserError
    for a column that is no key of any.
    """
    configurations = {
        run: flatten_keys(with_later_keys(read_status(run)["config"])) for run in runs
    }
    keys = _all_keys(configurations.values())
    unknown = [column for column in columns if column not in keys]
    if unknown:
        raise UserError(f"columns={unknown[0]}: no key of these runs{nearest(unknown[0], keys)}")
    differing = differing_keys(configurations.values())
    shown = [
        key
        for key in ["seed", *(key for key in keys if key != "seed")]
        if key in ("seed", *columns, *differing)
    ]
    heads = {run: {key: configurations[run].get(key) for key in shown} for run in runs}
    ordered = sorted(runs, key=lambda run: ([order_of(heads[run][key]) for key in shown], run.name))
    rows = read_rows(ordered, ProgressBar(ordered, unit="run", desc="table", delay=1.0))
    index = rows.pop("run index")
    columns_in_front = {"run": [run.name for run in ordered]} | {
        key: [_plain(heads[run][key]) for run in ordered] for key in shown
    }
    for place, (name, values) in enumerate(columns_in_front.items()):
        rows.insert(place, name, column_of(values, index))
    return rows


def differing_keys(configurations: Iterable[Mapping[str, Any]]) -> list[str]:
    """Keys of flat configurations that do not have one value in all of them, in their order."""
    every = list(configurations)
    return [
        key
        for key in _all_keys(every)
        if len({_text(configuration.get(key)) for configuration in every}) > 1
    ]


def _all_keys(configurations: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for configuration in configurations for key in configuration))


def _plain(value: Any) -> Any:
    return _text(value) if isinstance(value, list | dict) else value


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def order_of(value: Any) -> tuple[int, float, str]:
    """Numbers by size, then words by the alphabet, whatever a column holds."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return (0, float(value), "") if number else (1, 0.0, _text(value))
