"""A sweep from start to end: workers are sent over its points until each is complete or
has failed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial

from kpflow_cli.errors import FailedRunError
from kpflow_cli.run.reading import in_use, read_status
from kpflow_cli.sweeps.engines import Engine
from kpflow_cli.sweeps.points import SweepPoint, state
from kpflow_cli.sweeps.progress_line import ProgressLine
from kpflow_cli.sweeps.worker import Failures, work_off

# between looks at points that are in the hands of another sweep
_WAIT_SECONDS = 1.0
_LISTED = 10


def settle(points: Sequence[SweepPoint], engine: Engine, since: float, title: str) -> Failures:
    """Make every point that is not complete, or wait for whoever makes it; returns why each point
    that failed after ``since`` did.

    Raises FailedRunError if a worker is lost; the others go on, and so does whoever calls this
    again.
    """
    failures: Failures = {}
    with ProgressLine(points, since, title):
        while unsettled := [
            point
            for point in points
            if point.path not in failures and state(point.path, since) == "open"
        ]:
            if all(in_use(point.path) for point in unsettled):
                time.sleep(_WAIT_SECONDS)
                continue
            try:
                for found in engine(
                    partial(work_off, unsettled, since, os.getpid()), len(unsettled)
                ):
                    failures |= found
            except FailedRunError:
                # a lost worker is no loss where others did its work
                if any(state(point.path, since) == "open" for point in unsettled):
                    raise
    for point in points:
        if point.path not in failures and state(point.path, since) == "failed":
            failures[point.path] = read_status(point.path).get("error", "failed")
    return failures


def list_failures(failures: Failures, points: Sequence[SweepPoint]) -> str:
    """The first failures in a line, each with its label, folder and reason."""
    told = [
        f"{point.label} ({point.path}): {failures[point.path]}"
        for point in points
        if point.path in failures
    ]
    more = len(told) - _LISTED
    return "; ".join(told[:_LISTED]) + (f"; and {more} more" if more > 0 else "")
