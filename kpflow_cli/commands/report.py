"""``kpflow report``: a page of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kpflow_cli.commands.arguments import Parser, describe_keys, read_keys
from kpflow_cli.config.keys import Key
from kpflow_cli.config.paths import read_path
from kpflow_cli.errors import UserError

HELP = "a page to look at: all of a run as one HTML file"
_DESCRIPTION = """\
All of a run as one HTML file, which opens from disk and needs nothing else, no network either: its
plots and numbers, its configuration with what was changed, what made it, what is missing or
damaged. The last line of output names the file.
"""
_EPILOG = """\
{keys}

  kpflow report runs/memorypro/gru/<hash>            report.html in the run's folder; of
                                                     `kpflow measure` too, and of a run at work
  kpflow report runs/memorypro/gru/<hash> output=gru.html
                                                     elsewhere
"""


@dataclass
class ReportSettings:
    """KEY=VALUE arguments of ``kpflow report``."""

    output: Annotated[str, Key("the HTML file; report.html in the run folder by default")] = ""


def execute(words: list[str]) -> None:
    """Write the page of what the arguments name; the last line of output names the file."""
    words = _parser().read(words).word
    places = [word for word in words if "=" not in word]
    settings = read_keys([word for word in words if "=" in word], ReportSettings, "no option")
    if len(places) != 1:
        raise UserError(
            "report takes one run folder, such as runs/memorypro/gru/<hash>; got "
            f"{' '.join(places) or 'none'}"
        )
    from kpflow_cli.report.places import write_report

    output = read_path(settings.output, "output") if settings.output else None
    print(write_report(places[0], output), flush=True)


def _parser() -> Parser:
    parser = Parser(
        "report",
        "RUN [KEY=VALUE ...]",
        _DESCRIPTION,
        _EPILOG.format(keys=describe_keys(ReportSettings)),
    )
    parser.add_argument(
        "word",
        nargs="*",
        metavar="RUN",
        help="a run folder",
    )
    return parser
