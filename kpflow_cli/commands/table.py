"""``kpflow table``: many runs as one CSV file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kpflow_cli.commands.arguments import Parser, place_parser, read_places
from kpflow_cli.config.keys import Key
from kpflow_cli.config.paths import read_path
from kpflow_cli.errors import UserError

HELP = "many runs, such as those of a sweep, as one tidy CSV file"
_DESCRIPTION = """\
One tidy CSV file of many complete runs: a row for each number of their measurements.csv and
training.csv, beside the keys in which the runs differ. No durations and no paths; the same runs
give the same bytes, whenever and in whatever order they were made.
"""
_EPILOG = """\
{keys}

  kpflow table runs/sweeps/<hash>.json             the runs of a sweep, into runs/sweeps/<hash>.csv
  kpflow table 'runs/memorypro/gru/*'              all runs of that folder, into table.csv
  kpflow table 'runs/*/*/*' columns=model.units    with a key in which they may all agree

columns of the file:
  run        hash of the run's configuration, the name of its folder
  seed, ...  keys in which the runs differ, such as model.gain, and those of columns=
  step, operator, quantity, reduction, value, stderr, probes
             of measurements.csv; of training.csv the column names as `quantity`, with operator
             `training`
"""


@dataclass
class TableSettings:
    """KEY=VALUE arguments of ``kpflow table``."""

    output: Annotated[
        str, Key("the file; by default beside the sweep file, table.csv for other runs")
    ] = ""
    columns: Annotated[str, Key("further keys, with commas between them")] = ""


def execute(words: list[str]) -> None:
    """Write the table of the runs that the arguments name."""
    places, settings = read_places(words, _parser(), TableSettings)
    if len(places) != 1:
        raise UserError(
            "table takes a sweep file or one quoted glob of run folders, such as "
            "'runs/memorypro/gru/*'"
        )
    from kpflow_cli.sweeps.table import write_table

    write_table(
        read_path(places[0]),
        read_path(settings.output, "output") if settings.output else None,
        [column for column in settings.columns.split(",") if column],
    )


def _parser() -> Parser:
    return place_parser(
        "table",
        "GLOB_OR_SWEEP",
        (_DESCRIPTION, _EPILOG),
        TableSettings,
        (
            "GLOB_OR_SWEEP",
            "the sweep file that `kpflow run -m` names, or a quoted glob of run folders",
        ),
    )
