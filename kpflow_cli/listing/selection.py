"""Which runs of those there are, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kpflow_cli.durations import read_duration
from kpflow_cli.errors import UserError, nearest
from kpflow_cli.listing.listed_run import ListedRun
from kpflow_cli.run.standing import STANDINGS

_NAMED: dict[str, Callable[[ListedRun], str]] = {
    "task": lambda run: run.task,
    "model": lambda run: run.model,
    "status": lambda run: run.status,
    "run": lambda run: run.hash,
}
_AGES = ("older", "newer")
# values that an error names
_TOLD = 20
# the youngest, the longest and the largest are what is looked for
_MEASURED: dict[str, Callable[[ListedRun], float]] = {
    "age": lambda run: -run.written,
    "step": lambda run: -(run.step or 0),
    "size": lambda run: -run.size,
}


def select(runs: Sequence[ListedRun], words: Iterable[str], now: float) -> list[ListedRun]:
    """The runs that every word such as ``task=memorypro`` or ``model.units=64,128`` holds of.

    ``run=`` takes the beginning of a hash; a key whose value is a list one of its elements;
    ``older=`` and ``newer=`` a duration such as ``30d``, counted back from ``now``, seconds since
    the epoch. Raises UserError for a word that is none, a key or status that there is not, and a
    value that no run has.
    """
    chosen = list(runs)
    for word in words:
        key, equals, written = word.partition("=")
        if key in _AGES and equals:
            limit = now - _read_age(key, written)
            chosen = [run for run in chosen if (run.written < limit) == (key == "older")]
            continue
        wanted = [value for value in written.split(",") if value]
        if not equals or not wanted:
            raise UserError(f"'{word}': no filter; KEY=VALUE, such as task=memorypro")
        for value in wanted:
            _refuse_unknown(key, value, runs)
        chosen = [run for run in chosen if any(_holds(run, key, value) for value in wanted)]
    return chosen


def in_order(runs: Sequence[ListedRun], key: str) -> list[ListedRun]:
    """The runs sorted by a key: by age the youngest first, by step and size the largest, else by
    number or alphabet; the other way round after a minus. Raises UserError for a key that there is
    not.
    """
    name = key.removeprefix("-")
    valid = [*_MEASURED, *_NAMED, *keys_of_runs(runs)]
    if name not in valid:
        raise UserError.unknown("sort", key, valid)

    def rank(run: ListedRun) -> tuple[int, float, str]:
        if name in _MEASURED:
            return 0, _MEASURED[name](run), ""
        return _rank_value(_NAMED[name](run) if name in _NAMED else run.config.get(name))

    by_place = sorted(runs, key=lambda run: str(run.path))
    return sorted(by_place, key=rank, reverse=key.startswith("-"))


def _read_age(key: str, written: str) -> float:
    seconds = read_duration(written)
    if seconds is None:
        raise UserError(f"{key}={written}: no duration; a number with s, min, h or d, such as 30d")
    return seconds


def keys_of_runs(runs: Iterable[ListedRun]) -> list[str]:
    """Keys of the configurations, in their order."""
    return list(dict.fromkeys(key for run in runs for key in run.config))


def _rank_value(value: Any) -> tuple[int, float, str]:
    """Numbers by size, then words by the alphabet, then nothing at all."""
    if value is None:
        return 2, 0.0, ""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return (0, float(value), "") if is_number else (1, 0.0, str(value))


def write_value(value: Any) -> str:
    """A value as a filter names it."""
    if isinstance(value, list):
        return f"[{','.join(map(write_value, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _refuse_unknown(key: str, value: str, runs: Sequence[ListedRun]) -> None:
    if key == "status":
        if value not in STANDINGS:
            raise UserError.unknown(key, value, STANDINGS)
        return
    keys = keys_of_runs(runs)
    if key not in _NAMED and key not in keys:
        valid = [*_NAMED, *_AGES, *keys]
        raise UserError(f"no key '{key}'{nearest(key, valid)}; keys there: {', '.join(valid)}")
    if any(_holds(run, key, value) for run in runs):
        return
    if key == "run":
        raise UserError(f"run={value}: the beginning of no run's hash there")
    there = list(dict.fromkeys(_written(run, key) for run in in_order(runs, key)))
    listed = ", ".join(there[:_TOLD]) + (", ..." if len(there) > _TOLD else "")
    raise UserError(f"{key}={value}: in no run there{nearest(value, there)}; there are {listed}")


def _written(run: ListedRun, key: str) -> str:
    return _NAMED[key](run) if key in _NAMED else write_value(run.config.get(key))


def _holds(run: ListedRun, key: str, value: str) -> bool:
    if key == "run":
        return bool(run.hash) and run.hash.startswith(value)
    if key in _NAMED:
        return _NAMED[key](run) == value
    if key not in run.config:
        return False
    there = run.config[key]
    return any(_is_same(each, value) for each in (there if isinstance(there, list) else [there]))


def _is_same(there: Any, written: str) -> bool:
    """Whether a value is what a word says: 0.10 is 0.1."""
    if isinstance(there, int | float) and not isinstance(there, bool):
        try:
            return float(written) == there
        except ValueError:
            return False
    return write_value(there) == written
