"""One figure, start to end: its runs, the table of what is drawn, the drawing, its claims."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kpflow_cli import __version__
from kpflow_cli.reproduction.claims import Claim, table
from kpflow_cli.reproduction.runs import FigureRun, gathered, make_missing
from kpflow_cli.run import provenance
from kpflow_cli.run.folder import Drawing
from kpflow_cli.run.whole_files import csv_bytes, write_whole

# runs named one by one in what a figure leaves; of more, only the record that names them
_LISTED = 50


@dataclass(frozen=True)
class Figure:
    """A figure's code, which knows nothing of configurations and files.

    Attributes:
        name: such as ``fig4``.
        data: from the CSV files of its runs, each stem one table with columns ``run`` and ``seed``,
            to all that is drawn.
        draw, claims: from that table.
    """

    name: str
    data: Callable[[dict[str, pd.DataFrame]], pd.DataFrame]
    draw: Callable[[pd.DataFrame], Drawing]
    claims: Callable[[pd.DataFrame], list[Claim]]


def build(
    figure: Figure, runs: list[FigureRun], profile: str, output_dir: Path, runs_dir: Path
) -> None:
    """Make the runs that are missing, then write ``<name>.pdf``, ``.png``, ``.csv``,
    ``_claims.csv`` and ``.json``; print the claims.

    Raises FailedRunError if a run fails.
    """
    record = make_missing(runs, figure.name, runs_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    drawn = csv_bytes(figure.data(gathered(runs)))
    write_whole(output_dir / f"{figure.name}.csv", drawn)
    # drawing and claims see what a reader of the file sees
    data = pd.read_csv(io.BytesIO(drawn), keep_default_na=False, na_values=[""])
    claims = figure.claims(data)
    write_whole(
        output_dir / f"{figure.name}_claims.csv",
        csv_bytes(pd.DataFrame([claim.row() for claim in claims])),
    )
    hashes = (
        " ".join(dict.fromkeys(run.path.name for run in runs))
        if len(runs) <= _LISTED
        else f"of sweep {record.stem}"
    )
    made_by = f"kpflow {__version__}, {figure.name}, profile {profile}, runs {hashes}"
    drawing = figure.draw(data)
    for suffix, metadata in (
        ("pdf", {"Creator": made_by, "CreationDate": None}),
        ("png", {"Software": made_by}),
    ):
        buffer = io.BytesIO()
        drawing.savefig(buffer, format=suffix, metadata=metadata)
        write_whole(output_dir / f"{figure.name}.{suffix}", buffer.getvalue())
    listed = (
        [{"run": run.name, "seed": run.seed, "folder": str(run.path)} for run in runs]
        if len(runs) <= _LISTED
        else len(runs)
    )
    origin = {
        "figure": figure.name,
        "profile": profile,
        "sweep": str(record),
        "runs": listed,
        **provenance.made_by(),
    }
    write_whole(output_dir / f"{figure.name}.json", (json.dumps(origin, indent=2) + "\n").encode())
    print(f"{figure.name}, profile {profile}\n{table(claims)}")
    print(output_dir / f"{figure.name}.pdf", flush=True)
