"""A number and how far it can be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error.

    Attributes:
        value: the estimate, always within the range of the quantity.
        standard_error: one standard deviation of the value, or where no probe was drawn a bound of
            its rounding; 0 for an exact value, NaN where it is unknown, as with too few probes.
        num_probes: random vectors that the standard error rests on; 0 for an exact value.
        method: how it was found.

    Example:
        >>> import kpflow_cli as kp
        >>> print(kp.Estimate(348.13, 4.21, 40), kp.Estimate(2.0))
        348.1 +- 4.2 (40 probes) 2 (exact)
        >>> low, high = kp.Estimate(348.13, 4.21, 40).interval(0.95)
        >>> round(low, 1), round(high, 1)
        (339.6, 356.6)
    """

    value: float
    standard_error: float = 0.0
    num_probes: int = 0
    method: str = "exact"

    def __str__(self) -> str:
        if self.num_probes == 0 and self.standard_error == 0:
            return f"{self.value:.6g} (exact)"
        probes = f"{self.num_probes} probes" if self.num_probes else ""
        if math.isnan(self.standard_error) or not math.isfinite(self.value):
            return f"{self.value:.6g} ({': '.join(filter(None, ('error unknown', probes)))})"
        return f"{_to_same_place(self.value, self.standard_error)} ({probes or 'rounding'})"

    def __format__(self, specification: str) -> str:
        return format(str(self), specification)

    @property
    def relative_error(self) -> float:
        """Standard error over the absolute value."""
        return self.standard_error / abs(self.value) if self.value else self.standard_error

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Lower and upper end of the confidence interval value +- t * standard_error.

        t is the quantile of Student's distribution of ``num_probes - 1`` degrees of freedom, 1 for
        a bound of rounding. An exact value is both ends; an unknown error leaves the whole line.
        Raises ValueError unless ``confidence`` is between 0 and 1.
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
        if math.isnan(self.standard_error) or self.num_probes == 1:
            return -math.inf, math.inf
        quantile = student_t_quantile(confidence, self.num_probes - 1) if self.num_probes else 1.0
        reach = quantile * self.standard_error
        return self.value - reach, self.value + reach


def _to_same_place(value: float, error: float) -> str:
    """``value +- error``: the error to two significant digits, the value to the same
    decimal place.
    """
    if error == 0 or not math.isfinite(error):
        return f"{value:.6g} +- {error:.2g}"
    exponent = _exponent(error)
    if -5 < exponent < 6:
        place = 1 - exponent
        decimals = max(place, 0)
        return f"{round(value, place):.{decimals}f} +- {round(error, place):.{decimals}f}"
    digits = 1 + (max(_exponent(value) - exponent, 0) if value else 0)
    return f"{value:.{digits}e} +- {error:.1e}"


def _exponent(number: float) -> int:
    """Decimal exponent of a number rounded to two significant digits: -1 for 0.0996."""
    return int(f"{number:.1e}".partition("e")[2])


@lru_cache
def student_t_quantile(confidence: float, degrees: int) -> float:
    """t with P(-t < T < t) = ``confidence`` for Student's T of so many degrees of freedom, by
    bisection of arctan(t / sqrt(degrees)).
    """
    below, above = 0.0, math.pi / 2
    for _ in range(60):
        angle = (below + above) / 2
        below, above = (
            (angle, above)
            if _student_t_probability(angle, degrees) < confidence
            else (below, angle)
        )
    return math.sqrt(degrees) * math.tan(angle)


def _student_t_probability(angle: float, degrees: int) -> float:
    """P(-t < T < t) at t = sqrt(degrees) tan(angle): the finite series of Abramowitz and Stegun
    26.7.3 and 26.7.4.
    """
    odd = degrees % 2
    cosine = math.cos(angle)
    term, total = (cosine if odd else 1.0), 0.0
    for order in range(1 + odd, degrees, 2):
        total += term
        term *= order / (order + 1) * cosine**2
    series = math.sin(angle) * total
    return (angle + series) * 2 / math.pi if odd else series
