"""The schematic of figure 6: a self-attention model's weight sites around the attention that it
really pays.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from kpflow_cli.plotting.style import COLOURS, HEAT_MAP

# name, middle, width of each site, and what goes into it
_SITES = (
    ("projection", (14, 13), 10.5, "$X$"),
    ("query", (30.5, 21), 9, ""),
    ("key", (30.5, 13), 9, "$H$"),
    ("value", (30.5, 5), 9, ""),
    ("merge", (70, 13), 9, "$A$"),
    ("MLP\n1", (81, 13), 5.6, ""),
    ("MLP\n2", (88.5, 13), 5.6, ""),
    ("MLP\n3", (96, 13), 5.6, ""),
)
_MAP = (42, 4, 15, 16)
_ARROWS = (
    ((6, 13), (8.6, 13)),
    ((19.4, 14), (25.8, 20)),
    ((19.4, 13), (25.8, 13)),
    ((19.4, 12), (25.8, 6)),
    ((35.2, 20), (41.6, 16)),
    ((35.2, 13), (41.6, 13)),
    ((57.4, 13), (65.3, 13)),
    ((74.7, 13), (78, 13)),
    ((84, 13), (85.5, 13)),
    ((91.5, 13), (93, 13)),
)
# the values go round the map to where the attention weighs them
_ROUND = ((35.2, 2.6), (61.3, 12.6))


def draw_architecture(panel: Axes, weights: pd.DataFrame) -> None:
    """From left to right; ``weights`` are those of the attention, time ``y`` to time ``x``."""
    panel.set(xlim=(0, 100), ylim=(0, 26))
    panel.axis("off")
    words: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 6.5}
    panel.text(3, 13, "inputs", **words)
    for name, (x, y), width, variable in _SITES:
        box = FancyBboxPatch(
            (x - width / 2, y - 2.4), width, 4.8, "round,pad=0.1,rounding_size=0.8", linewidth=0.7
        )
        box.set(facecolor="#DCE9F5", edgecolor=COLOURS[0])
        panel.add_patch(box)
        panel.text(x, y, name, linespacing=0.9, **words)
        panel.text(x - width / 2 - 2.2, y + 1.0, variable, ha="center", va="bottom", fontsize=8)
    arrow: dict[str, Any] = {
        "arrowstyle": "-|>",
        "color": "black",
        "linewidth": 0.7,
        "mutation_scale": 7,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    for start, end in _ARROWS:
        panel.annotate("", end, start, arrowprops=arrow)
    panel.annotate(
        "",
        _ROUND[1],
        _ROUND[0],
        arrowprops={**arrow, "connectionstyle": "angle,angleA=0,angleB=90,rad=3"},
    )
    inset = panel.inset_axes(_MAP, transform=panel.transData)
    matrix = weights.pivot_table(index="y", columns="x", values="value").to_numpy()
    inset.imshow(matrix, cmap=HEAT_MAP, aspect="auto", interpolation="nearest", vmin=0.0)
    inset.set(xticks=[], yticks=[])
    inset.set_title(
        f"attention of each time (row)\nto each, up to {matrix.max():.2g}", fontsize=6, pad=2
    )
    sites = (
        "boxes: weight sites\nstate: all their outputs\n"
        + r"$V$ = cat($X$, $H$, $H$, $H$, $A$, $\ldots$)"
    )
    panel.text(85, 22.5, sites, linespacing=1.3, **words)
