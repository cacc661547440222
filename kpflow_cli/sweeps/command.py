"""``kpflow run -m``: a sweep that can be repeated, interrupted and run twice at once."""

from __future__ import annotations

from pathlib import Path

from kpflow_cli.config.grid import GridPoint, grid
from kpflow_cli.config.validation import identity
from kpflow_cli.errors import FailedRunError, UserError
from kpflow_cli.run.identity import identity_hash
from kpflow_cli.sweeps.launchers import launcher_engine
from kpflow_cli.sweeps.points import SweepPoint
from kpflow_cli.sweeps.settling import list_failures, settle
from kpflow_cli.sweeps.sweep_file import sweep_path, write_sweep


def sweep(overrides: list[str]) -> None:
    """Make every run that the overrides ask for. The last line of standard output names the sweep's
    record.

    Raises UserError, before any work, for a bad value of any point, and FailedRunError if a run
    fails, after all have been tried.
    """
    found = grid(overrides)
    values = [point.values for point in found]
    shared = {
        key: list(dict.fromkeys(each[key] for each in values))
        for key in ("run_dir", "workers", "threads")
    }
    for key in ("run_dir", "workers"):
        if len(shared[key]) > 1:
            raise UserError(f"{key}={','.join(map(str, shared[key]))}: one for the whole sweep")
    chosen = values[0]["run_dir"]
    runs_dir = Path(chosen).expanduser() if chosen is not None else Path("runs")
    points = list(
        {
            point.path: point
            for point in (_point(each, runs_dir, grouped=chosen is None) for each in found)
        }.values()
    )
    record = sweep_path(points, runs_dir)
    engine = launcher_engine(
        [override for override in overrides if override.startswith("hydra")],
        threads=max(shared["threads"]),
        workers=values[0]["workers"],
        logs=record.with_suffix(""),
    )
    failures = settle(points, engine, write_sweep(points, runs_dir, overrides), "sweep")
    print(
        f"{len(points) - len(failures)} of {len(points)} runs are complete; `kpflow table "
        f"{record}` makes one table of them"
    )
    print(record, flush=True)
    if failures:
        raise FailedRunError(
            f"{len(failures)} of {len(points)} runs failed: {list_failures(failures, points)}"
        )


def _point(found: GridPoint, runs_dir: Path, *, grouped: bool) -> SweepPoint:
    parent = runs_dir / found.choices["task"] / found.choices["model"] if grouped else runs_dir
    return SweepPoint(
        " ".join(found.swept), found.values, parent / identity_hash(identity(found.values))
    )
