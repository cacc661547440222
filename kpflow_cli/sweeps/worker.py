"""A worker of a sweep. Any number of them, of one sweep or several, on one machine or many, may
pass over the same points at once.
"""

from __future__ import annotations

import contextlib
import io
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from kpflow_cli.errors import FailedRunError, InUseError, UserError, describe_machine_error
from kpflow_cli.process import end_with_parent
from kpflow_cli.run.reading import in_use, is_complete
from kpflow_cli.sweeps.points import SweepPoint, state

Failures = dict[Path, str]


def work_off(points: Sequence[SweepPoint], since: float, starter: int) -> Failures:
    """Make every point that is not complete, not in other hands and has not failed after ``since``;
    returns why each that failed did.

    What it leaves is in the hands of others. In a process that the process ``starter`` has started
    it ends with that.
    """
    from kpflow_cli.run.runner import run

    end_with_parent(starter)
    failures: Failures = {}
    for point in points:
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
            failures[point.path] = _describe(error)
        else:
            if not is_complete(point.path, point.path.name):
                failures[point.path] = "ended, but is not complete"
    return failures


def _describe(error: Exception) -> str:
    """An error in a line; of one that is nobody's mistake but the code's, where it arose is
    printed.
    """
    told = describe_machine_error(error)
    if told is None:
        traceback.print_exc(file=sys.stderr)
    return told or f"{type(error).__name__}: {error}"


class _Silent:
    """Shows nothing: what is done shows in the run folder."""

    def __init__(self, *_: object) -> None:
        pass

    def show_step(self, _step: int, _loss: float) -> None:
        """Nothing to show."""

    def show_measuring(self) -> None:
        """Nothing to show."""

    def show_measured(self, _step: int, _measured: object) -> None:
        """Nothing to show."""

    def close(self) -> None:
        """Nothing to put away."""
