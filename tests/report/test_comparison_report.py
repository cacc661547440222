"""The page of a comparison: the numbers of the runs' files, and their curves on shared axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hand_made_runs import configured, put_run
from html_pages import Element, check_page, table_rows

from kpflow_cli.comparison.comparison import Comparison, compare
from kpflow_cli.comparison.values import find_range
from kpflow_cli.report.comparison_report import render_comparison

STEPS = [0, 4, 30]
NAMES = [("ntk", "effective_rank"), ("ntk", "alignment"), ("k", "trace"), ("mine", "entropy")]


def put(runs_dir: Path, gain: float, seed: int, **more: Any) -> Path:
    configuration = configured(gain, 7, seed)
    configuration["model"] |= more
    generator = np.random.default_rng([int(10 * gain), seed])
    rows = [
        (step, *name, "full", generator.normal(5, 1), 0.0 if name[0] == "k" else 0.25, 8)
        for step in STEPS
        for name in NAMES
    ]
    columns = ["step", "operator", "quantity", "reduction", "value", "stderr", "probes"]
    training = pd.DataFrame({"step": STEPS, "loss": generator.random(3)})
    tables = {"measurements": pd.DataFrame(rows, columns=columns), "training": training}
    return put_run(runs_dir, configuration, tables, step=30)


def compared(folders: list[Path]) -> Comparison:
    return compare([str(folder) for folder in folders])


def value_at_end(folder: Path, operator: str, quantity: str) -> float:
    table = pd.read_csv(folder / "measurements.csv").query("step == 30")
    rows = table[(table["operator"] == operator) & (table["quantity"] == quantity)]
    return float(rows["value"].iloc[0])


def section(page: Element, name: str) -> Element:
    return page.one("section", aria_labelledby=name)


def orders_of(page: Element, column: str) -> list[str]:
    """What a column of the table of quantities is sorted by."""
    box = page.one("div", id="quantities-table")
    place = [each.text for each in box.one("thead").find("th")].index(column)
    return [
        [each for each in row.children if isinstance(each, Element)][place].attributes.get(
            "data-order", ""
        )
        for row in box.one("tbody").find("tr")
    ]


def test_two_runs(tmp_path: Path) -> None:
    folders = [put(tmp_path, gain, 0) for gain in (0.5, 1.5)]
    page = check_page(render_comparison(compared(folders)))
    assert page.one("h1").text == "A: gain=0.5 and B: gain=1.5"
    assert table_rows(page, "keys-table") == [{"key": "model.gain", "A": "0.5", "B": "1.5"}]
    rows = table_rows(page, "quantities-table")
    assert [row["quantity"] for row in rows] == [
        "training loss",
        *(f"{operator} {quantity} full" for operator, quantity in NAMES),
    ]
    values = [[value_at_end(folder, *name) for name in NAMES] for folder in folders]
    assert [float(each) for each in orders_of(page, "A")[1:]] == values[0]
    assert [float(each) for each in orders_of(page, "B")[1:]] == values[1]
    differences = np.subtract(values[1], values[0])
    assert [float(each) for each in orders_of(page, "less A")[1:]] == differences.tolist()
    ratios = np.abs(differences) / np.hypot(0.25, 0.25)
    found = orders_of(page, "in s.e.")
    assert [float(found[place]) for place in (1, 2, 4)] == pytest.approx(ratios[[0, 1, 3]].tolist())
    assert (rows[0]["in s.e."], rows[3]["in s.e."]) == ("no error", "exact")
    assert "± 0.25 (8)" in rows[1]["A"]


def test_curves_are_on_shared_axes_with_a_legend(tmp_path: Path) -> None:
    folders = [put(tmp_path, gain, seed) for gain in (0.5, 1.5) for seed in (0, 1, 2)]
    page = check_page(render_comparison(compared(folders)))
    curves = section(page, "curves")
    titles = [each.text for each in curves.find("h3")]
    assert titles == ["Training", "NTK_S", "K, P, V and the core", "Other measures"]
    drawn = section(page, "curves-2").one("svg")
    words = [each.text for each in drawn.find("text")]
    assert {"effective rank", "alignment", "A: gain=0.5", "B: gain=1.5"} <= set(words)
    assert "line: mean of seeds, band: one standard deviation" in words
    assert drawn.attributes["aria-label"].startswith("NTK_S: effective rank, alignment")


def test_intervals_reach_as_far_as_a_quantity_can(tmp_path: Path) -> None:
    stats = pytest.importorskip("scipy.stats")
    folders = [put(tmp_path, 0.5, seed) for seed in (0, 1)]
    page = check_page(render_comparison(compared(folders)))
    rows = {row["quantity"]: row["95 % interval"] for row in table_rows(page, "quantities-table")}
    ends = {"effective_rank": (1, np.inf), "trace": (0, np.inf), "entropy": (-np.inf, np.inf)}
    for operator, quantity in NAMES:
        if quantity in ends:
            values = [value_at_end(folder, operator, quantity) for folder in folders]
            found = stats.t.interval(0.95, 1, np.mean(values), stats.sem(values))
            low, high = (float(each) for each in rows[f"{operator} {quantity} full"].split(" to "))
            assert [low, high] == pytest.approx(np.clip(found, *ends[quantity]).tolist(), rel=1e-2)
    assert find_range(("ntk", "target_overlap_2", "full")) == (0, 1)


def test_spread_among_seeds(tmp_path: Path) -> None:
    folders = [put(tmp_path, gain, seed) for gain in (0.5, 1.5) for seed in (0, 1, 2)]
    page = check_page(render_comparison(compared(folders)))
    rows = {row["quantity"]: row for row in table_rows(page, "spread-table")}
    for operator, quantity in NAMES:
        values = [value_at_end(folder, operator, quantity) for folder in folders]
        row = rows[f"{operator} {quantity} full"]
        assert float(row["A"]) == pytest.approx(np.std(values[:3], ddof=1), rel=1e-3)
        assert float(row["B"]) == pytest.approx(np.std(values[3:], ddof=1), rel=1e-3)


def test_many_configurations_have_a_row_each_and_no_more_lines_than_are_told_apart(
    tmp_path: Path,
) -> None:
    folders = [put(tmp_path, 0.5 * number, 0) for number in range(1, 15)]
    page = check_page(render_comparison(compared(folders)))
    rows = table_rows(page, "quantities-table")
    assert [row["of"] for row in rows[:13]] == list("BCDEFGHIJKLMN")
    keys = table_rows(page, "keys-table")
    assert [float(row["model.gain"]) for row in keys] == [0.5 * number for number in range(1, 15)]
    assert keys[3]["runs"] == f"{folders[3]}, seed 0"
    assert "Of the first 12 configurations; 2 more" in section(page, "curves").text
    words = [each.text for each in section(page, "curves-2").one("svg").find("text")]
    assert "L: gain=6" in words
    assert "M: gain=6.5" not in words


def test_text_of_configurations_stays_text(tmp_path: Path) -> None:
    folders = [put(tmp_path, 0.5, 0, initialization=name) for name in ("<b>&", "$x_1$")]
    html = render_comparison(compared(folders))
    page = check_page(html)
    assert table_rows(page, "keys-table")[0]["A"] == "<b>&"
    assert html == render_comparison(compared(folders))
    words = [each.text for each in section(page, "curves-2").one("svg").find("text")]
    assert "B: initialization=$x_1$" in words


def test_long_names_of_classes_may_break(tmp_path: Path) -> None:
    target = "kpflow_cli.models.gru.GRU"
    folders = [put(tmp_path, 0.5, 0), put(tmp_path, 1.5, 0, _target_=f"{target}2")]
    html = render_comparison(compared(folders))
    assert f"<td>{target.replace('.', '.<wbr>')}2</td>" in html
    assert "<td>0.5</td>" in html
    assert table_rows(check_page(html), "keys-table")[0]["key"] == "model._target_"


def test_without_matplotlib_the_tables_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "kpflow_cli.plotting.comparison_plots", None)
    page = check_page(render_comparison(compared([put(tmp_path, gain, 0) for gain in (0.5, 1.5)])))
    assert "not drawn: matplotlib cannot be loaded" in section(page, "curves").text
    assert len(table_rows(page, "quantities-table")) == 5
