"""In what runs differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from kpflow_cli.listing.listed_run import ListedRun
from kpflow_cli.run.identity import canonical_json

# a value that more of the runs than this have is what they have in common
_COMMON = 0.75
# what people change comes first
_ORDER = ("task", "model", "seed", "training", "", "analysis")


def differences(runs: Sequence[ListedRun]) -> list[dict[str, Any]]:
    """Of each run the keys in which the runs differ, with its values. Keys of a task or a model are
    compared among the runs of that task and model alone, others among all that have them.
    """
    return _pick(runs, lambda counted, _: len(counted) > 1)


def uncommon(runs: Sequence[ListedRun]) -> list[dict[str, Any]]:
    """The same without the values that nearly all have, so that one run of another kind does not
    fill the lines of the rest.
    """
    return _pick(
        runs,
        lambda counted, value: (
            len(counted) > 1 and counted[_mark(value)] <= _COMMON * counted.total()
        ),
    )


def _pick(
    runs: Sequence[ListedRun], is_told: Callable[[Counter[object], Any], bool]
) -> list[dict[str, Any]]:
    """Of each run the keys that are told, by how many runs have each value of them."""
    counts = _count_values(runs)
    return [
        {
            key: run.config[key]
            for key in sorted(run.config, key=_rank)
            if is_told(counts[_peers(run, key)], run.config[key])
        }
        for run in runs
    ]


def _count_values(runs: Sequence[ListedRun]) -> dict[tuple[str, ...], Counter[object]]:
    """How many runs have each value, key by key."""
    counts: dict[tuple[str, ...], Counter[object]] = {}
    for run in runs:
        for key, value in run.config.items():
            peers = _peers(run, key)
            if peers not in counts:
                counts[peers] = Counter()
            counts[peers][_mark(value)] += 1
    return counts


def _peers(run: ListedRun, key: str) -> tuple[str, ...]:
    """Names the runs that a key of a run is compared among."""
    return (key, run.task, run.model) if key.startswith(("task.", "model.")) else (key,)


def _mark(value: Any) -> object:
    """What is alike for values that say the same: 1 is 1.0, but neither True nor "1"."""
    if isinstance(value, bool | str | None):
        return type(value), value
    if isinstance(value, int | float):
        return float(value) if value == value else "NaN"
    return canonical_json({"value": value})


def _rank(key: str) -> int:
    group = key.partition(".")[0]
    return _ORDER.index(group) if group in _ORDER else _ORDER.index("")
