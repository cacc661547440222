"""The curves of a comparison for its page: each quantity that all configurations have at some step,
in groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from kpflow_cli.comparison.comparison import Comparison, Quantity
from kpflow_cli.comparison.values import TRAINING
from kpflow_cli.report.page import Section, render
from kpflow_cli.report.svg import render_drawing

# as many lines as are told apart by colour and kind
_LINES = 12
_FACTORS = ("k", "p", "core")
# in front of the other quantities of their group
_FIRST = ("effective_rank", "alignment")
_BOUNDS = (
    "Of single runs, bands of operator norms, and of other values found without probes, are bounds "
    "and not standard errors."
)


def draw_sections(comparison: Comparison) -> Iterator[Section]:
    """The curves in groups of quantities, or why they cannot be drawn."""
    try:
        from kpflow_cli.plotting.comparison_plots import draw_curves
    except Exception as error:
        line = f"not drawn: matplotlib cannot be loaded ({error})"
        yield Section("curves", "Curves", render("lines.html.jinja", lines=[line]))
        return
    shown = comparison.curves[:_LINES]
    groups: dict[str, list[Quantity]] = {}
    for name in _quantities_of(shown[0]):
        groups.setdefault(_group_of(name), []).append(name)
    parts = []
    for number, (title, names) in enumerate(groups.items(), start=1):
        ordered = sorted(names, key=_order_of)
        panels = [
            (_panel_title(name), [_curve_of(table, name) for table in shown]) for name in ordered
        ]
        figure = draw_curves(
            panels,
            comparison.names[:_LINES],
            [len(each.runs) for each in comparison.configurations[:_LINES]],
        )
        bounded = any(_is_bounded(table, ordered) for table in shown)
        label = f"{title}: {', '.join(each for each, _ in panels)}, over gradient steps"
        parts.append(
            Section(
                f"curves-{number}",
                title,
                render_drawing(
                    figure, f"curves-{number}-drawing", label, _BOUNDS if bounded else ""
                ),
            )
        )
    left = len(comparison.curves) - len(shown)
    body = None
    if left:
        told = f"Of the first {_LINES} configurations; {left} more stand in the table alone."
        body = render("lines.html.jinja", lines=[told])
    yield Section("curves", "Curves", body, parts)


def _is_bounded(table: pd.DataFrame, names: Sequence[Quantity]) -> bool:
    """Whether a band of one of these quantities is a bound."""
    rows = table[table["kind"] == "bound"]
    return any(name in names for name in _quantities_of(rows))


def _quantities_of(table: pd.DataFrame) -> list[Quantity]:
    columns = table[list(Quantity._fields)].drop_duplicates()
    return [Quantity(*map(str, row)) for row in columns.itertuples(index=False)]


def _group_of(name: Quantity) -> str:
    if name.operator == TRAINING:
        return "Training"
    if name.operator == "ntk":
        return "NTK_S" if name.reduction == "full" else "NTK_S, in time and in space"
    if name.operator in _FACTORS or name.operator.partition("_")[0] == "v":
        return "K, P, V and the core"
    return "Other measures"


def _order_of(name: Quantity) -> tuple[bool, int]:
    """Within a group; of one place they stay as they were."""
    first = name.quantity in _FIRST
    return not first, _FIRST.index(name.quantity) if first else 0


def _panel_title(name: Quantity) -> str:
    words = name.quantity.replace("_", " ")
    if name.operator == TRAINING:
        return words
    kept = "" if name.reduction == "full" else f", {name.reduction.replace('_', ' ')}"
    of = "" if name.operator == "ntk" else f" of {name.operator}"
    return f"{words}{of}{kept}"


def _curve_of(table: pd.DataFrame, name: Quantity) -> pd.DataFrame:
    """Its band is the spread of several seeds, else the error."""
    rows = table[
        (table["operator"] == name.operator)
        & (table["quantity"] == name.quantity)
        & (table["reduction"] == name.reduction)
    ]
    error = rows["error"].where(rows["kind"] != "seeds", rows["spread"])
    return pd.DataFrame({"step": rows["step"], "value": rows["value"], "error": error})
