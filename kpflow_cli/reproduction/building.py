"""One figure, start to end: its runs, the table of what is drawn, the drawing, its claims."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from kpflow_cli import __version__
from kpflow_cli.errors import FailedRunError
from kpflow_cli.reproduction.claims import list_claims
from kpflow_cli.reproduction.figure_code import Figure, read_figure_table, write_numbers
from kpflow_cli.reproduction.pictures import Output, save_pictures
from kpflow_cli.reproduction.runs import FigureRun, gather_tables, make_missing
from kpflow_cli.run import provenance
from kpflow_cli.run.whole_files import csv_bytes

# runs named one by one in what a figure leaves; of more, only the sweep file that lists them
_LISTED = 50


def build(
    figure: Figure,
    runs: list[FigureRun],
    output: Output,
    *,
    profile: str,
    overrides: Sequence[str],
    runs_dir: Path,
) -> None:
    """Make the runs that are missing, then write ``<name>.csv``, ``_claims.csv``, ``.json`` and the
    pictures; print the claims.

    Raises FailedRunError if a run fails.
    """
    sweep_file = make_missing(runs, figure.name, runs_dir)
    output.folder.mkdir(parents=True, exist_ok=True)
    content = csv_bytes(_gather(figure, runs))
    # drawing and claims see what a reader of the file sees
    data = read_figure_table(content)
    claims = figure.claims(data)
    origin = {
        "figure": figure.name,
        "profile": profile,
        "seeds": sorted({run.seed for run in runs}),
        "changed": [word for word in overrides if not word.startswith("seed=")],
        "sweep": str(sweep_file),
        "runs": _list_runs(runs),
        **provenance.made_by(),
    }
    origin = write_numbers(figure.name, content, claims, origin, output.folder)
    made_by = f"kpflow {__version__}, {figure.name}, profile {profile}, runs "
    made_by += _name_folders(runs, sweep_file)
    written = save_pictures(figure.name, figure.draw(data), output, made_by, origin)
    print(f"{figure.name}, profile {profile}\n{list_claims(claims)}")
    print(written[0], flush=True)


def _gather(figure: Figure, runs: list[FigureRun]) -> pd.DataFrame:
    """All that is drawn. Raises FailedRunError where the runs hold less than that, as keys of one's
    own can make them.
    """
    try:
        return figure.data(gather_tables(runs))
    except (KeyError, IndexError, ValueError) as error:
        raise FailedRunError(
            f"{figure.name}: its runs do not hold what it shows ({type(error).__name__}: {error}); "
            "keys of `analysis` say what is measured"
        ) from error


def _name_folders(runs: list[FigureRun], sweep_file: Path) -> str:
    if len(runs) > _LISTED:
        return f"of sweep {sweep_file.stem}"
    return " ".join(dict.fromkeys(run.path.name for run in runs))


def _list_runs(runs: list[FigureRun]) -> list[dict[str, Any]] | int:
    """What each run is and where; of many only how many there are."""
    if len(runs) > _LISTED:
        return len(runs)
    return [
        {"run": run.name, "seed": run.seed, **run.axes, "folder": str(run.path)} for run in runs
    ]
