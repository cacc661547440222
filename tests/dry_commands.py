"""A command line of ``kpflow`` up to the work that it asks for: read, composed and checked, and
then left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from kpflow_cli import cli
from kpflow_cli.config.grid import grid
from kpflow_cli.errors import FailedRunError, UserError
from kpflow_cli.reproduction.command import Order
from kpflow_cli.reproduction.kept import find_kept


def _compose_changed(order: Order, *_: Any) -> None:
    """The runs of figures with keys of their own."""
    if order.overrides:
        for name in order.names:
            order.runs(name)


# what does the work, with what checks its arguments first
WORK: dict[str, Callable[..., Any] | None] = {
    "kpflow_cli.run.runner.run": None,
    "kpflow_cli.run.runner.follow": None,
    "kpflow_cli.sweeps.command.sweep": grid,
    "kpflow_cli.verification.verify.verify": None,
    "kpflow_cli.reproduction.command.make_figures": _compose_changed,
    "kpflow_cli.reproduction.command.estimate_figures": _compose_changed,
    "kpflow_cli.reproduction.kept.redraw_figures": lambda names, folder, _: find_kept(folder),
    "kpflow_cli.benchmarks.report.bench": None,
}


class StartedError(Exception):
    """A command got as far as work."""


def leave_work_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on commands end where their work would start."""
    for name, checks in WORK.items():
        monkeypatch.setattr(name, _start_after(checks))


def what_it_tells(command: str, words: list[str]) -> str:
    """The error of a command line, empty where it got as far as work or to its end."""
    try:
        with contextlib.suppress(StartedError, SystemExit):
            cli._command(command).execute(words)
    except (UserError, FailedRunError) as error:
        return str(error)
    return ""


def _start_after(checks: Callable[..., Any] | None) -> Callable[..., Any]:
    def start(*arguments: Any, **options: Any) -> None:
        if checks is not None:
            checks(*arguments, **options)
        raise StartedError

    return start
