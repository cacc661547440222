"""Charts of a run with tooltips and zoom, by Altair and Vega-Lite, all of whose code goes into the
page: the extra ``report``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from kpflow_cli.plotting.shown_rows import Tables, pick_steps
from kpflow_cli.plotting.style import COLOURS

# what Vega gets of a chart before it is put in its place
Specification = dict[str, Any]

_WIDTH, _HEIGHT = 620, 260
_NAMES = {"k": "K", "p": "P", "ntk": "NTK_S", "v": "V"}
_NO_MEASUREMENTS = pd.DataFrame(
    columns=["step", "operator", "quantity", "reduction", "value", "stderr", "probes"]
)
_REDUCTIONS = {
    "full": "in full",
    "temporal_trace": "in time, by trace",
    "spatial_trace": "in space, by trace",
    "temporal_mean": "in time, by mean",
    "spatial_mean": "in space, by mean",
}


def chart_training(tables: Tables) -> Specification | None:
    """Each column of training.csv over gradient steps; losses on a logarithmic scale of their
    own.
    """
    if "training" not in tables:
        return None
    rows = tables["training"].melt("step", var_name="quantity").dropna()
    losses = rows[rows["quantity"].isin(["loss", "evaluation_loss"]) & (rows["value"] > 0)]
    shares = rows[~rows["quantity"].isin(["loss", "evaluation_loss"])]
    charts = [_lines(losses, "loss", is_log=True)]
    if not shares.empty:
        charts.append(_lines(shares, "share", is_log=False))
    return _finish(alt.vconcat(*charts).resolve_scale(color="independent"))


def chart_effective_ranks(tables: Tables) -> Specification | None:
    """Effective ranks of NTK_S and of its reductions, with bands of one standard error."""
    rows = _of_ntk(tables, "effective_rank")
    if rows.empty:
        return None
    rows["quantity"] = rows["reduction"].map(lambda name: _REDUCTIONS.get(name, name))
    return _finish(_banded(rows, "effective rank", is_log=True))


def chart_alignment(tables: Tables) -> Specification | None:
    """Cosine with the core, and shares of the trace in the target modes."""
    rows = pd.concat(
        [
            _of_ntk(tables, "alignment"),
            *(_of_ntk(tables, f"target_overlap_{mode}") for mode in (1, 2, 3)),
        ]
    )
    if rows.empty:
        return None
    rows["quantity"] = rows["quantity"].str.replace("_", " ")
    return _finish(_banded(rows, "cosine, share of the trace", is_log=False))


def chart_spectra(tables: Tables) -> Specification | None:
    """Leading values of each operator, on logarithmic axes, at the first, middle and last step."""
    rows = tables.get("spectra", pd.DataFrame())
    if rows.empty:
        return None
    rows = rows[rows["step"].isin(pick_steps(rows)) & (rows["value"] > 0)].copy()
    rows["operator"] = rows["operator"].map(lambda name: _NAMES.get(name, name))
    rows["step"] = rows["step"].map(lambda step: f"step {step}")
    chart = (
        alt.Chart(rows[["operator", "step", "index", "value", "cumulative"]])
        .mark_line(point=True)
        .encode(
            x=alt.X("index:Q", scale=_logarithmic()),
            y=alt.Y("value:Q", scale=_logarithmic()),
            color=_colour("step"),
            tooltip=["step", "operator", "index", "value", "cumulative"],
        )
        .properties(width=280, height=200)
        .facet(alt.Facet("operator:N", title=None), columns=2)
        .resolve_scale(x="independent", y="independent")
    )
    return _finish(chart)


CHARTS = {
    "training": chart_training,
    "effective_ranks": chart_effective_ranks,
    "alignment": chart_alignment,
    "spectra": chart_spectra,
}


def chart_script(specifications: Mapping[str, Specification]) -> str:
    """A script that draws charts in the elements of these ids, with all that it needs in it."""
    # a string of JSON is one of JavaScript, and "</script>" within would end the script
    content = json.dumps(specifications).replace("<", "\\u003c")
    draw = (
        f"for (const [name, chart] of Object.entries({content}))"
        ' vegaEmbed("#" + name, chart, { renderer: "svg", actions: false });'
    )
    return str(vl_convert.javascript_bundle(draw))


def _of_ntk(tables: Tables, quantity: str) -> pd.DataFrame:
    rows = tables.get("measurements", _NO_MEASUREMENTS)
    found = rows[(rows["operator"] == "ntk") & (rows["quantity"] == quantity)].copy()
    if quantity != "effective_rank":
        found = found[found["reduction"] == "full"]
    error = found["stderr"].fillna(0.0)
    return found.assign(low=found["value"] - error, high=found["value"] + error)


def _colour(field: str) -> alt.Color:
    return alt.Color(
        f"{field}:N",
        title=None,
        scale=alt.Scale(range=list(COLOURS)),
        legend=alt.Legend(symbolOpacity=1),
    )


def _logarithmic() -> alt.Scale:
    return alt.Scale(type="log", nice=False)


def _step_axis() -> alt.X:
    return alt.X("step:Q", title="gradient step", scale=alt.Scale(type="symlog", nice=False))


def _lines(rows: pd.DataFrame, title: str, *, is_log: bool) -> alt.Chart:
    scale = _logarithmic() if is_log else alt.Scale(nice=False)
    return (
        alt.Chart(rows[["step", "quantity", "value"]])
        .mark_line(point=alt.OverlayMarkDef(size=20))
        .encode(
            x=_step_axis(),
            y=alt.Y("value:Q", title=title, scale=scale),
            color=_colour("quantity"),
            tooltip=["quantity", "step", "value"],
        )
        .properties(width=_WIDTH, height=_HEIGHT)
        .interactive(name=f"zoom_{title}")
    )


def _banded(rows: pd.DataFrame, title: str, *, is_log: bool) -> alt.LayerChart | alt.FacetChart:
    """Lines with bands of one standard error; a bar's tooltip tells value, error and probes."""
    if is_log:
        rows = rows[rows["value"] > 0].assign(low=lambda each: each["low"].clip(lower=1e-300))
    scale = _logarithmic() if is_log else alt.Scale(nice=False)
    base = alt.Chart(rows[["step", "quantity", "value", "stderr", "probes", "low", "high"]]).encode(
        x=_step_axis(), color=_colour("quantity")
    )
    band = base.mark_area(opacity=0.25).encode(
        y=alt.Y("low:Q", title=title, scale=scale), y2="high:Q"
    )
    line = base.mark_line(point=alt.OverlayMarkDef(size=30)).encode(
        y=alt.Y("value:Q", title=title, scale=scale),
        tooltip=["quantity", "step", "value", "stderr", "probes"],
    )
    return alt.layer(band, line).properties(width=_WIDTH, height=_HEIGHT).interactive(name="zoom")


def _finish(chart: Any) -> Specification:
    return dict(chart.to_dict())
