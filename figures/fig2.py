"""Figure 2: Theorem 1 on trained networks. V, its Gram matrix V V^T, and the K that it makes."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes

from kpflow_cli.plotting.heat_maps import add_colour_bar, draw_signed_map, find_limit
from kpflow_cli.plotting.style import (
    FULL_WIDTH,
    StyledFigure,
    add_letter,
    lay_out_mosaic,
    styled,
)
from kpflow_cli.reproduction.claims import Claim, at_most

from .table import (
    Tables,
    pick,
    pick_last_step,
    read_estimate,
    read_number,
    stack,
    tabulate,
    tabulate_measurements,
)

_NETWORKS = {"rnn": "continuous-time RNN", "gru": "GRU"}
_SITES = "site variables ($h$, then $x$)"
# share of the entries of V that its scale reaches to
_MOST = 0.99
_MATRICES = {"v": "$V$", "gram": r"$V V^\top$", "k": "$K$"}


def data(tables: Tables) -> pd.DataFrame:
    """Entries of V, V V^T and K, and the ranks, of each trained network."""
    parts = []
    matrices, summary = (
        pick_last_step(tables["core_matrices"]),
        pick_last_step(tables["core_summary"]),
    )
    for run in _NETWORKS:
        for name in _MATRICES:
            rows = pick(matrices, run=run, matrix=name)
            parts.append(
                tabulate(f"{run}_{name}", run, x=rows["column"], y=rows["row"], value=rows["value"])
            )
        for quantity, value in zip(
            *(pick(summary, run=run)[column] for column in ("quantity", "value")), strict=True
        ):
            parts.append(tabulate("summary", f"{run}_{quantity}", value=value))
        whole = pick(
            pick_last_step(tables["measurements"]),
            run=run,
            operator="ntk",
            quantity="effective_rank",
            reduction="full",
        )
        parts.append(tabulate_measurements("summary", f"{run}_effective_rank_ntk", whole))
    return stack(parts)


@styled
def draw(data: pd.DataFrame) -> StyledFigure:
    """A row a network: V, V V^T, K, with their ranks."""
    figure, panels = lay_out_mosaic(
        [[f"{run}_{name}" for name in _MATRICES] for run in _NETWORKS], (FULL_WIDTH, 5.0), (1, 1)
    )
    rows = {name: pick(data, panel=name) for name in panels}
    for index, (run, network) in enumerate(_NETWORKS.items()):
        found = {
            name: read_number(data, panel="summary", series=f"{run}_{name}")
            for name in ("rank_v", "rank_k", "effective_rank_v", "states")
        }
        titles = {
            "v": f"$V$: rank {found['rank_v']:.0f},\n"
            f"effective rank {found['effective_rank_v']:.1f}",
            "gram": r"$V V^\top$",
            "k": f"$K$: rank {found['rank_k']:.0f} of {found['states']:.0f}",
        }
        for column, (name, title) in enumerate(titles.items()):
            panel, own = panels[f"{run}_{name}"], rows[f"{run}_{name}"]
            draw_signed_map(panel, own, title, limit=_find_most(own) if name == "v" else None)
            panel.set_ylabel("trial and time")
            panel.set_xlabel(_SITES if name == "v" else "trial and time")
            add_colour_bar([panel])
            add_letter(panel, "abcdef"[3 * index + column])
        _name_units(panels[f"{run}_k"], data, run)
        panels[f"{run}_v"].set_ylabel(f"{network}\ntrial and time")
    return figure


def _find_most(rows: pd.DataFrame) -> float:
    """What nearly all entries of V are below: a bias has a column of ones, beside which small
    states would look like nothing.
    """
    return float(rows["value"].abs().quantile(_MOST)) or find_limit(rows)


def _name_units(panel: Axes, data: pd.DataFrame, run: str) -> None:
    """Which units the blocks of K are of, in place of numbers of rows."""
    size, states = (
        len(pick(data, panel=f"{run}_k")) ** 0.5,
        len(pick(data, panel=f"{run}_gram")) ** 0.5,
    )
    units = choose_units(_count_units(data, run), round(size / states))
    middles = [states * (block + 0.5) - 0.5 for block in range(len(units))]
    names = [f"unit {unit}" for unit in units]
    panel.set_xticks(middles, names)
    panel.set_yticks(middles, names, rotation=90, va="center")
    panel.tick_params(length=0)
    for block in range(1, len(units)):
        for draw_line in (panel.axhline, panel.axvline):
            draw_line(states * block - 0.5, color="0.6", linewidth=0.4)
    panel.set(xlabel="trial and time of each unit", ylabel="trial and time of each unit")


def _count_units(data: pd.DataFrame, run: str) -> int:
    """n of the B T n states."""
    states, trial_times = (
        read_number(data, panel="summary", series=f"{run}_{name}")
        for name in ("states", "trial_times")
    )
    return round(states / trial_times)


def choose_units(units: int, count: int) -> list[int]:
    """Which units K was recorded for: ``count`` of them, evenly spaced from 0, as all that is
    recorded in part.
    """
    return [index * units // count for index in range(count)]


def claims(data: pd.DataFrame) -> list[Claim]:
    """K is what Theorem 1 says, and its rank is bounded by V's."""
    found = []
    for run, network in _NETWORKS.items():
        value = {
            name: read_number(data, panel="summary", series=f"{run}_{name}")
            for name in (
                "relative_error",
                "rank_k",
                "rank_bound",
                "effective_rank_v",
                "trial_times",
                "states",
            )
        }
        rank = read_estimate(pick(data, panel="summary", series=f"{run}_effective_rank_ntk"))
        # N = B T n
        core = value["effective_rank_v"] * value["states"] / value["trial_times"]
        bound = "n rank V" if run == "rnn" else "3n (rank H + rank X)"
        found += [
            at_most(
                f"{network}: relative error of K against automatic differentiation",
                value["relative_error"],
                1e-10,
                reason="Theorem 1 is exact: nothing but rounding remains in double precision",
                identity=True,
            ),
            at_most(
                f"{network}: rank of K over its bound, {bound}",
                value["rank_k"] / value["rank_bound"],
                1,
                reason="sum_s a_s rank V_s bounds the rank of K",
                identity=True,
            ),
            at_most(
                f"{network}: effective rank of NTK_S over that of its core, n times V's",
                replace(rank, value=rank.value / core, standard_error=rank.standard_error / core),
                1,
                reason=(
                    "the bottleneck of V is NTK_S's: P brings back no dimensions that V leaves out"
                ),
            ),
        ]
    return found
