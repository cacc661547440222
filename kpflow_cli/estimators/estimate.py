"""A number and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error.

    Attributes:
        value: the estimate, always within the range of the quantity.
        standard_error: one standard deviation of the value; 0 for an exact value, NaN where too few probes leave it unknown.
        num_probes: random vectors that the standard error rests on; 0 for an exact value.
        method: how it was found.
    """

    value: float
    standard_error: float = 0.0
    num_probes: int = 0
    method: str = "exact"

    def __str__(self) -> str:
        if self.num_probes == 0:
            return f"{self.value:.6g} (exact)"
        return f"{self.value:.6g} +- {self.standard_error:.2g} ({self.num_probes} probes)"

    def __format__(self, specification: str) -> str:
        return format(str(self), specification)

    @property
    def relative_error(self) -> float:
        """Standard error over the absolute value."""
        return self.standard_error / abs(self.value) if self.value else self.standard_error
