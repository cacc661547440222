"""What the examples share: NTK_S of trained weights beside that of fresh ones, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from torch import Tensor, nn
from tqdm import tqdm

import kpflow_cli as kp

# each of NTK_S, a number of probes and the generator that they are drawn from
QUANTITIES: dict[str, Callable[[kp.GlobalNTK, int, torch.Generator], kp.Estimate]] = {
    "effective rank": lambda ntk, probes, source: kp.effective_rank(ntk, probes, generator=source),
    "temporal rank, trace": lambda ntk, probes, source: kp.effective_rank(
        kp.trace_over(ntk, "unit"), probes, generator=source
    ),
    "temporal rank, mean": lambda ntk, probes, source: kp.effective_rank(
        kp.mean_over(ntk, "unit"), probes, generator=source
    ),
    "alignment with core": lambda ntk, probes, source: kp.cosine_alignment(
        ntk, ntk.core, probes, generator=source
    ),
}
COLOURS = {"trained": "#0072B2", "random": "#D55E00"}
PLAIN = FuncFormatter(lambda number, _: f"{number:g}")
STYLE: Any = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
}


def draw_network(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network as its own class initializes it, from a seed; torch's global generator stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().eval()


def compare(
    trained: nn.Module,
    build: Callable[[], nn.Module],
    batches: Sequence[tuple[Tensor, ...]],
    *,
    state: Any,
    quantities: Sequence[str] = tuple(QUANTITIES),
    draws: int,
    probes: int,
) -> pd.DataFrame:
    """Every network on every batch: a row for each quantity of each.

    Args:
        trained: the network with its trained weights.
        build: makes the same network with fresh ones.
        batches: what the network is called with, one after the other.
        state: what NTK_S acts on, as ``kp.linearize`` takes it.
        quantities: keys of ``QUANTITIES``.
        draws: networks with fresh weights, from the seeds 0, 1, ...
        probes: random vectors an estimate rests on.
    """
    networks = [("trained", 0, trained)]
    networks += [("random", seed, draw_network(build, seed)) for seed in range(draws)]
    rows = []
    with tqdm(total=len(networks) * len(batches), unit="network on a batch") as progress:
        for weights, draw, network in networks:
            for batch, inputs in enumerate(batches):
                ntk = kp.global_ntk(kp.linearize(network, *inputs, state=state))
                for quantity in quantities:
                    source = torch.Generator().manual_seed(0)
                    found = QUANTITIES[quantity](ntk, probes, source)
                    row = (weights, draw, batch, quantity, found.value, found.standard_error)
                    rows.append((*row, found.num_probes))
                progress.update()
    columns = ["weights", "draw", "batch", "quantity", "value", "stderr", "probes"]
    return pd.DataFrame(rows, columns=columns)


def summarize(rows: pd.DataFrame) -> pd.DataFrame:
    """Geometric mean and 95 % interval of each quantity over draws and batches, and the relative
    standard error of the mean that random probes alone make.

    All are positive and may differ by factors from batch to batch: the interval is Student's of the
    logarithms. All draws see the same batches, so that the variances of the means by draw and of
    the means by batch add up, with the degrees of freedom of the fewer of the two.
    """
    found = []
    for (quantity, weights), group in rows.groupby(["quantity", "weights"], sort=False):
        logarithms = group.assign(value=group["value"].map(math.log))
        by_factor = [logarithms.groupby(factor)["value"].mean() for factor in ("draw", "batch")]
        varied = [means for means in by_factor if len(means) > 1]
        error = math.sqrt(sum(means.var() / len(means) for means in varied))
        fewest = min((len(means) for means in varied), default=1)
        mean = logarithms["value"].mean()
        low, high = kp.Estimate(mean, error, fewest).interval(0.95)
        from_probes = math.hypot(*(group["stderr"] / group["value"])) / len(group)
        found.append((quantity, weights, *map(math.exp, (mean, low, high)), from_probes))
    columns = ["quantity", "weights", "mean", "low", "high", "from probes"]
    return pd.DataFrame(found, columns=columns)


def draw_comparison(rows: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """A panel a quantity: a dot for each network on each batch, the mean with its interval."""
    quantities = summary["quantity"].unique()
    measured = rows.groupby(["quantity", "weights"])["value"]
    means = summary.set_index(["quantity", "weights"])[["mean", "low", "high"]]
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(1, len(quantities), figsize=(7, 2.2), layout="constrained")
        for panel, quantity in zip(panels, quantities, strict=True):
            for place, (weights, colour) in enumerate(COLOURS.items()):
                values = measured.get_group((quantity, weights))
                panel.plot([place - 0.15] * len(values), values, "o", ms=3, c=colour, alpha=0.4)
                mean, low, high = means.loc[(quantity, weights)]
                reach = [[mean - low], [high - mean]]
                panel.errorbar(place + 0.15, mean, reach, c=colour, fmt="s", ms=4, capsize=3)
            panel.set_yscale("log")
            # a factor of 10 at least: no small difference looks like a large one
            bottom, top = panel.get_ylim()
            panel.set_ylim(min(bottom, top / 10), top)
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_minor_locator(NullLocator())
            panel.yaxis.set_major_formatter(PLAIN)
            panel.set_xticks(range(len(COLOURS)), list(COLOURS))
            panel.set_xlim(-0.6, len(COLOURS) - 0.4)
            panel.set_title(quantity, loc="left", fontsize=8)
    return figure


def report(rows: pd.DataFrame, stem: str, folder: Path) -> None:
    """Print the summary; write the rows as ``<stem>.csv``, the plot as ``<stem>.png``."""
    summary = summarize(rows)
    rows.to_csv(folder / f"{stem}.csv", index=False)
    figure = draw_comparison(rows, summary)
    figure.savefig(folder / f"{stem}.png", dpi=200)
    plt.close(figure)
    print(summary.to_string(index=False, float_format="{:.3g}".format))
