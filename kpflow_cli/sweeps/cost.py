"""What many runs will take on this machine, from a few steps and a measurement of some of them."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice

import torch

from kpflow_cli.measures.checkpoint import measure
from kpflow_cli.ntk import global_ntk
from kpflow_cli.run.plan import Plan
from kpflow_cli.sweeps.points import SweepPoint

# of each length of training as many runs are tried, of each as many steps are timed
_TRIED, _TIMED_STEPS = 3, 10


def estimated_seconds(points: Sequence[SweepPoint], workers: int) -> float:
    """Seconds for all of them, so many at a time; takes a few of these runs' steps and measurements
    itself.

    Runs with as many steps are taken to cost the same; the first, the middle and the last of them
    are tried.
    """
    by_steps: dict[int, list[SweepPoint]] = defaultdict(list)
    for point in points:
        by_steps[point.values["training"]["steps"]].append(point)
    total = 0.0
    for alike in by_steps.values():
        tried = {index * (len(alike) - 1) // (_TRIED - 1) for index in range(_TRIED)}
        total += len(alike) * statistics.mean(_seconds(alike[index]) for index in tried)
    return total / min(workers, len(points))


def _seconds(point: SweepPoint) -> float:
    torch.set_num_threads(point.values["threads"])
    started = time.perf_counter()
    plan = Plan(point.config)
    trainer, steps = plan.trainer(), plan.config.training.steps
    ready = time.perf_counter()
    trajectory, precise = plan.trajectories()
    ntk, directions = global_ntk(trajectory), plan.target_directions(precise or trajectory)
    precise_ntk = None if precise is None else global_ntk(precise, compressed=False)
    measure(
        ntk, directions, plan.analysis, plan.randomness.generator("probes", 0), precise=precise_ntk
    )
    measured = time.perf_counter()
    total = ready - started + len(plan.schedule) * (measured - ready)
    if steps:
        losses = trainer.losses(steps)
        # the first is slower: memory is new
        next(losses)
        begun = time.perf_counter()
        timed = sum(1 for _ in islice(losses, _TIMED_STEPS))
        total += steps * (time.perf_counter() - begun) / max(timed, 1)
    return total
