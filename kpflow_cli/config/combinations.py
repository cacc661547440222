"""The values that a sweep's overrides stand for, counted before any is made, and their
combinations.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import Glob, Override, OverrideType, RangeSweep

from kpflow_cli.config.schema import GROUPS
from kpflow_cli.errors import UserError, nearest

# points of one sweep, at most
MOST_POINTS = 100_000


@dataclass(frozen=True)
class Axis:
    """One override with the values that it stands for, one of a value that is not swept.

    Attributes:
        key: as it is written, such as ``model.gain``, ``+sweep`` or ``~seed``.
        override: of Hydra's.
        swept: whether it tells points apart.
        count: of its values.
    """

    key: str
    override: Override
    swept: bool
    count: int

    def written(self) -> Iterator[str]:
        """An override of its own for each value, in their order."""
        if not self.swept:
            yield _write(self.override)
        for value in _list_values(self.override) if self.swept else ():
            yield f"{self.key}={Override._get_value_element_as_str(value)}"


def make_parser(config_loader: ConfigLoader) -> OverridesParser:
    """Hydra's parser, with ranges that keep their values when they are sorted."""
    functions = create_functions()
    sort = functions.functions["sort"]

    def sort_values(*given: Any, reverse: bool = False, **named: Any) -> Any:
        found = named.get("sweep") or (given[0] if len(given) == 1 else None)
        if isinstance(found, RangeSweep):
            return _sort_range(found, reverse=reverse)
        return sort(*given, reverse=reverse, **named)

    functions.functions["sort"] = sort_values
    return OverridesParser(functions, config_loader)


def list_axes(overrides: Sequence[Override]) -> list[Axis]:
    """The axes of a grid; the last override of a key counts.

    Raises UserError for what stands for no list of values or for none at all, and for more than
    100,000 combinations, without making any.
    """
    last = {override.get_key_element(): override for override in overrides}
    axes = [_make_axis(key, override) for key, override in last.items()]
    total = math.prod(axis.count for axis in axes)
    if total > MOST_POINTS:
        asked = " ".join(str(axis.override.input_line) for axis in axes if axis.swept)
        raise UserError(f"{asked}: {_write_count(total)} runs; a sweep has at most {MOST_POINTS:,}")
    return axes


def first_point(axes: Sequence[Axis]) -> list[str]:
    """The overrides of the first combination."""
    return [next(axis.written()) for axis in axes]


def list_points(axes: Sequence[Axis]) -> list[tuple[str, ...]]:
    """The overrides of every combination, the last axis' values the fastest to change."""
    return list(itertools.product(*(list(axis.written()) for axis in axes)))


def force_params(overrides: Sequence[str]) -> list[str]:
    """The overrides, where those of ``hydra.sweeper.params`` may add keys and change them."""
    return [
        f"++{override.lstrip('+')}"
        if override.lstrip("+").startswith("hydra.sweeper.params")
        else override
        for override in overrides
    ]


def write_params(params: Mapping[Any, Any], prefix: str = "") -> list[str]:
    """What ``hydra.sweeper.params`` says as overrides, its keys nested or with dots."""
    written = []
    for key, values in params.items():
        if isinstance(values, Mapping):
            written += write_params(values, f"{prefix}{key}.")
        else:
            written.append(f"{prefix}{key}={'null' if values is None else values}")
    return written


def _make_axis(key: str, override: Override) -> Axis:
    if override.key_or_group in GROUPS and not _may_choose(override):
        raise UserError(
            f"{override.input_line}: choose one, by its name alone; `kpflow list` names them"
        )
    if not override.is_sweep_override():
        return Axis(key, override, swept=False, count=1)
    count = _count(override)
    if count == 0:
        raise UserError(f"{override.input_line}: stands for no value at all")
    return Axis(key, override, swept=True, count=count)


def _may_choose(override: Override) -> bool:
    """Whether an override of a group names choices, or keys to put in their place."""
    return override.is_delete() or override.is_sweep_override() or bool(override.value())


def _write(override: Override) -> str:
    """An override that is not swept, as Hydra reads it again."""
    if override.type is OverrideType.DEL and override.value() is None:
        return override.get_key_element()
    return f"{override.get_key_element()}={override.get_value_element_as_str()}"


def _count(override: Override) -> int:
    if override.is_range_sweep():
        return _count_range(override._value)  # type: ignore[arg-type]
    return len(_list_values(override))


def _list_values(override: Override) -> Sequence[Any]:
    """The values of a swept override as Hydra parsed them."""
    found: Any = override._value
    if isinstance(found, Glob):
        return _list_matches(override, found)
    if isinstance(found, RangeSweep):
        values: Any = [_at(found, index) for index in range(_count_range(found))]
    elif override.is_choice_sweep():
        values = list(found.list)
    else:
        raise UserError(
            f"{override.input_line}: stands for no list of values; such as range(0,1,0.1) or "
            "0,0.5,1 do"
        )
    if found.shuffle:
        random.shuffle(values)
    return values


def _list_matches(override: Override, found: Glob) -> Sequence[str]:
    """The choices of a group that a glob() matches."""
    assert override.config_loader is not None
    group = override.key_or_group
    choices = override.config_loader.get_group_options(group, results_filter=ObjectType.CONFIG)
    if not choices:
        raise UserError(f"{override.input_line}: glob() chooses from a group, and {group} is none")
    matching = found.filter(choices)
    if not matching:
        close = nearest("".join(found.include), choices)
        raise UserError(
            f"{override.input_line}: matches no {group}{close}; valid: {', '.join(choices)}"
        )
    return matching


def _count_range(sweep: RangeSweep) -> int:
    """How many values a range has, by arithmetic. Raises UserError for one without an end."""
    parts = (sweep.start, sweep.stop, sweep.step)
    if not all(isinstance(part, int | float) and math.isfinite(part) for part in parts):
        raise UserError(f"{_write_range(sweep)}: start, stop and step have to be finite")
    start, stop, step = (Decimal(repr(part)) for part in parts)
    if step == 0:
        raise UserError(f"{_write_range(sweep)}: a step of 0 leads nowhere")
    # a quotient of doubles has too many digits to be exact; near an integer it is off by rounding
    return max(0, math.ceil((stop - start) / step))


def _at(sweep: RangeSweep, index: int) -> int | float:
    """A value of a range. In decimals, so that range(0,1,0.1) holds 0.3 and not 0.30000000000000004
    and ends before 1.
    """
    start, step = sweep.start, sweep.step
    if all(isinstance(part, int) for part in (start, sweep.stop, step)):
        return start + index * step  # type: ignore[operator]
    return float(Decimal(repr(start)) + index * Decimal(repr(step)))


def _sort_range(sweep: RangeSweep, *, reverse: bool) -> RangeSweep:
    """The same values in ascending order, or in descending order; not shuffled."""
    ordered = copy(sweep)
    ordered.shuffle = False
    if (sweep.step < 0) == reverse or _count_range(sweep) == 0:
        return ordered
    last = _at(sweep, _count_range(sweep) - 1)
    ordered.start, ordered.step = last, -sweep.step
    # past the first value, which becomes the last, but before the one after it
    ordered.stop = _at(sweep, 0) - sweep.step / 2
    if isinstance(last, int):
        ordered.stop = _at(sweep, 0) + (1 if sweep.step < 0 else -1)
    return ordered


def _write_range(sweep: RangeSweep) -> str:
    return f"range({sweep.start},{sweep.stop},{sweep.step})"


def _write_count(total: int) -> str:
    return f"{total:,}" if total < 10**15 else f"{Decimal(total):.1e}"
