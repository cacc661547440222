"""The page of a comparison: configurations side by side, differences, curves on shared axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd
from markupsafe import Markup

from kpflow_cli.comparison.comparison import Comparison, Quantity
from kpflow_cli.comparison.configurations import Configuration, write_value
from kpflow_cli.comparison.differences import Difference
from kpflow_cli.comparison.terminal import write_amount, write_measured, write_ratio
from kpflow_cli.comparison.values import TRAINING, Value
from kpflow_cli.report.page import Page, Section, render, render_page
from kpflow_cli.report.svg import render_drawing
from kpflow_cli.report.table import (
    Cell,
    Column,
    Table,
    number_cell,
    render_pairs,
    render_table,
)

# as many lines as are told apart by colour and kind
_LINES = 12
_QUANTITY = Column(
    "quantity",
    meaning="operator, quantity and reduction: ntk is NTK_S, k and p its factors K and P, core "
    "V V^T (x) I",
)
_FACTORS = ("k", "p", "core")
_EXPLAINED = (
    "s.e.: standard errors of the difference, sqrt(se1^2 + se2^2), as of independent values; * is "
    "outside the 95 % interval of Student's distribution, where one in 20 is by chance. Of several "
    "seeds the value is their mean; of a single run the error is that of its probes, whose number "
    "stands in parentheses."
)
_BOUNDS = (
    "Of single runs, bands of operator norms are bounds of what the iteration lacks, not standard "
    "errors."
)
# in front of the other quantities of their group
_FIRST = ("effective_rank", "alignment")


def render_comparison(comparison: Comparison) -> str:
    """The page of a comparison as one HTML file. The same comparison gives the same bytes."""
    several = len(comparison.configurations) > 1
    return render_page(
        Page(
            "Comparison" if several else "Seeds of one configuration",
            _title(comparison),
            [
                _show_configurations(comparison),
                _list_quantities(comparison),
                *_draw(comparison),
                *_tell_missing(comparison),
            ],
            facts=_facts(comparison),
        )
    )


def _title(comparison: Comparison) -> str:
    names = comparison.names
    if len(names) == 1:
        seeds = ", ".join(map(str, comparison.configurations[0].seeds))
        return f"{comparison.configurations[0].runs[0].folder.parent}, seeds {seeds}"
    if len(names) == 2:
        return " and ".join(names)
    return f"{names[0]} and {len(names) - 1} others"


def _facts(comparison: Comparison) -> dict[str, str]:
    clear = [each for row in comparison.quantities for each in row.differences if each.degrees]
    facts = {
        "runs": str(sum(len(each.runs) for each in comparison.configurations)),
        "configurations": str(len(comparison.configurations)),
        "compared": comparison.when,
        "quantities": str(len(comparison.quantities)),
    }
    if clear:
        facts["differences outside 95 %"] = (
            f"{sum(each.is_clear for each in clear)} of {len(clear)} that have an error"
        )
    return facts


def _show_configurations(comparison: Comparison) -> Section:
    runs = [(each.letter, each.describe_runs()) for each in comparison.configurations]
    body = render_pairs(runs)
    if comparison.keys:
        columns = [Column(each.letter) for each in comparison.configurations]
        rows = [
            [Cell(key), *(_key_cell(each, key) for each in comparison.configurations)]
            for key in comparison.keys
        ]
        caption = "The keys in which the configurations differ; a dash where one has no such key"
        body += render_table(
            Table("keys-table", caption, [Column("key"), *columns], rows, is_sortable=False)
        )
    if comparison.notes:
        body += render("lines.html.jinja", lines=comparison.notes)
    return Section("configurations", "Configurations", Markup(body))


def _key_cell(configuration: Configuration, key: str) -> Cell:
    values = configuration.differing
    if key not in values:
        return Cell("-")
    # names of classes are long, and may break after a dot
    pieces = write_value(values[key]).split(".")
    are_words = not any(piece[:1].isdigit() for piece in pieces)
    return Cell(Markup(".<wbr>" if are_words else ".").join(pieces))


def _list_quantities(comparison: Comparison) -> Section:
    first, *others = comparison.configurations
    caption = f"{comparison.when[0].upper()}{comparison.when[1:]}"
    if not others:
        told = (
            "Means of the seeds with their standard errors, and the standard deviation among them."
        )
        columns = [_QUANTITY, Column("mean", is_number=True), Column("spread", is_number=True)]
        rows = [
            [Cell(_name(row.name)), _value_cell(value), number_cell(value.spread)]
            for row in comparison.quantities
            for value in row.values
        ]
    else:
        told = _EXPLAINED
        columns = [
            _QUANTITY,
            *([Column("of")] if len(others) > 1 else []),
            Column("in s.e.", is_number=True, meaning="sorted by size, whatever the sign"),
            Column(f"less {first.letter}", is_number=True, meaning="with its standard error"),
            Column("value" if len(others) > 1 else others[0].letter, is_number=True),
            Column(first.letter, is_number=True),
        ]
        rows = [
            [
                Cell(_name(row.name)),
                *([Cell(other.letter)] if len(others) > 1 else []),
                _ratio_cell(difference),
                Cell(_in_page(write_amount(difference)), difference.amount),
                _value_cell(value),
                _value_cell(row.values[0]),
            ]
            for row in comparison.quantities
            for other, value, difference in zip(
                others, row.values[1:], row.differences, strict=True
            )
        ]
    table = Table("quantities-table", caption, columns, rows, has_filter=True)
    body = Markup('<p class="hint">{}</p>').format(told) + render_table(table)
    if others:
        body += _list_spreads(comparison)
    return Section("quantities", "Differences" if others else "Quantities", body)


def _list_spreads(comparison: Comparison) -> Markup:
    """Of the configurations with several seeds, the standard deviation among them."""
    pooled = [
        (place, each) for place, each in enumerate(comparison.configurations) if len(each.runs) > 1
    ]
    if not pooled:
        return Markup("")
    table = Table(
        "spread-table",
        "Spread among the seeds of a configuration: standard deviation",
        [_QUANTITY, *(Column(each.letter, is_number=True) for _, each in pooled)],
        [
            [Cell(_name(row.name)), *(number_cell(row.values[place].spread) for place, _ in pooled)]
            for row in comparison.quantities
        ],
    )
    return render_table(table)


def _value_cell(value: Value) -> Cell:
    """The number with its error; seeds and the spread among them stand elsewhere."""
    shown = write_measured(value).replace(" probes)", ")")
    if value.kind == "seeds":
        shown = shown.partition(" (")[0]
    return Cell(_in_page(shown), value.value)


def _in_page(shown: str) -> str:
    return shown.replace("+-", "±")


def _ratio_cell(difference: Difference) -> Cell:
    shown = write_ratio(difference).replace(" s.e.", "").replace(">= ", "≥ ")
    return Cell(shown, abs(difference.ratio) if difference.degrees else None)


def _draw(comparison: Comparison) -> Iterator[Section]:
    """The curves, where matplotlib can be loaded."""
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


def _tell_missing(comparison: Comparison) -> Iterator[Section]:
    lines = [
        f"{each.letter} has no {', '.join(map(_name, missing))}"
        for each, missing in zip(comparison.configurations, comparison.missing, strict=True)
        if missing
    ]
    if lines:
        yield Section("missing", "Not in all", render("lines.html.jinja", lines=lines))


def _name(name: Quantity) -> str:
    return " ".join(filter(None, name))
