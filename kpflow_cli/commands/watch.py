"""``kpflow watch``: a run as it goes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kpflow_cli.commands.arguments import Parser, place_parser, read_places
from kpflow_cli.config.keys import Key
from kpflow_cli.errors import UserError

HELP = "a run as it goes: step, time left, loss, effective ranks and alignment of NTK_S"
_FOLDER = Path("runs")
_DESCRIPTION = """\
Show a run as it goes, read from its folder, in which nothing is touched: on a terminal all that is
known, drawn anew in place with a curve for each quantity; elsewhere a line for each step that is
measured. Ends with the run: exit status 1 where it did not end complete. Ctrl-C ends the watching
alone.
"""
_EPILOG = """\
{keys}

  kpflow watch                                the one run that is running in runs
  kpflow watch runs/memorypro/gru/<hash>      this one, from any terminal that sees its folder
  kpflow watch <hash>                         the beginning of its hash is enough
  kpflow watch <hash> every=30                a look every 30 seconds, for a slow disk
"""


@dataclass
class WatchSettings:
    """KEY=VALUE arguments of ``kpflow watch``."""

    every: Annotated[float, Key("seconds between two looks", at_least=0.05, at_most=86400)] = 1.0


def execute(words: list[str]) -> None:
    """Show the run that the arguments name until it ends."""
    places, settings = read_places(words, _parser(), WatchSettings)
    if len(places) > 1:
        raise UserError(f"watch takes one run, got {' '.join(places)}")
    from kpflow_cli.listing.naming import find_run, find_running
    from kpflow_cli.watching.watch import watch

    folder = find_run(places[0], _FOLDER) if places else find_running(_FOLDER)
    try:
        watch(folder, settings.every, sys.stdout)
    except KeyboardInterrupt:
        # the run is another process, and nothing to go on with
        sys.exit(130)


def _parser() -> Parser:
    return place_parser(
        "watch",
        "[RUN]",
        (_DESCRIPTION, _EPILOG),
        WatchSettings,
        ("RUN", "a run folder, or the beginning of its hash"),
    )
