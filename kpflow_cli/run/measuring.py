"""All that a run measures and writes down of its network at one step."""

from __future__ import annotations

from collections.abc import Callable

import torch

from kpflow_cli.errors import FailedRunError
from kpflow_cli.measures.checkpoint import measure
from kpflow_cli.measures.records import RECORDS
from kpflow_cli.measures.records.scene import Scene
from kpflow_cli.measures.rows import Measured
from kpflow_cli.ntk import GlobalNTK, Trajectory, global_ntk
from kpflow_cli.run import tables
from kpflow_cli.run.checkpoints import Rows
from kpflow_cli.run.measuring_plan import MeasuringPlan
from kpflow_cli.task import Batch


def measure_step(
    plan: MeasuringPlan, step: int, draw_batch: Callable[[], Batch]
) -> tuple[Measured, dict[str, Rows]]:
    """Measure the network of a plan as it is at a step; what was measured, and the rows of it for
    each table.

    ``draw_batch`` gives the training batch of the step. Raises FailedRunError where NTK_S cannot
    be measured.
    """
    generator = plan.randomness.generator("probes", step)
    try:
        trajectory, ntk, measured = _measure_as_it_is(plan, generator)
    except FailedRunError as error:
        raise FailedRunError(f"step {step}: {error}") from None
    found: dict[str, Rows] = {
        "measurements": list(tables.measurement_rows(step, measured)),
        "spectra": list(tables.spectrum_rows(step, measured)),
        **plan.source_rows(step),
    }
    if step in {plan.schedule[index] for index in (0, len(plan.schedule) // 2, -1)}:
        scene = Scene(plan.model, plan.evaluation, draw_batch, trajectory, ntk, generator)
        for name in plan.analysis.records:
            for table, rows in RECORDS[name].rows(scene).items():
                found.setdefault(table, []).extend({"step": step, **row} for row in rows)
    if step == plan.schedule[0]:
        found |= {**_measure_control(plan), "periods": plan.period_rows()}
    return measured, found


def _measure_as_it_is(
    plan: MeasuringPlan, generator: torch.Generator
) -> tuple[Trajectory, GlobalNTK, Measured]:
    trajectory, precise = plan.trajectories()
    ntk, directions = global_ntk(trajectory), plan.target_directions(precise or trajectory)
    precise_ntk = None if precise is None else global_ntk(precise, compressed=False)
    return (
        trajectory,
        ntk,
        measure(ntk, directions, plan.analysis, generator, precise=precise_ntk),
    )


def _measure_control(plan: MeasuringPlan) -> dict[str, Rows]:
    """control.csv and control_spectra.csv: measurements and spectra of the same network with fresh
    weights, ``step`` exchanged for the number of the draw.
    """
    found: dict[str, Rows] = {"control": [], "control_spectra": []}
    for draw in range(plan.control_draws):
        with plan.drawn_afresh(draw):
            measured = _measure_as_it_is(plan, plan.randomness.generator("control probes", draw))[2]
        for table, rows in (
            ("control", tables.measurement_rows(draw, measured)),
            ("control_spectra", tables.spectrum_rows(draw, measured)),
        ):
            for row in rows:
                found[table].append({"draw": row.pop("step"), **row})
        print(f"control: {draw + 1} of {plan.control_draws} draws measured", flush=True)
    return found
