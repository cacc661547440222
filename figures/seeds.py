"""Claims about initializations in general: a statistic of each seed alone, and its mean over the
seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from kpflow_cli.estimators.estimate import Estimate

from .table import UNKNOWN


def average_over_seeds(
    rows: pd.DataFrame, statistic: Callable[[pd.DataFrame], Estimate]
) -> Estimate:
    """The mean over the lines, which are seeds, of a statistic of the rows of each; of one seed
    what it is there, with its own error.
    """
    found = [statistic(each) for _, each in rows.groupby("line")]
    return found[0] if len(found) == 1 else average_seeds([each.value for each in found])


def average_seeds(values: Sequence[float]) -> Estimate:
    """Mean with the standard error that the seeds' spread gives. Seeds are independent, so it holds
    the errors of the estimates behind each value too, also where the points of one seed share their
    probes. Unknown of fewer than two.
    """
    if len(values) < 2 or any(math.isnan(value) for value in values):
        return UNKNOWN
    return Estimate(
        float(np.mean(values)),
        float(np.std(values, ddof=1)) / math.sqrt(len(values)),
        len(values),
        "seeds",
    )
