"""Figures one after the other: their list, what they would cost, the making of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kpflow_cli.attempts import Failure, raise_failures
from kpflow_cli.config.compositions import Compositions
from kpflow_cli.config.paths import refuse_unwritable
from kpflow_cli.errors import FailedRunError, UserError
from kpflow_cli.reproduction.runs import FigureRun, compose_runs, describe_cost, find_missing
from kpflow_cli.reproduction.specification import FigureSpec
from kpflow_cli.run.reading import is_complete

if TYPE_CHECKING:
    from kpflow_cli.reproduction.figure_code import Figure
    from kpflow_cli.reproduction.pictures import Output

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
    _known: Compositions = field(default_factory=Compositions)

    def minutes(self, name: str) -> float:
        """That a figure takes on 2 cores, from nothing."""
        return self.specs[name].profiles[self.profile].minutes

    def runs(self, name: str, *, checked: bool = True) -> list[FigureRun]:
        """Those of a figure. Raises UserError for what cannot be composed."""
        return compose_runs(
            self.specs[name],
            self.profile,
            list(self.overrides),
            self.runs_dir,
            self._known,
            checked=checked,
        )


def list_figures(order: Order) -> None:
    """Print what each figure shows, what it costs, and how many of its runs are there."""
    print(f"profile={order.profile}; minutes on 2 cores, from nothing")
    for name in order.names:
        # the program's own values are checked where they are used; torch takes seconds
        runs = order.runs(name, checked=bool(order.overrides))
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


def make_figures(order: Order, output: Output) -> None:
    """Make the runs of each figure that are missing, and draw it. One of more than an hour says
    first how long it will take.

    All is checked before the first run. A figure that cannot be made is left out, the others are
    made: at the end FailedRunError names those that were not made and why, or UserError, where none
    could be. Raises UserError for a folder that cannot be written.
    """
    # plots and tables take a second to load, which a list of figures does without
    from kpflow_cli.reproduction.building import build

    refuse_unwritable(output.folder, "output_dir")
    refuse_unwritable(order.runs_dir, "runs_dir")
    failures: list[Failure] = []
    ready = {}
    for name in order.names:
        try:
            ready[name] = _prepare(name, order)
        except UserError as error:
            _tell(name, error, order)
            failures.append((name, error))
    for name, (figure, runs) in ready.items():
        if order.minutes(name) > _LONG_MINUTES:
            _print_cost(name, order.profile, runs)
        try:
            build(
                figure,
                runs,
                output,
                profile=order.profile,
                overrides=order.overrides,
                runs_dir=order.runs_dir,
            )
        except (UserError, FailedRunError) as error:
            _tell(name, error, order)
            failures.append((name, error))
    if len(order.names) == 1 and failures:
        raise failures[0][1]
    raise_failures(failures, len(order.names), "figures were not made")


def _prepare(name: str, order: Order) -> tuple[Figure, list[FigureRun]]:
    """The code of a figure and its runs. Raises UserError for what any of them would refuse."""
    from kpflow_cli.reproduction.figure_code import load_figure

    figure = load_figure(name)
    runs = order.runs(name)
    missing = find_missing(runs)
    if missing:
        from kpflow_cli.sweeps.checking import check_points

        check_points(missing)
    return figure, runs


def _tell(name: str, error: Exception, order: Order) -> None:
    """That a figure is left out, at once, where others are still to be made."""
    if len(order.names) > 1:
        print(f"{name} is not made: {error}", flush=True)


def _runs_of_all(order: Order) -> dict[str, list[FigureRun]]:
    return {name: order.runs(name) for name in order.names}


def _print_cost(name: str, profile: str, runs: Sequence[FigureRun]) -> None:
    print(f"{name}, profile {profile}: {describe_cost(runs)}", flush=True)
