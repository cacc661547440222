"""Figures one after the other: their list, what they would cost, the making of each."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kpflow_cli.reproduction.building import Figure, build
from kpflow_cli.reproduction.runs import FigureRun, compose_runs, describe_cost
from kpflow_cli.reproduction.specification import FigureSpec
from kpflow_cli.run.reading import is_complete

_LONG_MINUTES = 60


@dataclass(frozen=True)
class Order:
    """Which figures are asked for, and of what runs.

    Attributes:
        overrides: keys of a run, for all of them.
        runs_dir: where runs go, and are looked for.
    """

    specs: Mapping[str, FigureSpec]
    names: Sequence[str]
    profile: str
    overrides: Sequence[str]
    runs_dir: Path

    def minutes(self, name: str) -> float:
        """That a figure takes on 2 cores, from nothing."""
        return self.specs[name].profiles[self.profile].minutes

    def runs(self, name: str) -> list[FigureRun]:
        """Those of a figure. Raises UserError for what cannot be composed."""
        return compose_runs(self.specs[name], self.profile, list(self.overrides), self.runs_dir)


def list_figures(order: Order) -> None:
    """Print what each figure shows, what it costs, and how many of its runs are there."""
    print(f"profile={order.profile}; minutes on 2 cores, from nothing")
    for name in order.names:
        runs = order.runs(name)
        done = sum(is_complete(run.path, run.path.name) for run in runs)
        minutes = f"{order.minutes(name):g} min"
        print(
            f"  {name.removeprefix('fig'):<3} {minutes:>8}  {done} of {len(runs)} runs there  "
            f"{order.specs[name].shows}"
        )


def estimate_figures(order: Order) -> None:
    """Print how long each figure would take on this machine, by trying a little of it."""
    for name, runs in _runs_of_all(order).items():
        _print_cost(name, order.profile, runs)


def make_figures(order: Order, output_dir: Path) -> None:
    """Make the runs of each figure that are missing, and draw it. One of more than an hour says
    first how long it will take.

    Raises UserError, before any work, for runs that cannot be composed, and FailedRunError if one
    fails.
    """
    for name, runs in _runs_of_all(order).items():
        if order.minutes(name) > _LONG_MINUTES:
            _print_cost(name, order.profile, runs)
        code = importlib.import_module(f"kpflow_cli.figures.{name}")
        figure = Figure(name, code.data, code.draw, code.claims)
        build(figure, runs, order.profile, output_dir, order.runs_dir)


def _runs_of_all(order: Order) -> dict[str, list[FigureRun]]:
    return {name: order.runs(name) for name in order.names}


def _print_cost(name: str, profile: str, runs: Sequence[FigureRun]) -> None:
    print(f"{name}, profile {profile}: {describe_cost(runs)}", flush=True)
