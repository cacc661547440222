"""``kpflow report``: a page of a run, of a sweep or of the figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kpflow_cli.commands.arguments import Parser, describe_keys, read_keys
from kpflow_cli.config.keys import Key
from kpflow_cli.config.paths import read_path
from kpflow_cli.errors import UserError

HELP = "a page to look at: a run, a sweep or the figures, as one HTML file"
_DESCRIPTION = """\
One HTML file that opens from disk and needs nothing else, no network either: of a run its plots,
numbers, configuration and what made it; of a sweep all its runs in a table to sort and filter, and
maps over any two swept keys; of figures each drawing with its claims, verdicts and reasons.
"""
_EPILOG = """\
{keys}

  kpflow report runs/memorypro/gru/<hash>          a run, of `kpflow measure` too: report.html in
                                                   its folder; one that is still at work as it is
  kpflow report runs/sweeps/<hash>.json            a sweep: runs/sweeps/<hash>.html
  kpflow report 'runs/memorypro/gru/*'             all runs of that folder: report.html
  kpflow report figures                            the figures in figures/output, as report.html
                                                   there
  kpflow report figures/reference output=all.html  those that a folder keeps the numbers of
"""


@dataclass
class ReportSettings:
    """KEY=VALUE arguments of ``kpflow report``."""

    output: Annotated[str, Key("the HTML file; by default beside what it shows")] = ""


def execute(words: list[str]) -> None:
    """Write the page of what the arguments name; the last line of output names the file."""
    words = _parser().read(words).word
    places = [word for word in words if "=" not in word]
    settings = read_keys([word for word in words if "=" in word], ReportSettings, "no option")
    if len(places) != 1:
        raise UserError(
            "report takes one run folder, sweep file, quoted glob of run folders, or `figures`; "
            f"got {' '.join(places) or 'none'}"
        )
    from kpflow_cli.report.places import write_report

    output = read_path(settings.output, "output") if settings.output else None
    print(write_report(places[0], output), flush=True)


def _parser() -> Parser:
    parser = Parser(
        "report",
        "RUN|SWEEP|figures [KEY=VALUE ...]",
        _DESCRIPTION,
        _EPILOG.format(keys=describe_keys(ReportSettings)),
    )
    parser.add_argument(
        "word",
        nargs="*",
        metavar="RUN|SWEEP|figures",
        help="a run folder; a sweep file or a quoted glob of run folders; `figures`, or a folder "
        "with figN.csv in it",
    )
    return parser
