"""``kpflow figure``: figures of the paper from their runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from kpflow_cli.commands.arguments import Parser, describe_keys, read_keys
from kpflow_cli.config.keys import Key
from kpflow_cli.config.paths import read_path
from kpflow_cli.errors import UserError, nearest

if TYPE_CHECKING:
    from kpflow_cli.reproduction.specification import FigureSpec

HELP = "make the runs of a figure of the paper, draw it and check its claims"
_DESCRIPTION = """\
Make the runs that a figure needs, but for those that are there already, and draw it from their CSV
files. The same command continues what was interrupted. Writes figN.pdf, figN.png, figN.csv (the
numbers drawn), figN_claims.csv and figN.json (what made them).

With --from it is drawn from the numbers that a folder keeps, without any run: figN.csv or
figN.csv.gz, and figN.json. figures/reference keeps those of the paper's size. Figures that are not
named are all that the folder keeps.
"""
_EPILOG = """\
{keys}

  kpflow figure 3                      figure 3, small networks: minutes
  kpflow figure 4                      figure 4 and its companion 4b; `4b` for that alone
  kpflow figure 3 profile=paper        networks and trainings of the paper's size: hours
  kpflow figure 1 2 7 8                several
  kpflow figure 3 seed=5 model.gain=2  other runs: keys of `kpflow run` (`kpflow run --help`)
  kpflow figure 3 --from figures/reference
                                       figure 3 at the paper's size, from kept numbers: seconds
  kpflow figure --from figures/output formats=png,svg dpi=110
                                       all that were made, drawn anew: only pictures are written
