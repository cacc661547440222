"""Runs side by side: which keys differ, and each quantity that all of them have at one step."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from kpflow_cli.comparison.configurations import (
    Configuration,
    group_by_configuration,
    name_all,
)
from kpflow_cli.comparison.differences import Difference, subtract
from kpflow_cli.comparison.places import find_runs
from kpflow_cli.comparison.values import QUANTITY, TRAINING, Value, pool
from kpflow_cli.errors import UserError, nearest
from kpflow_cli.sweeps.run_rows import read_rows

# the word for each configuration's own last step
LAST = "last"


class Quantity(NamedTuple):
    """What tables call a quantity; ``reduction`` is empty in training.csv."""

    operator: str
    quantity: str
    reduction: str


@dataclass(frozen=True)
class ComparedQuantity:
    """A quantity that all configurations have.

    Attributes:
        values: of each configuration.
        differences: of the second and later ones from the first.
    """

    name: Quantity
    values: tuple[Value, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Comparison:
    """Configurations side by side.

    Attributes:
        keys: in which they differ, but for the seed.
        names: of the configurations, one of a kind each.
        steps: at which each is looked at, one for all unless each is at its own last.
        quantities: that all have at these steps.
        missing: of each configuration what others have there and it does not.
        curves: of each configuration all steps, as ``kpflow_cli.comparison.values.pool`` gives
            them, of quantities that all have at some step.
        notes: sentences on what is to be known before the numbers are believed.
    """

    configurations: tuple[Configuration, ...]
    keys: tuple[str, ...]
    names: tuple[str, ...]
    steps: tuple[int, ...]
    quantities: tuple[ComparedQuantity, ...]
    missing: tuple[tuple[Quantity, ...], ...]
    curves: tuple[pd.DataFrame, ...]
    notes: tuple[str, ...]

    @property
    def when(self) -> str:
        """The step, or the steps, in words."""
        if len(set(self.steps)) == 1:
            return f"at step {self.steps[0]}"
        letters = [each.letter for each in self.configurations]
        listed = ", ".join(f"{a} {step}" for a, step in zip(letters, self.steps, strict=True))
        return f"at the last step of each: {listed}"


def compare(places: Sequence[str], step: str = "", patterns: Sequence[str] = ()) -> Comparison:
    """The comparison of the runs of ``places``.

    Args:
        step: a number, ``last`` for each configuration's own last step, or empty for the last that
            was measured in all.
        patterns: names of quantities or operators, with ``*`` for anything; none for all.

    Raises UserError where there is nothing to compare, and for a step or a pattern that nothing
    fits; DamagedFileError for a run that is not as it was written.
    """
    runs = find_runs(places)
    if len(runs) < 2:
        raise UserError(
            f"compare takes two runs or more, got {' '.join(str(run.folder) for run in runs)}"
        )
    configurations = group_by_configuration(runs)
    tables = _choose(configurations, _read(configurations), patterns)
    steps = _choose_steps(configurations, tables, step)
    found = [_at(table, each) for table, each in zip(tables, steps, strict=True)]
    in_all = [name for name in found[0] if all(name in each for each in found)]
    if not in_all:
        raise UserError(
            f"nothing to compare: no quantity is in all {len(configurations)} configurations at "
            "this step"
        )
    keys = list(dict.fromkeys(key for each in configurations for key in each.differing))
    every = dict.fromkeys(name for each in found for name in each)
    return Comparison(
        tuple(configurations),
        tuple(keys),
        tuple(name_all(configurations)),
        tuple(steps),
        tuple(_compare(name, [each[name] for each in found]) for name in in_all),
        tuple(tuple(name for name in every if name not in each) for each in found),
        _pick_curves(tables),
        tuple(_tell_notes(configurations, tables, steps)),
    )


def _read(configurations: Sequence[Configuration]) -> list[pd.DataFrame]:
    """All rows of each configuration, its seeds pooled."""
    runs = [run for each in configurations for run in each.runs]
    rows = read_rows([run.folder for run in runs])
    for column in ("value", "stderr", "probes"):
        # a table of one's own may hold words
        rows[column] = pd.to_numeric(rows[column], errors="coerce").astype(float)
    reduction = rows["reduction"].astype(object)
    rows["reduction"] = reduction.where(reduction.notna(), "")
    rows = rows[np.isfinite(rows["value"])]
    rows = rows.drop_duplicates(["run index", "step", *QUANTITY], keep="last")
    # training stands first, as it does on a page
    rows = rows.assign(later=rows["operator"] != TRAINING).sort_values(
        ["run index", "later"], kind="stable"
    )
    for index, run in enumerate(runs):
        if not (rows["run index"] == index).any():
            raise UserError(f"{run.folder}: has no measurements{' yet' if run.state else ''}")
    tables, start = [], 0
    for each in configurations:
        end = start + len(each.runs)
        own = rows[rows["run index"].between(start, end - 1)]
        tables.append(pool(own, len(each.runs)))
        start = end
    return tables


def _choose(
    configurations: Sequence[Configuration], tables: list[pd.DataFrame], patterns: Sequence[str]
) -> list[pd.DataFrame]:
    """The rows whose quantity or operator fits one of the patterns."""
    if not patterns:
        return tables
    names = list(
        dict.fromkeys(
            str(name)
            for column in ("operator", "quantity")
            for table in tables
            for name in table[column].unique()
        )
    )
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise UserError(
                f"quantities={pattern}: no quantity and no operator of these runs"
                f"{nearest(pattern, names)}; there are {', '.join(sorted(names))}"
            )
    wanted = {name for pattern in patterns for name in fnmatch.filter(names, pattern)}
    chosen = [
        table[table["operator"].isin(wanted) | table["quantity"].isin(wanted)] for table in tables
    ]
    for configuration, table in zip(configurations, chosen, strict=True):
        if table.empty:
            raise UserError(f"quantities={','.join(patterns)}: {configuration.letter} has none")
    return chosen


def _choose_steps(
    configurations: Sequence[Configuration], tables: Sequence[pd.DataFrame], step: str
) -> list[int]:
    """Of each configuration the step that it is looked at."""
    every = [sorted({int(each) for each in table["step"]}) for table in tables]
    measured = [
        sorted({int(each) for each in table["step"][table["operator"] != TRAINING]})
        for table in tables
    ]
    # where all have measurements, steps at which only training.csv has rows do not count
    main = measured if all(measured) else every
    for configuration, steps in zip(configurations, every, strict=True):
        if not steps:
            raise UserError(
                f"no step in common: the seeds of {configuration.letter} "
                f"({', '.join(str(run.folder) for run in configuration.runs)}) have none"
            )
    if step == LAST:
        return [steps[-1] for steps in main]
    common = sorted(set.intersection(*map(set, every)))
    if step:
        if not (step.isascii() and step.isdigit()):
            raise UserError(f"step={step}: a step, or the word {LAST}; {_tell_steps(common)}")
        if int(step) not in common:
            raise UserError(f"step={step}: not in all runs; {_tell_steps(common)}")
        return [int(step)] * len(tables)
    shared = set.intersection(*map(set, main))
    if not shared:
        told = "; ".join(
            f"{configuration.letter} ({configuration.runs[0].folder}) has {_list_steps(steps)}"
            for configuration, steps in zip(configurations, main, strict=True)
        )
        raise UserError(f"no step in common: {told}; step={LAST} compares the last of each")
    return [max(shared)] * len(tables)


def _tell_steps(common: Sequence[int]) -> str:
    return f"in all are {_list_steps(common)}" if common else "there is none in all"


def _list_steps(steps: Sequence[int]) -> str:
    shown = steps if len(steps) <= 12 else [*steps[:5], "...", *steps[-5:]]
    return ", ".join(map(str, shown))


def _at(table: pd.DataFrame, step: int) -> dict[Quantity, Value]:
    rows = table[table["step"] == step].to_dict("records")
    return {_name_of(row): _value_of(row) for row in rows}


def _name_of(row: dict[Any, Any]) -> Quantity:
    return Quantity(*(str(row[column]) for column in QUANTITY))


def _value_of(row: dict[Any, Any]) -> Value:
    error = float(row["error"]) if not pd.isna(row["error"]) else math.nan
    return Value(float(row["value"]), error, row["kind"], int(row["count"]), float(row["spread"]))


def _compare(name: Quantity, values: Sequence[Value]) -> ComparedQuantity:
    first, *others = values
    return ComparedQuantity(name, tuple(values), tuple(subtract(each, first) for each in others))


def _pick_curves(tables: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, ...]:
    """The rows of quantities that all have."""
    names = [pd.MultiIndex.from_frame(table[QUANTITY]) for table in tables]
    shared = set.intersection(*(set(each) for each in names))
    return tuple(table[each.isin(list(shared))] for table, each in zip(tables, names, strict=True))


def _tell_notes(
    configurations: Sequence[Configuration], tables: Sequence[pd.DataFrame], steps: Sequence[int]
) -> list[str]:
    notes = [
        f"{run.folder} ({each.letter}) is not complete: {run.state}."
        for each in configurations
        for run in each.runs
        if run.state
    ]
    longer = [
        f"{each.letter} to {int(table['step'].max())}"
        for each, table, step in zip(configurations, tables, steps, strict=True)
        if table["step"].max() > step
    ]
    if longer:
        notes.append(
            f"Some go further: {', '.join(longer)}; step={LAST} compares the last step of each."
        )
    counts = {len(each.runs) for each in configurations}
    if 1 in counts and len(counts) > 1:
        single = ", ".join(each.letter for each in configurations if len(each.runs) == 1)
        notes.append(
            f"Of one seed alone ({single}) the error says how well that run is measured, not what "
            "other seeds would give."
        )
    elif counts == {1} and len(configurations) > 1:
        notes.append(
            "One run a configuration: errors say how well these runs are measured, not what other "
            "seeds would give."
        )
    return notes
