"""A worker of a sweep. Any number of them, of one sweep or several, on one machine or many, may
pass over the same points at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from kpflow_cli.errors import FailedRunError, InUseError, UserError
from kpflow_cli.run.folder import in_use, is_complete
from kpflow_cli.sweeps.points import SweepPoint, state

Failures = dict[Path, str]


def work_off(points: Sequence[SweepPoint], since: float) -> Failures:
    """Make every point that is not complete, not in other hands and has not failed after ``since``;
    returns why each that failed did.

    What it leaves is in the hands of others. Stops early when the process that started it is gone.
    """
    from kpflow_cli.run.runner import run

    failures: Failures = {}
    parent = os.getppid()
    for point in points:
        if os.getppid() != parent:
            break
        if in_use(point.path) or state(point.path, since) != "open":
            continue
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                run(point.config, point.path, plots={}, progress=_Silent)
        except InUseError:
            continue
        except (UserError, FailedRunError) as error:
            failures[point.path] = str(error)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            failures[point.path] = f"{type(error).__name__}: {error}"
        else:
            if not is_complete(point.path):
                failures[point.path] = "ended, but is not complete"
    return failures


class _Silent:
    """Shows nothing: what is done shows in the run folder."""

    def __init__(self, _steps: int, _first_step: int) -> None:
        pass

    def show_step(self, _step: int, _loss: float) -> None:
        """Nothing to show."""

    def show_measuring(self) -> None:
        """Nothing to show."""

    def show_measured(self, _step: int, _measured: object) -> None:
        """Nothing to show."""

    def close(self) -> None:
        """Nothing to put away."""
