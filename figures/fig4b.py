"""Figure 4b: the continuous-time RNN, from gain 1, from torch's default initialization, and with
five planted fixed points.
"""

from __future__ import annotations

import pandas as pd

from kpflow_cli.plotting.style import StyledFigure, styled
from kpflow_cli.reproduction.claims import Claim, at_least, at_most

from .learning import (
    LEARNED,
    UNLEARNED,
    draw_learning,
    list_seeds,
    pick_fractions,
    pick_worst,
    tabulate_learning,
)
from .table import Tables, pick

# with the looks that figure 4 has for a network of gain 1 and for one with planted points
NETWORKS = {
    "gain1": ("gain 1", 0),
    "torch_default": ("torch's default", 3),
    "planted": ("gain 1, planted points", 1),
}


def data(tables: Tables) -> pd.DataFrame:
    """Of the three trainings."""
    return tabulate_learning(tables, NETWORKS)


@styled
def draw(data: pd.DataFrame) -> StyledFigure:
    """Of the three trainings."""
    return draw_learning(data, NETWORKS)


def claims(data: pd.DataFrame) -> list[Claim]:
    """Figure 4's claims, put to the continuous-time RNN; the worst of all seeds."""
    everyone, found = list_seeds(data), []
    steps = pick(data, panel="evaluation_loss")["x"].max()
    for run in ("gain1", "torch_default"):
        final = [
            fraction for seed in everyone for fraction in pick_fractions(data, run, None, seed)[1:]
        ]
        name = f"{NETWORKS[run][0]}: largest fraction of modes 2 and 3 after {steps:.0f} steps"
        found.append(
            at_most(
                name,
                pick_worst(final, largest=True),
                UNLEARNED,
                reason="stalled: not even a tenth is learned",
            )
        )
    planted = [
        fraction for seed in everyone for fraction in pick_fractions(data, "planted", None, seed)
    ]
    name = f"{NETWORKS['planted'][0]}: least learned fraction after {steps:.0f} steps"
    found.append(
        at_least(name, pick_worst(planted, largest=False), LEARNED, reason="learned: four fifths")
    )
    ends = pick(data, panel="end_states", series="planted")["value"].tolist()
    name = f"{NETWORKS['planted'][0]}: fewest end states of zero-input trajectories"
    return [
        *found,
        at_least(name, pick_worst(ends, largest=False), 2, reason="several are at least two"),
    ]
