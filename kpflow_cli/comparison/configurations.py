"""Runs by their configurations: those that differ in nothing but the seed are one."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kpflow_cli.comparison.places import ComparedRun
from kpflow_cli.config.plugins import TARGET
from kpflow_cli.errors import UserError
from kpflow_cli.run.identity import write_value
from kpflow_cli.sweeps.table import differing_keys

# a name that says it all in a legend is no longer than this
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Configuration:
    """Runs of one configuration.

    Attributes:
        letter: that it is called by.
        runs: a seed each.
        differing: its values of the keys in which the configurations differ; a key that it does
            not have is not there.
    """

    letter: str
    runs: tuple[ComparedRun, ...]
    differing: dict[str, Any]

    @property
    def seeds(self) -> list[Any]:
        """Of its runs."""
        return [run.seed for run in self.runs]

    def describe_runs(self) -> str:
        """Which they are, in a line."""
        told = ", ".join(
            f"{run.folder}{f' ({run.state})' if run.state else ''}" for run in self.runs
        )
        seeds = ", ".join(map(str, self.seeds))
        return f"{told}, seed{'s' if len(self.runs) > 1 else ''} {seeds}"


def group_by_configuration(runs: Sequence[ComparedRun]) -> list[Configuration]:
    """Configurations in the order of their first runs, lettered from A.

    Raises UserError for two runs of one configuration and seed: they are one run, counted twice.
    """
    keys = [key for key in differing_keys([run.keys for run in runs]) if key != "seed"]
    groups: dict[tuple[str, ...], list[ComparedRun]] = {}
    for run in runs:
        group = groups.setdefault(tuple(str(run.keys.get(key)) for key in keys), [])
        twin = next((each for each in group if each.seed == run.seed), None)
        if twin is not None:
            raise UserError(
                f"{run.folder}: the configuration and seed of {twin.folder}, so the same run twice"
            )
        group.append(run)
    return [
        Configuration(
            letter_of(order),
            tuple(group),
            {key: group[0].keys[key] for key in keys if key in group[0].keys},
        )
        for order, group in enumerate(groups.values())
    ]


def letter_of(order: int) -> str:
    """A, B, ..., Z, AA, AB, ..."""
    more, last = divmod(order, len(string.ascii_uppercase))
    return (letter_of(more - 1) if more else "") + string.ascii_uppercase[last]


def name_all(configurations: Sequence[Configuration]) -> list[str]:
    """Of each its letter with the keys that all have, under short names; where these are too many,
    or none differ, the letter with its first run.
    """
    every = [each.differing for each in configurations]
    shared = [key for key in every[0] if all(key in keys for keys in every)]
    short = _shorten(shared)
    words = [
        ", ".join(f"{short[key]}={_write_short(key, keys[key])}" for key in shared)
        for keys in every
    ]
    if not shared or max(map(len, words)) > _LONGEST_NAME:
        words = ["/".join(each.runs[0].folder.parts[-3:]) for each in configurations]
    return [f"{each.letter}: {word}" for each, word in zip(configurations, words, strict=True)]


def _shorten(keys: Sequence[str]) -> dict[str, str]:
    """Each key by its last word where no other ends with it; a class by the group that it is of."""
    ends = [_last_word(key) for key in keys]
    return {key: end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)}


def _last_word(key: str) -> str:
    return (key.rpartition(".")[0] if _is_class(key) else key).rpartition(".")[2]


def _is_class(key: str) -> bool:
    return key.endswith(f".{TARGET}")


def _write_short(key: str, value: Any) -> str:
    """A number to four digits, a class without its module."""
    if isinstance(value, float):
        return f"{value:.4g}"
    written = write_value(value)
    return written.rpartition(".")[2] if _is_class(key) else written
