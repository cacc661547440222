"""By how much two values differ, in units of the standard error of the difference."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kpflow_cli.comparison.values import Value
from kpflow_cli.estimators.estimate import student_t_quantile

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """``second - first``.

    Attributes:
        amount: in the unit of both.
        error: its standard error, sqrt(se1^2 + se2^2) of independent values; 0 where neither has
            one, NaN where one is unknown or missing.
        bound: of what is beside it in error and no standard error.
        ratio: how many standard errors it is from 0, less the bound; NaN where there are none.
        degrees: of freedom of Student's distribution that the ratio is held against, after Welch
            and Satterthwaite, rounded down; 0 without a ratio.
        told: a word where there is no ratio: ``exact``, ``no spread`` among seeds, ``within bound``
            or ``beyond bound``, ``unknown`` error, ``no error`` in the table.
    """

    amount: float
    error: float
    bound: float
    ratio: float
    degrees: int
    told: str

    @property
    def is_clear(self) -> bool:
        """Whether 0 is outside its 95 % interval."""
        return self.degrees > 0 and abs(self.ratio) > student_t_quantile(CONFIDENCE, self.degrees)


def subtract(second: Value, first: Value) -> Difference:
    """What ``second`` has more than ``first``."""
    amount = second.value - first.value
    kinds = {first.kind, second.kind}
    for kind, told in (("unknown", "unknown"), ("none", "no error")):
        if kind in kinds:
            return Difference(amount, math.nan, 0.0, math.nan, 0, told)
    error = math.hypot(*(each.error for each in (first, second) if each.is_random))
    bound = sum(each.error for each in (first, second) if each.kind == "bound")
    beyond = max(abs(amount) - bound, 0.0)
    if error == 0:
        if bound:
            told = "beyond bound" if beyond else "within bound"
        else:
            told = "no spread" if "seeds" in kinds else "exact"
        return Difference(amount, 0.0, bound, math.nan, 0, told)
    ratio = math.copysign(beyond / error, amount)
    return Difference(amount, error, bound, ratio, _degrees(first, second), "")


def _degrees(first: Value, second: Value) -> int:
    """Of freedom of sqrt(se1^2 + se2^2): (se1^2 + se2^2)^2 / (se1^4 / nu1 + se2^4 / nu2), with nu
    one less than the probes or seeds of each (Welch 1947).
    """
    parts = [(each.error, each.count - 1) for each in (first, second) if each.is_random]
    largest = max(error for error, _ in parts)
    # of relative errors, whose fourth powers are in range
    scaled = [(error / largest, degrees) for error, degrees in parts]
    total = sum(error**2 for error, _ in scaled)
    return max(int(total**2 / sum(error**4 / max(nu, 1) for error, nu in scaled)), 1)
