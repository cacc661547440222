"""What one configuration found of one quantity at one step: of a single run as its table has it, of
several seeds their mean with the spread among them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

# of a quantity: where it stands in the tables
QUANTITY = ["operator", "quantity", "reduction"]
TRAINING = "training"

ErrorKind = Literal["exact", "probes", "bound", "unknown", "none", "seeds"]
# quantities whose error is the residual of an iteration, which bounds it
_BOUNDED = ("operator_norm",)
# of operators without negative eigenvalues
_SHARES = ("alignment", "random_core_alignment", "target_overlap", "accuracy")
_NOT_NEGATIVE = (
    "trace",
    "frobenius_norm",
    "operator_norm",
    "rayleigh_quotient",
    "loss",
    "evaluation_loss",
)


@dataclass(frozen=True)
class Value:
    """A number of a configuration.

    Attributes:
        value: of several seeds their mean.
        error: a standard error, of several seeds that of their mean; 0 where it is exact, a bound
            where ``kind`` says so, NaN where it is unknown or there is none.
        kind: what the error is: ``exact``, of random ``probes``, a ``bound`` of rounding or of an
            iteration, ``unknown``, ``none`` as in training.csv of a single run, of several
            ``seeds``.
        count: probes or seeds that the error rests on, 0 for none.
        spread: standard deviation among seeds, NaN of a single run.
    """

    value: float
    error: float
    kind: ErrorKind
    count: int = 0
    spread: float = math.nan

    @property
    def is_random(self) -> bool:
        """Whether its error is a standard error."""
        return self.kind in ("probes", "seeds")


def pool(rows: pd.DataFrame, runs: int) -> pd.DataFrame:
    """A row for each step and quantity that all runs of one configuration have.

    Args:
        rows: of ``kpflow_cli.sweeps.run_rows.read_rows``, finite values of these runs alone.
        runs: how many they are.

    Returns:
        Columns ``step``, those of ``QUANTITY``, and the attributes of ``Value``; in the order of
        the tables.
    """
    keys = ["step", *QUANTITY]
    if runs == 1:
        kinds = _error_kinds(rows)
        counts = rows["probes"].fillna(0).astype(int)
        return rows[keys].assign(
            value=rows["value"],
            error=rows["stderr"],
            kind=kinds,
            count=counts.where(kinds == "probes", 0),
            spread=math.nan,
        )
    grouped = rows.groupby(keys, sort=False)["value"]
    found = grouped.agg(["count", "mean", "std", "min", "max"]).reset_index()
    found = found[found["count"] == runs]
    # equal numbers have no spread, whatever their mean is rounded to
    are_equal = found["min"] == found["max"]
    spread = found["std"].mask(are_equal, 0.0)
    return found[keys].assign(
        value=found["mean"].mask(are_equal, found["min"]),
        error=spread / math.sqrt(runs),
        kind="seeds",
        count=runs,
        spread=spread,
    )


def find_range(name: tuple[str, str, str]) -> tuple[float, float]:
    """Where a quantity, by ``QUANTITY``, can be."""
    quantity = re.sub(r"_\d+$", "", name[1])
    if quantity in _SHARES:
        return 0.0, 1.0
    if quantity == "effective_rank":
        return 1.0, math.inf
    return (0.0 if quantity in _NOT_NEGATIVE else -math.inf), math.inf


def _error_kinds(rows: pd.DataFrame) -> pd.Series:
    """What the errors of single runs are; standard error 0 is exact, empty unknown."""
    error, probes = rows["stderr"], rows["probes"].fillna(0)
    chosen = np.select(
        [
            rows["operator"] == TRAINING,
            error.isna() | ~np.isfinite(error),
            error == 0,
            (probes == 0) | rows["quantity"].isin(_BOUNDED),
        ],
        ["none", "unknown", "exact", "bound"],
        "probes",
    )
    return pd.Series(chosen, index=rows.index)
