"""``kpflow runs``: what runs there are."""

from __future__ import annotations

import os
import sys
import time
import webbrowser
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from kpflow_cli.commands.arguments import Parser
from kpflow_cli.config.paths import read_path
from kpflow_cli.errors import UserError

if TYPE_CHECKING:
    from kpflow_cli.listing.listed_run import ListedRun

HELP = "what runs there are: how far each is, in what they differ; open one, remove some"
_FOLDER = Path("runs")
_DESCRIPTION = """\
The runs in a folder and those below it, of a sweep, or one: task and model, the hash of the
configuration, status, step, time since the last save, size, and the keys in which they differ.
Values that more than three in four of the runs have are left out; --csv has them.
"""
_EPILOG = """\
  kpflow runs                               all in the folder runs, the youngest first
  kpflow runs task=memorypro status=interrupted,diverged
                                            of that task, with one of these statuses
  kpflow runs runs/memorypro/gru model.units=128 sort=model.gain
                                            any key of the configuration filters and sorts
  kpflow runs runs/sweeps/<hash>.json       those of a sweep
  kpflow runs --open <hash>                 the page of a run (`kpflow report`); the beginning of
                                            its hash is enough
  kpflow runs status=failed older=7d --remove
                                            remove some, after a question
  kpflow runs sort=-size --csv              for other programs

filters and order:
  task=             its name, or several with commas between them
  model=            the same
  status=           complete, running, interrupted, diverged, failed; damaged: run.json is not as
                    it was written, or a table is not there
  run=              the beginning of a hash
  older=            time since the last save, such as 90min, 12h, 30d
  newer=            the same
  <key>=            a key of the configuration, such as model.units=64,128
  sort=             age, step, size, task, model, run, status or a key; the other way round after
                    a minus
"""


def execute(words: list[str]) -> None:
    """List the runs that the arguments choose, or open or remove them."""
    asked = _parser().read(words)
    places, filters, sort = _read_words(asked.word)
    if sum((asked.open, asked.remove, asked.csv)) > 1:
        raise UserError("runs takes one of --open, --remove and --csv")
    if asked.yes and not asked.remove:
        raise UserError("--yes: answers the question of --remove, which is not there")
    if asked.remove and not (filters or places):
        raise UserError("--remove: which? name folders, or filters such as status=interrupted")
    from kpflow_cli.listing.selection import in_order, select
    from kpflow_cli.listing.table import lay_out_runs, write_csv

    found, now = _find(places), time.time()
    chosen = in_order(select(found, filters, now), sort)
    if asked.csv:
        print(write_csv(chosen), end="", flush=True)
    elif asked.open:
        _open(chosen)
    elif not chosen:
        print(f"none of {len(found)} runs: {' '.join(filters)}", flush=True)
    else:
        width = get_terminal_size().columns if sys.stdout.isatty() else 10**6
        print(lay_out_runs(chosen, now, width), flush=True)
        if asked.remove:
            from kpflow_cli.listing.removal import remove_runs

            remove_runs(chosen, sure=asked.yes)


def _read_words(words: list[str]) -> tuple[list[Path], list[str], str]:
    """Places to look in, filters, and what to sort by. A word that is no place may be the beginning
    of a hash. Raises UserError for one that is nothing.
    """
    from kpflow_cli.listing.naming import is_hash
    from kpflow_cli.run.standing import STANDINGS

    places, filters, hashes, sort = list[Path](), list[str](), list[str](), "age"
    for word in words:
        if word.startswith("sort="):
            sort = word.removeprefix("sort=")
        elif "=" in word and not read_path(word).exists():
            filters.append(word)
        elif is_hash(word):
            hashes.append(word)
        elif word in STANDINGS and not read_path(word).exists():
            raise UserError(f"{word}: no folder (did you mean 'status={word}'?)")
        else:
            places.append(read_path(word))
    return places, filters + ([f"run={','.join(hashes)}"] if hashes else []), sort


def _find(places: list[Path]) -> list[ListedRun]:
    """Raises UserError where there are none."""
    from kpflow_cli.listing.folders import find_runs
    from kpflow_cli.listing.listed_run import read_run

    if not places and not _FOLDER.exists():
        raise UserError(
            f"{_FOLDER}: no such folder here; `kpflow run` makes it, `kpflow runs FOLDER` looks "
            "elsewhere"
        )
    looked = places or [_FOLDER]
    folders = dict.fromkeys(folder for place in looked for folder in find_runs(place))
    if not folders:
        raise UserError(f"{', '.join(map(str, looked))}: holds no runs of kpflow")
    return [read_run(folder) for folder in folders]


def _open(chosen: list[ListedRun]) -> None:
    """Write the page of a run, show it where there is a browser with a screen, and name its
    file.
    """
    if len(chosen) != 1:
        raise UserError(f"--open: takes one run, and these are {len(chosen)}; its hash names it")
    from kpflow_cli.report.places import write_report

    page = write_report(str(chosen[0].path), None)
    _show(page)
    print(page, flush=True)


def _show(page: Path) -> None:
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    if not sys.platform.startswith("linux") or any(os.environ.get(each) for each in screens):
        webbrowser.open(page.resolve().as_uri())


def _parser() -> Parser:
    parser = Parser("runs", "[PLACE ...] [KEY=VALUE ...] [OPTION]", _DESCRIPTION, _EPILOG)
    parser.add_argument(
        "word",
        nargs="*",
        metavar="PLACE",
        help=f"a folder with runs below it, a run folder, a sweep file; default {_FOLDER}",
    )
    parser.add_argument("--open", action="store_true", help="the page of the one that is chosen")
    parser.add_argument("--remove", action="store_true", help="remove what is listed, if asked so")
    parser.add_argument("--yes", action="store_true", help="remove without a question")
    parser.add_argument("--csv", action="store_true", help="all keys that differ, as CSV")
    return parser
