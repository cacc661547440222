"""What a measurement gives: rows of tables, spectra."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from kpflow_cli.errors import FailedRunError
from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.frame_statistics import FrameStatistics

# a row of error 0 is right to this share of its value; where rounding may be more it is the row's
# error
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Measurement:
    """One row of measurements.csv, its step apart.

    Example:
        >>> import kpflow_cli as kp
        >>> kp.Measurement("ntk", "trace", "full", kp.Estimate(2.0)).quantity
        'trace'
    """

    operator: str
    quantity: str
    reduction: str
    estimate: Estimate


@dataclass(frozen=True)
class Spectrum:
    """Leading values of one operator, descending, with their cumulative share of its trace (or
    squared Frobenius norm), in [0, 1].
    """

    operator: str
    values: Tensor
    cumulative: Tensor


@dataclass(frozen=True)
class Measured:
    """What one measure, or all of a checkpoint, found: rows of measurements.csv, and spectra.

    Example:
        >>> import kpflow_cli as kp
        >>> rows = (kp.Measurement("ntk", "trace", "full", kp.Estimate(2.0)),)
        >>> len(kp.Measured(rows).measurements), kp.Measured(rows).spectra
        (1, ())
    """

    measurements: tuple[Measurement, ...] = ()
    spectra: tuple[Spectrum, ...] = ()


def exact(value: float, rounding: float = 0.0) -> Estimate:
    """A value without a random part; ``rounding`` bounds its error, and is its error where it is
    more than a small share of it.
    """
    return (
        Estimate(value)
        if rounding <= _ROUNDING * abs(value)
        else Estimate(value, rounding, 0, "exact up to rounding")
    )


def statistics_rows(operator: str, reduction: str, found: FrameStatistics) -> Iterator[Measurement]:
    """Trace, Frobenius norm and effective rank; of an operator that is 0 no rank, for it has none.

    Raises FailedRunError where only the squares of an operator's entries are 0: they are below the
    range of its dtype.
    """
    trace, norm = found.trace(), found.frobenius_norm()
    if norm.value == 0 and trace.value > 0:
        raise FailedRunError(
            f"{operator}, {reduction}: squares are below the range of the dtype; try dtype=float64"
        )
    yield Measurement(operator, "trace", reduction, trace)
    yield Measurement(operator, "frobenius_norm", reduction, norm)
    if norm.value:
        yield Measurement(operator, "effective_rank", reduction, found.effective_rank())


def largest_row(
    operator: str, values: Tensor, residuals: Tensor, start_vectors: int
) -> Measurement:
    """The operator norm, from the leading pair and its residual."""
    estimate = Estimate(
        values[0].item(), residuals[0].item(), start_vectors, "block Krylov, residual bound"
    )
    return Measurement(operator, "operator_norm", "full", estimate)


def spectrum_of(
    operator: str, values: Tensor, shares: Tensor, count: int, total: float | None = None
) -> Spectrum:
    """The first ``count`` values; ``shares`` are what each is of the total, by default
    their sum.
    """
    total = shares.sum().item() if total is None else total
    return Spectrum(
        operator, values[:count], (shares[:count].cumsum(0) / (total or 1.0)).clamp_max(1.0)
    )
