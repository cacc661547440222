"""Every point of a sweep checked before the first runs: what a run refuses before its work is
refused before anyone's.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import torch

from kpflow_cli.config.plugins import construct
from kpflow_cli.config.schema import RUNTIME_KEYS
from kpflow_cli.errors import UserError
from kpflow_cli.progress_bar import ProgressBar
from kpflow_cli.run.plan import Plan
from kpflow_cli.run.tracked import track
from kpflow_cli.sweeps.points import SweepPoint
from kpflow_cli.task import Task

# seconds after which a check shows how far it is
_SHOWN_AFTER = 2.0


def check_points(points: Sequence[SweepPoint]) -> None:
    """Raises UserError, with the label of the point, for the first that a run would refuse.

    What a run is built of, its first look at the states included, is built once for all points that
    differ in the seed and in numbers with a fraction alone; their tasks and models are constructed
    with every number. Errors of any other kind are those of a task or model of one's own: they are
    left to its run.
    """
    known: set[bytes] = set()
    for point in ProgressBar(points, unit="run", desc="checking", delay=_SHOWN_AFTER, leave=False):
        try:
            _check(point, known)
        except UserError as error:
            told = len(points) == 1 or not point.label or str(error).startswith(point.label)
            raise UserError(str(error) if told else f"{point.label}: {error}") from None
        except Exception:
            continue


def _check(point: SweepPoint, known: set[bytes]) -> None:
    values = {key: value for key, value in point.values.items() if key not in RUNTIME_KEYS}
    if _is_new(_without_fractions(values | {"seed": None}), known):
        Plan(point.config).trainer()
        track(point.config, point.path)
        return
    task: Task = construct("task", point.config.task)
    sizes = {"input_size": task.input_size, "output_size": task.output_size}
    if _is_new([values["model"], sizes], known):
        construct("model", point.config.model, **sizes, generator=torch.Generator())


def _without_fractions(value: Any) -> Any:
    """A configuration with all numbers of floating point alike."""
    if isinstance(value, dict):
        return {key: _without_fractions(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_fractions(each) for each in value]
    return "a number" if isinstance(value, float) else value


def _is_new(values: object, known: set[bytes]) -> bool:
    """Whether values were not seen before; they are from then on."""
    written = pickle.dumps(values)
    if written in known:
        return False
    known.add(written)
    return True
