"""What figures 5 and 5b share: planes of recurrent gain and input rank of a student-teacher network
at initialization.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd

from kpflow_cli.reproduction.claims import Claim, at_least

from .planes import average_over_planes, least_growth, share_explained, typical_growth
from .table import Tables, pick, pick_first_step, tabulate_measurements

GAIN, INPUT_RANK, CASE = "model.gain", "task.input_rank", "task.case"
# runs of the planes, and what their inputs are, in words
SETTINGS = {"plane": "", "normalized": ", normalized inputs"}
CASES = ("W", "Win", "both")
LABELS = {
    "W": "$W$ trained",
    "Win": r"$W_\mathrm{in}$ trained",
    "both": r"$W$, $W_\mathrm{in}$ trained",
}
_GROWTH = {typical_growth: 0.8, least_growth: 0.0}


def tabulate_planes(
    tables: Tables, quantities: Mapping[str, tuple[str, str]]
) -> list[pd.DataFrame]:
    """A panel for each (quantity, reduction) of NTK_S at initialization, a series a case and
    setting, a line a seed.
    """
    parts = []
    ntk = pick_first_step(pick(tables["measurements"], operator="ntk"))
    for panel, (quantity, reduction) in quantities.items():
        found = pick(ntk, quantity=quantity, reduction=reduction)
        for run, setting in SETTINGS.items():
            for case in CASES:
                rows = pick(found, run=run, **{CASE: case}).sort_values(["seed", GAIN, INPUT_RANK])
                if len(rows):
                    where = {"line": rows["seed"], "x": rows[GAIN], "y": rows[INPUT_RANK]}
                    parts.append(tabulate_measurements(panel, case + setting, rows, **where))
    return parts


def judge_planes(data: pd.DataFrame, temporal: str, spatial: str) -> list[Claim]:
    """Of every case and setting: temporal rank grows with the input's rank, spatial rank is
    governed by gain.
    """
    found = []
    for series in [case + setting for setting in SETTINGS.values() for case in CASES]:
        rows = {name: pick(data, panel=name, series=series) for name in (temporal, spatial)}
        if not all(len(each) for each in rows.values()):
            continue
        for quantity, claim, reason in (
            (
                typical_growth,
                "median over gains of the rank correlation of temporal rank with input rank",
                "grows at a typical gain",
            ),
            (
                least_growth,
                "least over gains of the rank correlation of temporal rank with input rank",
                "grows at every gain",
            ),
        ):
            found.append(
                at_least(
                    f"{series}: {claim}",
                    average_over_planes(rows[temporal], quantity),
                    _GROWTH[quantity],
                    reason=reason,
                )
            )
        for name, axis, claim in (
            (temporal, 0, "temporal rank that input rank explains"),
            (spatial, 1, "spatial rank that gain explains"),
        ):
            share = average_over_planes(rows[name], partial(share_explained, axis=axis))
            words = f"{series}: share of the variance of log {claim}"
            found.append(
                at_least(
                    words, share, 0.5, reason="governs it: explains more than all else together"
                )
            )
    return found
