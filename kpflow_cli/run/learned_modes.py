"""Which target modes a run has learned, in words, and whether NTK_S tells why others were not."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context

import pandas as pd

# of a mode: four fifths of it is there; of more than six fifths the outputs do more than is asked
_LEARNED, _OVERSHOT = 0.8, 1.2
# not even a tenth of it is there
_UNLEARNED = 0.1
# gradient descent moves along a mode in proportion to NTK_S's Rayleigh quotient there: of a
# hundredth, a hundred times more slowly
_SMALL = 0.01
# modes named one by one; of more only how many there are and between which fractions
_NAMED = 3
# update rules that follow the gradient alone, so that NTK_S says where they lead
_PLAIN = ("sgd", "momentum")


def describe_learned_modes(
    training: pd.DataFrame, measurements: pd.DataFrame, optimizer: str | None
) -> list[str]:
    """Sentences: what is learned of each target mode at the last step; where that is nothing,
    whether NTK_S's Rayleigh quotients tell why.

    Args:
        training, measurements: tables of a run.
        optimizer: what made its steps, None where that is not known.
    """
    fractions = _read_fractions(training)
    if not fractions:
        return []
    if len(fractions) == 1:
        (only,) = fractions.values()
        return [f"Of {_call(only, 'target mode')} its outputs hold {_list_values(only.values())}."]
    first, last = fractions[min(fractions)], fractions[max(fractions)]
    told = [_describe_fractions(first, last)]
    learned = [mode for mode, fraction in last.items() if fraction >= _LEARNED]
    stalled = [mode for mode, fraction in last.items() if abs(fraction) <= _UNLEARNED]
    if not stalled:
        return told
    quotients = _read_quotients(measurements, len(last))
    moved = learned or [mode for mode in last if last[mode] - first[mode] > _UNLEARNED]
    moved = [mode for mode in moved if mode not in stalled]
    if quotients and moved:
        ratios = [_compare(step, found, stalled, moved) for step, found in quotients.items()]
        told.append(_explain(ratios, stalled, moved, optimizer))
    elif quotients:
        told.append(
            "With no mode learned there is none to hold NTK_S's overlap with these against: it "
            "does not tell why."
        )
    return told


def _read_fractions(training: pd.DataFrame) -> dict[int, dict[int, float]]:
    """The learned fraction of each target mode at the first and the last step; empty where there
    are none.
    """
    columns = {
        int(named[1]): column
        for column in map(str, training)
        if (named := re.fullmatch(r"learned_fraction_(\d+)", column))
    }
    known = training.dropna(subset=list(columns.values())) if columns else training.iloc[:0]
    if known.empty:
        return {}
    return {
        int(row["step"]): {mode: float(row[columns[mode]]) for mode in sorted(columns)}
        for _, row in known.iloc[[0, -1]].iterrows()
    }


def _describe_fractions(first: dict[int, float], last: dict[int, float]) -> str:
    kinds: dict[str, list[int]] = {}
    for mode, fraction in last.items():
        kinds.setdefault(_name_kind(fraction), []).append(mode)
    told = []
    for kind, modes in kinds.items():
        if len(modes) > _NAMED:
            named = f"{len(modes)} of {len(last)} target modes"
            values = _list_values([last[mode] for mode in modes])
        else:
            named = _call(modes, "target mode")
            values = ", ".join(_tell_fraction(first[mode], last[mode]) for mode in modes)
        told.append(f"{named} {'is' if len(modes) == 1 else 'are'} {kind} ({values})")
    return f"{'; '.join(told)}.".capitalize()


def _name_kind(fraction: float) -> str:
    if fraction > _OVERSHOT:
        return "overshot"
    if fraction >= _LEARNED:
        return "learned"
    if fraction > _UNLEARNED:
        return "learned in part"
    return "not learned" if fraction >= -_UNLEARNED else "of the wrong sign"


def _tell_fraction(first: float, last: float) -> str:
    """With what was there at first, where that is more than next to nothing."""
    before = f" from {first:.2g}" if abs(first) > _UNLEARNED else ""
    return f"{last:.2g}{before}"


def _list_values(values: Collection[float]) -> str:
    if len(values) <= _NAMED:
        return ", ".join(f"{value:.2g}" for value in values)
    return f"{min(values):.2g} to {max(values):.2g}"


# of each target mode the least and the largest that NTK_S's Rayleigh quotient there can be
_Quotients = dict[int, tuple[float, float]]


def _read_quotients(measurements: pd.DataFrame, modes: int) -> dict[int, _Quotients]:
    """NTK_S's quotients by measured step. Empty where they were measured of fewer modes than there
    are, as the readout does not see all, so that their numbers differ, and where an error is not
    known.
    """
    if measurements.empty:
        return {}
    rows = measurements[
        (measurements["operator"] == "ntk")
        & measurements["quantity"].str.fullmatch(r"rayleigh_quotient_\d+")
    ]
    found: dict[int, _Quotients] = {}
    for step, quantity, value, error in zip(
        rows["step"], rows["quantity"], rows["value"], rows["stderr"], strict=True
    ):
        mode = int(quantity.rpartition("_")[2])
        found.setdefault(int(step), {})[mode] = (max(value - error, 0.0), value + error)
    known = all(
        len(each) == modes and all(math.isfinite(high) for _, high in each.values())
        for each in found.values()
    )
    return found if known else {}


@dataclass(frozen=True)
class _Ratio:
    """At a measured step, the largest quotient of the stalled modes over the least of those that
    are learned, or are being learned: it is between ``low`` and ``high``. The trace of NTK_S, which
    makes overlaps of quotients, cancels.
    """

    step: int
    low: float
    high: float


def _compare(
    step: int, found: _Quotients, stalled: Collection[int], moved: Collection[int]
) -> _Ratio:
    slow, fast = ([found[mode] for mode in modes] for modes in (stalled, moved))
    slow_low, slow_high = (max(each[end] for each in slow) for end in (0, 1))
    fast_low, fast_high = (min(each[end] for each in fast) for end in (0, 1))
    return _Ratio(
        step,
        slow_low / fast_high if fast_high else 0.0,
        slow_high / fast_low if fast_low else math.inf,
    )


def _explain(
    ratios: Sequence[_Ratio],
    stalled: Sequence[int],
    moved: Sequence[int],
    optimizer: str | None,
) -> str:
    """Why modes are stalled, as far as NTK_S tells: it does where its overlap with them was small
    at every measured step.
    """
    slow, fast = (_call(modes, "mode") for modes in (stalled, moved))
    beginning, largest = ratios[0], max(ratios, key=lambda ratio: ratio.low)
    if all(ratio.high <= _SMALL for ratio in ratios):
        most = max(ratio.high for ratio in ratios)
        compared = (
            f"its overlap with {slow} was at most {_round_up(most)} of that with {fast} at "
            f"{'each measured step' if len(ratios) > 1 else f'step {beginning.step}'}"
        )
        return _conclude(compared, optimizer)
    if largest.low <= _SMALL:
        return (
            f"Whether NTK_S's overlap with {slow} is small against that with {fast} is undecided: "
            "the error of its Rayleigh quotients is too large."
        )
    if beginning.high <= _SMALL:
        return (
            f"NTK_S's overlap with {slow} was at most {_round_up(beginning.high)} of that with "
            f"{fast} at step {beginning.step}, but {largest.low:.2g} at step {largest.step}: that "
            "tells why they began slowly, not why they are still not learned."
        )
    return (
        f"NTK_S's overlap with {slow} was {largest.low:.2g} of that with {fast} at step "
        f"{largest.step}: it does not tell why."
    )


def _conclude(compared: str, optimizer: str | None) -> str:
    if optimizer in _PLAIN:
        return f"NTK_S says why: {compared}, so that gradient descent hardly moves the state there."
    other = f"{optimizer} follows another direction" if optimizer else "what trained it is unknown"
    return (
        f"Of NTK_S {compared}: plain gradient descent would hardly move the state there, but "
        f"{other}, so it does not tell why."
    )


def _call(modes: Collection[int], noun: str) -> str:
    """``mode 1``, ``modes 2 and 3``, ``the 14 modes``."""
    if len(modes) > _NAMED:
        return f"the {len(modes)} {noun}s"
    *first, last = map(str, modes)
    return f"{noun}s {', '.join(first)} and {last}" if first else f"{noun} {last}"


def _round_up(bound: float) -> str:
    return f"{float(Context(prec=2, rounding=ROUND_CEILING).create_decimal_from_float(bound)):.2g}"
