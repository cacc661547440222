"""A sweep that can be repeated, interrupted and run twice at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kpflow_cli.config.grid import GridPoint, grid
from kpflow_cli.config.paths import read_path, refuse_unwritable
from kpflow_cli.config.validation import identity
from kpflow_cli.errors import FailedRunError, UserError
from kpflow_cli.run.identity import identity_hash
from kpflow_cli.run.reading import is_complete, run_path
from kpflow_cli.sweeps.checking import check_points
from kpflow_cli.sweeps.launchers import launcher_engine
from kpflow_cli.sweeps.points import SweepPoint
from kpflow_cli.sweeps.settling import list_failures, settle
from kpflow_cli.sweeps.sweep_file import sweep_path, write_sweep


def sweep(overrides: list[str], config_name: str) -> None:
    """Make every run that the overrides ask for. The last line of standard output names the sweep
    file.

    Raises UserError, before any work, for a bad value of any point and for what a run would refuse,
    and FailedRunError if a run fails, after all have been tried.
    """
    found = grid(overrides, config_name)
    chosen, workers = _one_of_all(found, "run_dir"), _one_of_all(found, "workers")
    runs_dir = read_path(chosen, "run_dir") if chosen is not None else Path("runs")
    if any(point.values["report"] for point in found):
        raise UserError(
            "report=true: of one run; `kpflow report SWEEP_FILE` makes a page of a whole sweep"
        )
    refuse_unwritable(runs_dir, "run_dir")
    points = _distinct(
        SweepPoint(" ".join(each.swept), each.values, _path(each, runs_dir, grouped=chosen is None))
        for each in found
    )
    sweep_file = sweep_path(points, runs_dir)
    engine = launcher_engine(
        [each for each in overrides if each.lstrip("+~").startswith(("hydra.", "hydra/"))],
        config_name,
        threads=max(point.values["threads"] for point in points),
        workers=workers,
        logs=sweep_file.with_suffix(""),
    )
    missing = [point for point in points if not is_complete(point.path, point.path.name)]
    check_points(missing)
    since = write_sweep(points, runs_dir, overrides)
    failures = settle(points, engine, since, "sweep") if missing else {}
    print(
        f"{len(points) - len(failures)} of {len(points)} runs are complete; `kpflow table "
        f"{sweep_file}` makes one table of them"
    )
    print(sweep_file, flush=True)
    if failures:
        raise FailedRunError(
            f"{len(failures)} of {len(points)} runs failed: {list_failures(failures, points)}"
        )


def _one_of_all(points: Sequence[GridPoint], key: str) -> Any:
    """The value of a key that has to be one for the whole sweep."""
    values = list(dict.fromkeys(point.values[key] for point in points))
    if len(values) > 1:
        raise UserError(f"{key}={','.join(map(str, values))}: one for the whole sweep")
    return values[0]


def _path(point: GridPoint, runs_dir: Path, *, grouped: bool) -> Path:
    named = identity(point.values)
    return run_path(runs_dir, point.choices, named) if grouped else runs_dir / identity_hash(named)


def _distinct(points: Iterable[SweepPoint]) -> list[SweepPoint]:
    """One point for each run, in whatever different words it was asked for."""
    return list({point.path: point for point in points}.values())
