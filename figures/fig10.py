"""Figure 10: the number of heads changes the temporal rank of a self-attention model's NTK_S
little, its input dimension much.
"""

from __future__ import annotations

from itertools import combinations

import pandas as pd
from matplotlib.axes import Axes

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.plotting.style import (
    FULL_WIDTH,
    StyledFigure,
    add_letter,
    lay_out_mosaic,
    styled,
)
from kpflow_cli.reproduction.claims import Claim, at_most

from .attention_ranks import (
    DIMENSION,
    HEADS,
    OF_V,
    RANKS,
    REDUCTIONS,
    TRIALS,
    average_lines,
    choose_rank_look,
    divide,
    draw_ranks,
    judge_following,
    list_rank_handles,
    pick_largest,
    raise_above_one,
    tabulate_networks,
    tabulate_ranks,
)
from .seed_bands import count_seeds, draw_seeds_with_bars, make_bar_handle
from .seeds import average_over_seeds
from .table import Tables, pick, stack

# between the bars of different numbers of heads, which else hide one another
_STEP_ASIDE = 1.04


def data(tables: Tables) -> pd.DataFrame:
    """Effective ranks at initialization over input dimension, a series for each number of trials
    and of heads.
    """
    runs = tables["measurements"][[TRIALS, HEADS]].drop_duplicates().sort_values([TRIALS, HEADS])
    parts = []
    for trials, heads in runs.itertuples(index=False):
        series, networks = _label(trials, heads), {TRIALS: trials, HEADS: heads}
        ranks = tabulate_ranks(tables, {**RANKS, **OF_V}, series, DIMENSION, **networks)
        parts += [ranks, tabulate_networks(ranks, series, trials, heads)]
    return stack(parts)


def _label(trials: float, heads: float) -> str:
    return f"{trials:g} trials, {_label_heads(heads)}"


def _label_heads(heads: float) -> str:
    return f"{heads:g} head{'' if heads == 1 else 's'}"


def _list_series(data: pd.DataFrame) -> dict[int, dict[str, str]]:
    """By number of trials the series in the order of heads, each with its heads in words."""
    networks = pick(data, panel="networks").sort_values(["x", "y"])
    found: dict[int, dict[str, str]] = {}
    for trials, heads in zip(networks["x"], networks["y"], strict=True):
        found.setdefault(int(trials), {})[_label(trials, heads)] = _label_heads(heads)
    return found


@styled
def draw(data: pd.DataFrame) -> StyledFigure:
    """A row a reduction, below them ranks over those with the fewest heads; a column a number of
    trials, a line a number of heads.
    """
    runs = _list_series(data)
    rows = (*REDUCTIONS, "ratio")
    layout = [[f"{row}_{trials}" for trials in runs] for row in rows]
    figure, panels = lay_out_mosaic(layout, (FULL_WIDTH, 6.2), (1, 1, 0.75))
    for name, panel in zip("abcdefghi", panels.values(), strict=False):
        add_letter(panel, name)
    for trials, series in runs.items():
        for reduction in REDUCTIONS:
            draw_ranks(panels[f"{reduction}_{trials}"], data, f"temporal_{reduction}", series)
        panels[f"{rows[0]}_{trials}"].set_title(rf"$n_x$ = {trials} trials")
        _draw_ratios(panels[f"ratio_{trials}"], data, list(series))
        panels[f"ratio_{trials}"].set_xlabel(r"input dimension $n_\mathrm{in}$")
    first = min(runs)
    for reduction, words in REDUCTIONS.items():
        panels[f"{reduction}_{first}"].set_ylabel(f"temporal rank of NTK$_S$,\n{words}")
    fewest = next(iter(runs[first].values()))
    panels[f"ratio_{first}"].set_ylabel(f"over the rank\nwith {fewest}, mean")
    handles = list_rank_handles(data, runs[first].values())
    bars = make_bar_handle(count_seeds(pick(data, panel="input")))
    bars.set_label(f"g to i: {bars.get_label()}")
    figure.legend(handles=[*handles, bars], loc="outside lower center", ncols=3)
    return figure


def _draw_ratios(panel: Axes, data: pd.DataFrame, runs: list[str]) -> None:
    """Of each seed over its own with the fewest heads, side by side at each dimension."""
    first, *others = (pick(data, panel="temporal_mean", series=series) for series in runs)
    for order, rows in enumerate(others, start=1):
        ratio = _divide_by_seed(rows, first)
        beside = ratio.assign(x=ratio["x"] * _STEP_ASIDE ** (order - (len(runs)) / 2))
        draw_seeds_with_bars(panel, beside, **choose_rank_look(order) | {"markersize": 2})
    panel.axhline(1.0, color="0.6", linewidth=0.6, zorder=0)
    low, high = panel.get_ylim()
    panel.set(xscale="log", ylim=(min(low, 0.8), max(high, 1.2)))


def _divide_by_seed(rows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Of each seed and dimension one value over the other, with its error."""
    both = rows.merge(others, on=["line", "x"], suffixes=("", "_other"))
    ratio = divide(
        both,
        both[["value_other", "stderr_other", "probes_other"]].set_axis(
            ["value", "stderr", "probes"], axis=1
        ),
    )
    return ratio.assign(line=both["line"])


def claims(data: pd.DataFrame) -> list[Claim]:
    """Heads change little; the input's dimension is what temporal rank follows with any number of
    them.
    """
    found = []
    for reduction in REDUCTIONS:
        factor = _compare_heads(data, f"temporal_{reduction}")
        claim = (
            f"{reduction} reduction: largest factor between temporal ranks of models with "
            "different numbers of heads"
        )
        found.append(
            at_most(claim, factor, 1.25, reason="modest: a quarter, where heads grow eightfold")
        )
        found.append(
            judge_following(
                data,
                f"temporal_{reduction}",
                list(data["series"].unique()),
                f"{reduction} reduction",
            )
        )
    return found


def _compare_heads(data: pd.DataFrame, panel: str) -> Estimate:
    """The largest factor between any two numbers of heads at any input dimension and number of
    trials; NaN of a single number of heads.
    """
    pairs = [pair for runs in _list_series(data).values() for pair in combinations(runs, 2)]
    return average_over_seeds(
        data,
        lambda one: pick_largest(
            raise_above_one(divide(*(average_lines(one, panel, each) for each in pair)))
            for pair in pairs
        ),
    )
