"""Runs removed, once somebody has said yes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from kpflow_cli.attempts import Failure, raise_failures
from kpflow_cli.errors import FailedRunError, UserError
from kpflow_cli.listing.listed_run import ListedRun
from kpflow_cli.listing.table import size_in_words
from kpflow_cli.run.removing import remove_run
from kpflow_cli.sweeps.sweep_file import read_sweep

# a sweep's file is in `sweeps` beside its runs, or beside <task>/<model>/<hash>
_LEVELS = 3


def remove_runs(runs: Sequence[ListedRun], *, sure: bool) -> None:
    """Remove runs but for those that a process works on, after a question; where there is nobody
    to answer it, only if the caller is ``sure``. Says which sweeps list them.

    Raises UserError where that cannot be asked, and where nothing can be removed; FailedRunError
    that names runs that could not, after all have been tried.
    """
    removable = [run for run in runs if run.status != "running"]
    running = len(runs) - len(removable)
    if not removable:
        raise UserError("--remove: each of these is running, and none is removed")
    if not sure and not sys.stdin.isatty():
        raise UserError("--remove: asks before, and nobody is here to answer; --yes answers it")
    if running:
        print(f"{running} of them {_are(running)} running, and stay{'s' if running == 1 else ''}")
    for line in _describe_sweeps([run.path for run in removable]):
        print(line)
    size = size_in_words(sum(run.size for run in removable))
    if not sure and not _is_confirmed(f"remove {_count(len(removable))}, {size}? [y/N] "):
        print("nothing is removed")
        return
    failures: list[Failure] = []
    for run in removable:
        try:
            remove_run(run.path, run.written)
        except (UserError, FailedRunError) as error:
            failures.append((str(run.path), error))
    print(f"{_count(len(removable) - len(failures))} removed", flush=True)
    raise_failures(failures, len(removable), "runs are not removed")


def _is_confirmed(question: str) -> bool:
    print(question, end="", flush=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        print()
    return answer.strip().lower() in ("y", "yes")


def _describe_sweeps(paths: Iterable[Path]) -> list[str]:
    """A line for each sweep that lists some of these runs."""
    gone = {path.resolve() for path in paths}
    places = {parent / "sweeps" for path in gone for parent in list(path.parents)[:_LEVELS]}
    lines = []
    for file in sorted(file for place in places for file in place.glob("*.json")):
        try:
            listed = {path.resolve() for path in read_sweep(file)}
        except UserError:
            continue
        count = len(listed & gone)
        if count:
            lines.append(
                f"the sweep {file} lists {count} of them; the command that made it makes "
                f"{'it' if count == 1 else 'them'} again"
            )
    return lines


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _count(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"
