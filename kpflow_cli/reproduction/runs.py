"""The runs that a figure is drawn from: which there are, making those that are missing, and their
tables as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpflow_cli.config.compositions import Compositions
from kpflow_cli.config.grid import grid
from kpflow_cli.config.plain_values import value_at
from kpflow_cli.config.validation import identity
from kpflow_cli.durations import in_words
from kpflow_cli.errors import FailedRunError, UserError
from kpflow_cli.reproduction.specification import FigureSpec
from kpflow_cli.run.reading import is_complete, read_tables, run_path
from kpflow_cli.sweeps.points import SweepPoint
from kpflow_cli.sweeps.sweep_file import sweep_path, write_sweep

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FigureRun(SweepPoint):
    """One run of a figure.

    Attributes:
        name: that it has there, alone or with others.
        axes: values of the keys that tell runs of one name apart.
    """

    name: str
    axes: dict[str, Any]

    @property
    def seed(self) -> int:
        """Of every random draw in it."""
        return int(self.values["seed"])


def compose_runs(
    spec: FigureSpec,
    profile: str,
    overrides: list[str],
    runs_dir: Path,
    known: Compositions | None = None,
    *,
    checked: bool = True,
) -> list[FigureRun]:
    """Every run and seed of a figure in a profile.

    Args:
        overrides: come last; a seed among them replaces the profile's.
        runs_dir: where the folders of the runs are, made or not.
        known: compositions that figures share.
        checked: as ``grid`` says.

    Raises UserError for what cannot be composed, and for several values of a key that is no axis of
    the figure.
    """
    chosen = spec.profiles[profile]
    seeds = "seed=" + ",".join(map(str, chosen.seeds))
    shared = [*spec.overrides, *chosen.overrides]
    known, runs = known or Compositions(), []
    for name, own in spec.runs.items():
        asked = [*shared, *own, seeds, *chosen.runs.get(name, []), *overrides]
        for point in grid(asked, known=known, checked=checked):
            _check_axes(point.swept, spec.axes)
            axes = {key: value_at(point.values, key) for key in spec.axes}
            path = run_path(runs_dir, point.choices, identity(point.values))
            label = f"{name}, seed {point.values['seed']}" + "".join(
                f", {key}={value}" for key, value in axes.items()
            )
            runs.append(FigureRun(label, point.values, path, name, axes))
    return runs


def _check_axes(swept: Iterable[str], axes: list[str]) -> None:
    several = [*axes, "seed"]
    for override in swept:
        key = override.partition("=")[0]
        if key not in several:
            raise UserError(f"{key}: the figure takes one value; several: {', '.join(several)}")


def gather_tables(runs: Iterable[FigureRun]) -> dict[str, pd.DataFrame]:
    """Each CSV file of all runs as one table, with columns ``run`` (its name), ``seed`` and the
    figure's axes in front.
    """
    import pandas as pd

    parts: dict[str, list[pd.DataFrame]] = {}
    for run in runs:
        for stem, table in read_tables(run.path).items():
            for place, (name, value) in enumerate(
                {"run": run.name, "seed": run.seed, **run.axes}.items()
            ):
                table.insert(place, name, value)
            parts.setdefault(stem, []).append(table)
    return {stem: pd.concat(tables, ignore_index=True) for stem, tables in parts.items()}


def describe_cost(runs: Sequence[FigureRun]) -> str:
    """What is missing, and about how long it will take on this machine, found by trying a little of
    it.
    """
    missing = find_missing(runs)
    if not missing:
        return "all runs are there"
    # torch takes seconds, which what is there already does without
    from kpflow_cli.sweeps.cost import estimated_seconds
    from kpflow_cli.sweeps.engines import room

    workers = room(_count_threads(missing))
    seconds = estimated_seconds(missing, workers)
    return (
        f"{len(missing)} runs to make, {workers} at a time: about {in_words(seconds)} on this "
        "machine"
    )


def make_missing(runs: Sequence[FigureRun], label: str, runs_dir: Path) -> Path:
    """Make or continue every run that is not complete, as many at a time as there are cores for;
    returns the sweep file that lists them all.

    Raises FailedRunError that names the runs that failed, after all have been tried.
    """
    missing = find_missing(runs)
    points = list({run.path: run for run in runs}.values())
    since = write_sweep(points, runs_dir, [label])
    if not missing:
        return sweep_path(points, runs_dir)
    from kpflow_cli.sweeps.engines import local_processes
    from kpflow_cli.sweeps.settling import list_failures, settle

    failures = settle(missing, local_processes(_count_threads(missing)), since, label)
    if failures:
        raise FailedRunError(
            f"{label}: {len(failures)} of {len(missing)} runs failed: "
            f"{list_failures(failures, missing)}"
        )
    return sweep_path(points, runs_dir)


def find_missing(runs: Sequence[FigureRun]) -> list[SweepPoint]:
    """The runs that are not complete, each once."""
    return list(
        {
            run.path: SweepPoint(run.label, run.values, run.path)
            for run in runs
            if not is_complete(run.path, run.path.name)
        }.values()
    )


def _count_threads(points: Sequence[SweepPoint]) -> int:
    return max(int(point.values["threads"]) for point in points)
