"""``kpflow verify``: the check of one network, or with ``-m`` of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kpflow_cli.attempts import Failure, raise_failures
from kpflow_cli.errors import FailedRunError, UserError

if TYPE_CHECKING:
    from kpflow_cli.config.grid import GridPoint

HELP = "hold every operator and exact quantity against dense automatic differentiation"
_ABOUT = """\
usage: kpflow verify [-m] [GROUP=CHOICE ...] [KEY=VALUE ...] [OPTION ...]

Hold every operator and every exact quantity against dense automatic differentiation, in double
precision, on a network small enough for NTK_S to be formed densely. Prints a table of relative
errors and writes nothing; the exit status is 1 where one is above 1e-10.

  kpflow verify model=rnn                             one network
  kpflow verify -m model=gru,rnn,lstm                 one after the other
  kpflow verify model=attention model.heads=4         other values
  kpflow verify --config-dir DIR model=mine           a model of your own, DIR/model/mine.yaml

  -m, --multirun             every combination of comma-separated values
  -cd, --config-dir DIR      groups of your own
  -c, --cfg job              show the configuration and stop
  -i, --info [WHAT]          show where the configuration comes from
  -h, --help                 this page, for the task and model that are chosen
"""


def execute(words: list[str]) -> None:
    """Verify what the arguments ask for, or show what they ask to see."""
    from kpflow_cli.config.help import read_or_show

    asked = read_or_show(words, "verify", _ABOUT)
    if asked is None:
        return
    if asked.is_sweep:
        from kpflow_cli.config.grid import grid

        _verify_all(grid(asked.overrides, asked.config_name))
    else:
        from kpflow_cli.config.grid import compose_point
        from kpflow_cli.verification.verify import verify

        verify(compose_point(asked.overrides, asked.config_name).config)


def _verify_all(points: Sequence[GridPoint]) -> None:
    """One point after the other, whatever becomes of those before it. Raises FailedRunError that
    names those that failed, UserError where none could be verified at all.
    """
    from kpflow_cli.verification.verify import verify

    failures: list[Failure] = []
    for point in points:
        label = " ".join(point.swept)
        print(f"{label}\n" if label else "", end="", flush=True)
        try:
            verify(point.config)
        except (UserError, FailedRunError) as error:
            failures.append((label, error))
    raise_failures(failures, len(points), "verifications failed")