"""

# keys that tell nothing of runs
_OF_PICTURES = ("output_dir=", "formats=", "dpi=", "palette=")


@dataclass
class FigureSettings:
    """KEY=VALUE arguments of ``kpflow figure``; others are keys of its runs."""

    profile: Annotated[str, Key("how large its runs are, quick or paper")] = "quick"
    output_dir: Annotated[str, Key("where the figure goes")] = "figures/output"
    runs_dir: Annotated[str, Key("where its runs go, and are looked for")] = "runs"
    formats: Annotated[str, Key("of its pictures, of pdf, png and svg, with commas between")] = (
        "pdf,png"
    )
    dpi: Annotated[int, Key("pixels an inch of its pictures", at_least=20, at_most=2000)] = 200
    palette: Annotated[bool, Key("a PNG has 256 colours, and a third of the size")] = False


@dataclass(frozen=True)
class Asked:
    """The arguments of one command.

    Attributes:
        names: of the figures, each with its companions; all that have the profile, for a list of
            none in particular, and none for all that a folder keeps.
        overrides: keys of the runs.
        formats: of the pictures, with commas between.
        kept: folder whose numbers are drawn, in place of runs.
    """

    names: list[str]
    overrides: list[str]
    profile: str
    output_dir: Path
    runs_dir: Path
    formats: str
    dpi: int
    palette: bool
    lists: bool
    estimates: bool
    kept: Path | None = None


def execute(words: list[str]) -> None:
    """List, estimate or make the figures that the arguments name."""
    from kpflow_cli.reproduction.specification import read_figure_specs

    specs = read_figure_specs()
    asked = read_arguments(words, specs)
    from kpflow_cli.reproduction.pictures import Output, read_formats

    output = Output(asked.output_dir, read_formats(asked.formats), asked.dpi, asked.palette)
    if asked.kept is not None:
        from kpflow_cli.reproduction import kept

        if asked.lists:
            kept.list_kept(asked.names, asked.kept, specs)
        else:
            kept.redraw_figures(asked.names, asked.kept, output)
        return
    from kpflow_cli.reproduction import command

    order = command.Order(specs, asked.names, asked.profile, asked.overrides, asked.runs_dir)
    if asked.lists:
        command.list_figures(order)
    elif asked.estimates:
        command.estimate_figures(order)
    else:
        command.make_figures(order, output)


def read_arguments(words: list[str], specs: Mapping[str, FigureSpec]) -> Asked:
    """What the words ask for. Raises UserError that names a bad one."""
    parser = build_parser()
    read, unknown = parser.parse_known_intermixed_args(words)
    own = tuple(f"{declared.name}=" for declared in fields(FigureSettings))
    settings = read_keys(
        [word for word in read.word if word.startswith(own)], FigureSettings, "no key"
    )
    named = [word for word in read.word if "=" not in word] + unknown
    names = list(
        dict.fromkeys(
            name for word in named for name in _find_figures(word, specs, parser.options())
        )
    )
    overrides = [word for word in read.word if "=" in word and not word.startswith(own)]
    kept = None if read.kept is None else read_path(read.kept, "--from")
    if kept is not None:
        _refuse_beside_kept([word for word in read.word if "=" in word], estimates=read.estimate)
    else:
        _check_profile(settings.profile, names, specs)
        if not names and not read.list:
            raise UserError(
                f"which figure? {_numbers(specs)}; `kpflow figure --list` says what they show"
            )
        names = names or [name for name, spec in specs.items() if settings.profile in spec.profiles]
    return Asked(
        names,
        overrides,
        settings.profile,
        read_path(settings.output_dir, "output_dir"),
        read_path(settings.runs_dir, "runs_dir"),
        settings.formats,
        settings.dpi,
        settings.palette,
        read.list,
        read.estimate,
        kept,
    )


def build_parser() -> Parser:
    """Its options."""
    parser = Parser(
        "figure",
        "NUMBER ... [KEY=VALUE ...] [--estimate]\n"
        "       kpflow figure [NUMBER ...] --from FOLDER [output_dir=FOLDER]\n"
        "       kpflow figure --list [KEY=VALUE ...] [--from FOLDER]",
        _DESCRIPTION,
        _EPILOG.format(keys=describe_keys(FigureSettings)),
    )
    parser.add_argument(
        "word", nargs="*", metavar="NUMBER", help="figures, and KEY=VALUE of the keys below"
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="what each shows, what it costs, whether its runs are there; with --from what is kept",
    )
    parser.add_argument(
        "--estimate",
        action="store_true",
        help="how long it would take on this machine, by trying a little of it; one of more than "
        "an hour says it unasked before it starts",
    )
    parser.add_argument(
        "--from",
        dest="kept",
        metavar="FOLDER",
        help="draw from the numbers that a folder keeps, such as figures/reference; no runs",
    )
    return parser


def _refuse_beside_kept(keys: Sequence[str], *, estimates: bool) -> None:
    """Raises UserError for what speaks of runs, of which kept numbers need none."""
    if estimates:
        raise UserError("--estimate tells what runs would take; --from needs none")
    for word in keys:
        if not word.startswith(_OF_PICTURES):
            raise UserError(
                f"{word}: is said of runs, and --from draws kept numbers as they are; valid "
                f"beside it: {', '.join(_OF_PICTURES)}"
            )


def _find_figures(word: str, specs: Mapping[str, FigureSpec], options: list[str]) -> list[str]:
    """``4`` is fig4 and its companions fig4b, ..., ``4b`` the companion alone."""
    found = [
        name
        for name in specs
        if re.fullmatch(rf"(fig)?{re.escape(word)}[a-z]?", name) or name == word
    ]
    if word.startswith("-") or not found:
        close = nearest(word, [*(name.removeprefix("fig") for name in specs), *options])
        raise UserError(f"no figure '{word}'{close}; there are {_numbers(specs)}")
    return found


def _check_profile(profile: str, names: list[str], specs: Mapping[str, FigureSpec]) -> None:
    valid = sorted({each for name in names or specs for each in specs[name].profiles})
    if profile not in valid:
        raise UserError.unknown("profile", profile, valid)
    for name in names:
        if profile not in specs[name].profiles:
            raise UserError(
                f"{name} has no profile={profile}; valid: {', '.join(specs[name].profiles)}"
            )


def _numbers(names: Iterable[str]) -> str:
    return ", ".join(name.removeprefix("fig") for name in names)
