"""``kpflow report``: a page of a run, a sweep, or figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from kpflow_cli.commands.arguments import Parser, place_parser, read_places
from kpflow_cli.config.keys import Key
from kpflow_cli.config.paths import read_path
from kpflow_cli.errors import UserError

HELP = "a page to look at: all of a run, a sweep or figures as one HTML file"
_DESCRIPTION = """\
Write one HTML file to look at, which opens from disk and needs nothing else, no network either; the
last line of output names it. Of a run: its plots and numbers, its configuration with
what was changed, what made it, what is missing or damaged. Of a sweep: its runs as a table that
sorts and filters, and a map of any number over two of the keys in which they differ. Of figures:
each with its claims, verdicts and reasons.
"""
_EPILOG = """\
{keys}

  kpflow report runs/memorypro/gru/<hash>          report.html in the run's folder; of
                                                   `kpflow measure` too, and of a run at work
  kpflow report runs/sweeps/<hash>.json            a sweep, as runs/sweeps/<hash>.html
  kpflow report figures                            the figures in figures/output
  kpflow report figures/reference output=all.html  those of another folder, in a file of your
                                                   own
"""


@dataclass
class ReportSettings:
    """KEY=VALUE arguments of ``kpflow report``."""

    output: Annotated[
        str, Key("the HTML file; by default report.html in the folder, or beside the sweep file")
    ] = ""
    charts: Annotated[
        Literal["drawn", "interactive"],
        Key(
            "of a run: drawn as they are saved, or interactive, with tooltips and zoom (1 MB more, "
            "needs the extra report)"
        ),
    ] = "drawn"


def execute(words: list[str]) -> None:
    """Write the page of what the arguments name; the last line of output names the file."""
    places, settings = read_places(words, _parser(), ReportSettings)
    if len(places) != 1:
        raise UserError(
            "report takes one run folder, sweep file or folder of figures, such as "
            "runs/memorypro/gru/<hash>; got "
            f"{' '.join(places) or 'none'}"
        )
    from kpflow_cli.report.places import write_report

    output = read_path(settings.output, "output") if settings.output else None
    print(write_report(places[0], output, interactive=settings.charts == "interactive"), flush=True)


def _parser() -> Parser:
    return place_parser(
        "report",
        "RUN|SWEEP|figures",
        (_DESCRIPTION, _EPILOG),
        ReportSettings,
        ("PLACE", "a run folder, a sweep file, a folder of figures, or the word figures"),
    )
