"""``kpflow figure``: its arguments, its list, and the figures it finds."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from kpflow_cli.errors import UserError, nearest
from kpflow_cli.reproduction.runs import compose_runs as figure_runs
from kpflow_cli.reproduction.runs import describe_cost as cost
from kpflow_cli.reproduction.specification import FigureSpec
from kpflow_cli.reproduction.specification import read_figure_specs as figure_specs
from kpflow_cli.run.folder import is_complete

HELP = """\
usage: kpflow figure NUMBER ... [profile=quick] [KEY=VALUE ...] [--estimate]
       kpflow figure --list [profile=quick]

Make the runs that a figure needs, but for those that are there already, and draw it from their CSV files. The same command continues what
was interrupted. Writes figN.pdf, figN.png, figN.csv (the numbers drawn), figN_claims.csv and figN.json (what made them).

  kpflow figure 3                      figure 3, small networks: minutes
  kpflow figure 4                      figure 4 and its companion 4b; `4b` for that alone
  kpflow figure 3 profile=paper        networks and trainings of the paper's size: hours
  kpflow figure 1 2 7 8                several
  kpflow figure 3 seed=5 model.gain=2  other runs: keys of `kpflow run` (`kpflow run --help`)
  kpflow figure 5 --estimate           how long it would take on this machine, by trying a little of it; one of more than an hour says it
                                       unasked before it starts
  kpflow figure --list                 what each shows, what it costs, whether its runs are there

  profile=quick                        or paper
  output_dir=figures/output            where the figure goes
  runs_dir=runs                        where its runs go, and are looked for
"""


_LONG_MINUTES = 60


@dataclass
class Arguments:
    """Of one command, read."""

    names: list[str] = field(default_factory=list)
    profile: str = "quick"
    output_dir: Path = Path("figures/output")
    runs_dir: Path = Path("runs")
    overrides: list[str] = field(default_factory=list)
    lists: bool = False
    estimates: bool = False


def parsed(words: list[str], specs: dict[str, FigureSpec]) -> Arguments:
    """The arguments, each figure with its companions. Raises UserError that names a bad one."""
    arguments = Arguments()
    for word in words:
        key, equals, value = word.partition("=")
        if word == "--list":
            arguments.lists = True
        elif word == "--estimate":
            arguments.estimates = True
        elif key in ("output_dir", "runs_dir") and equals:
            setattr(arguments, key, Path(value).expanduser())
        elif key == "profile" and equals:
            arguments.profile = value
        elif equals:
            arguments.overrides.append(word)
        else:
            arguments.names += _named(word, specs)
    profiles = sorted(
        {profile for name in arguments.names or specs for profile in specs[name].profiles}
    )
    if arguments.profile not in profiles:
        raise UserError.unknown("profile", arguments.profile, profiles)
    without = [name for name in arguments.names if arguments.profile not in specs[name].profiles]
    if without:
        raise UserError(
            f"{without[0]} has no profile={arguments.profile}; valid: "
            f"{', '.join(specs[without[0]].profiles)}"
        )
    if not arguments.names and not arguments.lists:
        raise UserError(
            f"which figure? {_numbers(specs)}; `kpflow figure --list` says what they show"
        )
    arguments.names = list(dict.fromkeys(arguments.names))
    return arguments


def _named(word: str, specs: dict[str, FigureSpec]) -> list[str]:
    """``4`` is fig4 and its companions fig4b, ..., ``4b`` the companion alone."""
    found = [
        name
        for name in specs
        if re.fullmatch(rf"(fig)?{re.escape(word)}[a-z]?", name) or name == word
    ]
    if word.startswith("-") or not found:
        raise UserError(
            f"no figure '{word}'{nearest(word, [name.removeprefix('fig') for name in specs])}; "
            f"there are {_numbers(specs)}"
        )
    return found


def _numbers(specs: dict[str, FigureSpec]) -> str:
    return ", ".join(name.removeprefix("fig") for name in specs)


def figure(words: list[str]) -> None:
    """Do what the arguments say. Raises UserError for a mistake in them, FailedRunError if a run
    fails.
    """
    specs = figure_specs()
    arguments = parsed(words, specs)
    if arguments.lists:
        _list(specs, arguments)
        return
    from kpflow_cli.reproduction.building import Figure, build

    plans = {
        name: figure_runs(specs[name], arguments.profile, arguments.overrides, arguments.runs_dir)
        for name in arguments.names
    }
    for name, runs in plans.items():
        if arguments.estimates or specs[name].profiles[arguments.profile].minutes > _LONG_MINUTES:
            print(f"{name}, profile {arguments.profile}: {cost(runs)}", flush=True)
        if arguments.estimates:
            continue
        code = importlib.import_module(f"kpflow_cli.figures.{name}")
        build(
            Figure(name, code.data, code.draw, code.claims),
            runs,
            arguments.profile,
            arguments.output_dir,
            arguments.runs_dir,
        )


def _list(specs: dict[str, FigureSpec], arguments: Arguments) -> None:
    names = arguments.names or [
        name for name, spec in specs.items() if arguments.profile in spec.profiles
    ]
    print(f"profile={arguments.profile}; minutes on 2 cores, from nothing")
    for name in names:
        runs = figure_runs(specs[name], arguments.profile, arguments.overrides, arguments.runs_dir)
        done = sum(is_complete(run.path) for run in runs)
        cost = f"{specs[name].profiles[arguments.profile].minutes:g} min"
        print(
            f"  {name.removeprefix('fig'):<3} {cost:>8}  {done} of {len(runs)} runs there  "
            f"{specs[name].shows}"
        )
