"""The page of a comparison: configurations side by side, differences, curves on shared axes."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from kpflow_cli.comparison.comparison import Comparison, Quantity
from kpflow_cli.comparison.configurations import Configuration
from kpflow_cli.comparison.differences import CONFIDENCE, Difference
from kpflow_cli.comparison.terminal import write_amount, write_measured, write_ratio
from kpflow_cli.comparison.values import Value, find_range
from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.report.comparison_curves import draw_sections
from kpflow_cli.report.page import Page, Section, render, render_page
from kpflow_cli.report.table import (
    Cell,
    Column,
    Table,
    number_cell,
    render_pairs,
    render_table,
)
from kpflow_cli.run.identity import write_value

_QUANTITY = Column(
    "quantity",
    meaning="operator, quantity and reduction: ntk is NTK_S, k and p its factors K and P, core "
    "V V^T (x) I",
)
_EXPLAINED = (
    "s.e.: standard errors of the difference, sqrt(se1^2 + se2^2), as of independent values; * is "
    "outside the 95 % interval of Student's distribution, where one in 20 is by chance. Of several "
    "seeds the value is their mean; of a single run the error is that of its probes, whose number "
    "stands in parentheses."
)
_KEYS = "The keys in which the configurations differ; a dash where one has no such key"
# more configurations stand below each other
_SIDE_BY_SIDE = 4


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
                *draw_sections(comparison),
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
    configurations = comparison.configurations
    if len(configurations) > _SIDE_BY_SIDE:
        body = _list_many(comparison)
    else:
        body = render_pairs([(each.letter, each.describe_runs()) for each in configurations])
        if comparison.keys:
            columns = [Column("key"), *(Column(each.letter) for each in configurations)]
            rows = [
                [Cell(key), *(_key_cell(each, key) for each in configurations)]
                for key in comparison.keys
            ]
            body += render_table(Table("keys-table", _KEYS, columns, rows, is_sortable=False))
    if comparison.notes:
        body += render("lines.html.jinja", lines=comparison.notes)
    return Section("configurations", "Configurations", body)


def _list_many(comparison: Comparison) -> Markup:
    """A row a configuration."""
    are_numbers = {
        key: all(
            isinstance(each.differing.get(key), int | float) for each in comparison.configurations
        )
        for key in comparison.keys
    }
    columns = [
        Column("configuration"),
        *(Column(key, is_number=are_numbers[key]) for key in comparison.keys),
        Column("runs"),
    ]
    rows = [
        [
            Cell(each.letter),
            *(_key_cell(each, key) for key in comparison.keys),
            Cell(each.describe_runs()),
        ]
        for each in comparison.configurations
    ]
    return render_table(Table("keys-table", _KEYS, columns, rows, has_filter=True))


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
        columns = [
            _QUANTITY,
            Column("mean", is_number=True),
            Column("95 % interval", meaning="of the mean, by Student's distribution"),
            Column("spread", is_number=True),
        ]
        rows = [
            [
                Cell(_name(row.name)),
                _value_cell(value),
                Cell(_write_interval(row.name, value)),
                number_cell(value.spread),
            ]
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


def _write_interval(name: tuple[str, str, str], value: Value) -> str:
    """As far as the quantity can go."""
    low, high = Estimate(value.value, value.error, value.count).interval(CONFIDENCE)
    least, most = find_range(name)
    return f"{max(low, least):.3g} to {min(high, most):.3g}"


def _in_page(shown: str) -> str:
    return shown.replace("+-", "±")


def _ratio_cell(difference: Difference) -> Cell:
    shown = write_ratio(difference).replace(" s.e.", "").replace(">= ", "≥ ")
    return Cell(shown, abs(difference.ratio) if difference.degrees else None)


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
