"""The plot of ``kpflow bench``, from bench_detail.csv."""

from __future__ import annotations

import math

import pandas as pd

from .style import COLOURS, LINE_STYLES, StyledFigure, lay_out_panels, styled

_WAYS = {
    "torch_func": "torch.func, two-sided",
    "two_sided": "kpflow, two-sided",
    "one_sided": "kpflow, one-sided",
    "gemm_floor": "GEMM floor of one-sided",
}
_AXES = {"B": "trials B", "T": "time steps T", "n": "units n"}


@styled
def draw_bench(detail: pd.DataFrame) -> StyledFigure:
    """Seconds a probe against each of B, T and n for both models, with the fitted
    exponents above.
    """
    products = detail[detail["section"] == "products"]
    models = list(dict.fromkeys(products["model"]))
    figure, rows = lay_out_panels(len(models), len(_AXES), panel_size=(2.6, 2.1), sharey="row")
    base = products.iloc[0]
    for row, model in zip(rows, models, strict=True):
        for panel, (axis, name) in zip(row, _AXES.items(), strict=True):
            others = [other for other in _AXES if other != axis]
            along = products[
                (products["model"] == model) & (products[others] == base[others]).all(axis=1)
            ].sort_values(axis)
            for order, way in enumerate(_WAYS):
                line = along[along["way"] == way]
                exponent = f"{_fit_exponent(line[axis], line['seconds']):.2f}"
                panel.plot(
                    line[axis],
                    1000 * line["seconds"],
                    color=COLOURS[order],
                    linestyle=LINE_STYLES[order],
                    marker="o",
                    markersize=2,
                )
                panel.text(
                    0.25 * (order + 1),
                    1.05,
                    exponent,
                    color=COLOURS[order],
                    fontsize=7,
                    ha="right",
                    transform=panel.transAxes,
                )
            panel.set_xscale("log", base=2)
            panel.set_yscale("log")
            panel.set_xlabel(name)
            panel.set_xticks(along[axis].unique(), [str(size) for size in along[axis].unique()])
            panel.minorticks_off()
        row[0].set_ylabel(f"{model}: ms a probe")
    handles = list(rows[0][0].lines)
    figure.legend(handles, _WAYS.values(), loc="outside upper center", ncols=len(_WAYS))
    figure.supxlabel("above each panel: fitted exponents, in the colours of the lines", fontsize=7)
    return figure


def _fit_exponent(size: pd.Series[float], seconds: pd.Series[float]) -> float:
    """Slope of log seconds against log size; NaN from a single size."""
    x, y = size.map(math.log), seconds.map(math.log)
    return float(x.cov(y) / x.var()) if len(x) > 1 else math.nan
