"""The page of a sweep: a table of its runs that can be sorted and filtered, and a map of any number
over any two of the keys in which they differ.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from kpflow_cli.report.page import Page, Section, read_template, render, render_page
from kpflow_cli.report.sweep_record import SweepRecord, SweptRun
from kpflow_cli.report.table import Cell, Column, Table, number_cell, render_table
from kpflow_cli.run.identity import write_value

_RUNS = "runs-table"
# what stands in the table at once, as far as runs have it; the rest when it is asked for
_SHOWN = (
    "loss",
    "evaluation_loss",
    "accuracy",
    "ntk effective_rank full",
    "ntk effective_rank temporal_trace",
    "ntk effective_rank spatial_trace",
    "ntk alignment full",
)
# a heat map's first colour, the first of these that there is
_COLOURED = ("ntk effective_rank full", "ntk alignment full", "evaluation_loss", "loss")


def render_sweep(record: SweepRecord) -> str:
    """The page of a sweep as one HTML file. The same record gives the same bytes."""
    counts = Counter(run.state.word for run in record.runs)
    states = [f"{count} {word}" for word, count in counts.most_common()]
    all_complete = set(counts) == {"complete"}
    return render_page(
        Page(
            "Sweep",
            record.name,
            [*_draw_heat_map(record), _list_runs(record)],
            status="complete" if all_complete else "",
            tone="good",
            told="" if all_complete else ", ".join(states),
            facts={
                "runs": str(len(record.runs)),
                "keys that differ": ", ".join(record.keys) or "none",
            },
            scripts=[read_template("heat_map.js")],
        )
    )


def _draw_heat_map(record: SweepRecord) -> list[Section]:
    if not (record.keys and record.quantities):
        return []
    first = next((each for each in _COLOURED if each in record.quantities), record.quantities[0])
    body = render("heat_map.html.jinja", table=_RUNS, value=_in_words(first))
    return [Section("heat-map", "Heat map", body)]


def _list_runs(record: SweepRecord) -> Section:
    shown = [each for each in _SHOWN if each in record.quantities] or record.quantities[:6]
    # what stands at once comes first
    quantities = [*shown, *(each for each in record.quantities if each not in shown)]
    are_numbers = {
        key: all(_is_number(run.keys.get(key)) for run in record.runs if run.keys)
        for key in record.keys
    }
    table = Table(
        _RUNS,
        "The last numbers of each run, with standard errors where they are estimates. A filter "
        "holds for the map too.",
        [
            Column("run", meaning="hash of its configuration, the name of its folder"),
            *(Column(key, is_number=are_numbers[key], role="key") for key in record.keys),
            Column("state"),
            Column("step", is_number=True),
            *(
                Column(_in_words(each), is_number=True, role="value", is_aside=each not in shown)
                for each in quantities
            ),
        ],
        [_row(run, record.keys, quantities) for run in record.runs],
        has_filter=True,
    )
    return Section("runs", "Runs", render_table(table))


def _row(run: SweptRun, keys: Any, quantities: list[str]) -> list[Cell]:
    return [
        Cell(run.name),
        *(_key_cell(run.keys[key]) if run.keys else Cell("-") for key in keys),
        Cell(run.state.word, tone=run.state.tone),
        Cell("-" if run.step is None else str(run.step)),
        *(_quantity_cell(run, each) for each in quantities),
    ]


def _quantity_cell(run: SweptRun, quantity: str) -> Cell:
    found = run.numbers.get(quantity)
    return Cell("-") if found is None else number_cell(found.value, found.standard_error)


def _key_cell(value: Any) -> Cell:
    return Cell(write_value(value), float(value) if _is_number(value) else None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _in_words(quantity: str) -> str:
    """A number's name without what goes without saying."""
    return quantity.removesuffix(" full").replace("_", " ")
