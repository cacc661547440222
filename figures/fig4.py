"""Figure 4: SGD leaves a GRU with one end state unlearned, and learns the same GRU with five
planted fixed points.
"""

from __future__ import annotations

import pandas as pd

from kpflow_cli.plotting.style import StyledFigure, styled
from kpflow_cli.reproduction.claims import Claim, at_least, at_most, within

from .learning import (
    FRACTIONS,
    LEARNED,
    OVERLAPS,
    UNLEARNED,
    draw_learning,
    find_first_learned,
    list_seeds,
    pick_fractions,
    pick_worst,
    tabulate_learning,
)
from .table import Tables, pick, read_number

NETWORKS = {
    "network1": ("network 1: SGD", 0),
    "network2": ("network 2: SGD, planted points", 1),
    "second_order": ("network 1: Shampoo", 2),
}
_UNLEARNED_REASON = "unlearned: not even a tenth"


def data(tables: Tables) -> pd.DataFrame:
    """Of the three trainings."""
    return tabulate_learning(tables, NETWORKS)


@styled
def draw(data: pd.DataFrame) -> StyledFigure:
    """Of the three trainings."""
    return draw_learning(data, NETWORKS)


def claims(data: pd.DataFrame) -> list[Claim]:
    """Network 1 stalls for want of overlap with the targets, network 2 does not, and a second-order
    method frees network 1; the worst of all seeds.
    """
    everyone = list_seeds(data)
    final = [
        fraction
        for seed in everyone
        for fraction in pick_fractions(data, "second_order", None, seed)
    ]
    ends = {run: pick(data, panel="end_states", series=run)["value"].tolist() for run in NETWORKS}
    return [
        at_least(
            "network 2: least learned fraction of any mode, its best step",
            _find_best(data, everyone),
            LEARNED,
            reason="learned: four fifths",
        ),
        *_judge_stall(data, everyone),
        at_least(
            "network 1, Shampoo: least learned fraction at the end",
            pick_worst(final, largest=False),
            LEARNED,
            reason="out of the stall: learned",
        ),
        within(
            "network 1: end states of zero-input trajectories",
            pick_worst(ends["network1"], largest=True),
            1,
            0,
            reason="dynamics without input collapse to one fixed point",
        ),
        at_least(
            "network 2: fewest end states of zero-input trajectories",
            pick_worst(ends["network2"], largest=False),
            2,
            reason="several are at least two",
        ),
    ]


def _judge_stall(data: pd.DataFrame, everyone: list[int]) -> list[Claim]:
    """Network 1 learns neither of two modes, and hardly overlaps with them from the start."""
    learned = {seed: find_first_learned(data, "network2", seed) for seed in everyone}
    meanwhile = [
        fraction
        for seed in everyone
        for fraction in pick_fractions(data, "network1", learned[seed], seed)[1:]
    ]
    stalled = [
        float(pick(data, panel=FRACTIONS[mode], series="network1")["value"].max())
        for mode in (2, 3)
    ]
    steps = pick(data, panel="evaluation_loss", series="network1")["x"].max()
    return [
        at_most(
            "network 1: largest fraction of modes 2 and 3 when network 2 first has all above 0.8",
            pick_worst(meanwhile, largest=True),
            UNLEARNED,
            reason=_UNLEARNED_REASON,
        ),
        at_most(
            f"network 1: largest fraction of modes 2 and 3 at any of the {steps:.0f} steps",
            pick_worst(stalled, largest=True),
            UNLEARNED,
            reason=_UNLEARNED_REASON,
        ),
        at_most(
            "network 1: largest overlap of NTK_S with target modes 2 and 3 at initialization, "
            "over that with mode 1",
            _compare_overlaps(data, everyone),
            0.01,
            reason=(
                "near none: gradient descent moves along them a hundred times more slowly than "
                "along the mode it learns"
            ),
        ),
    ]


def _find_best(data: pd.DataFrame, everyone: list[int]) -> float:
    """The least fraction of the three modes, at the step where it is highest; of the worst seed."""
    best = []
    for seed in everyone:
        rows = pick(data, series="network2", line=seed)
        rows = rows[rows["panel"].isin(FRACTIONS.values())]
        best.append(float(rows.groupby("x")["value"].min().max()))
    return pick_worst(best, largest=False)


def _compare_overlaps(data: pd.DataFrame, everyone: list[int]) -> float:
    """Of modes 2 and 3 to mode 1, the largest; exact, as the trace of NTK_S that all share is their
    only error, and cancels.
    """
    ratios = []
    for seed in everyone:
        first, second, third = (
            read_number(data, panel=OVERLAPS[mode], series="network1", line=seed, x=0)
            for mode in (1, 2, 3)
        )
        ratios += [second / first, third / first]
    return pick_worst(ratios, largest=True)
