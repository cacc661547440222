"""The page of a sweep: a row a run, with the last numbers of its CSV files and what it is at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hand_made_runs import POINTS, configured, put_grid, put_run, put_sweep, tables_of
from html_pages import check_page, table_rows
from omegaconf import OmegaConf

from kpflow_cli.errors import UserError
from kpflow_cli.report.places import write_report
from kpflow_cli.report.table import write_number


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put_grid(tmp_path_factory.mktemp("swept") / "runs")


def test_each_run_has_a_row_of_its_last_numbers(sweep: Path) -> None:
    page = check_page(write_report(str(sweep), None).read_text())
    rows = table_rows(page, "runs-table")
    assert len(rows) == len(POINTS)
    # sorted by keys as they stand
    order = [each for each in rows[0] if each in ("model.gain", "model.units", "seed")]
    named = [dict(zip(("model.gain", "model.units", "seed"), each, strict=True)) for each in POINTS]
    expected = sorted(range(len(POINTS)), key=lambda place: [named[place][key] for key in order])
    for row, place in zip(rows, expected, strict=True):
        gain, units, seed = POINTS[place]
        assert (float(row["model.gain"]), row["model.units"]) == (gain, str(units))
        assert (row["seed"], row["state"], row["step"]) == (str(seed), "complete", "40")
        tables = tables_of(place)
        training, measured = tables["training"], tables["measurements"]
        assert row["loss"] == write_number(training["loss"].iloc[-1])
        assert row["accuracy"] == write_number(training["accuracy"].iloc[1])
        for quantity in ("effective_rank", "alignment"):
            (last,) = measured[
                (measured["step"] == 20) & (measured["quantity"] == quantity)
            ].itertuples()
            name = f"ntk {quantity.replace('_', ' ')}"
            assert row[name] == write_number(last.value, last.stderr)
    assert page.one("dl").text.endswith(", ".join(order))


def test_the_map_knows_which_columns_are_keys(sweep: Path) -> None:
    page = check_page(write_report(str(sweep), None).read_text())
    heads = page.one("div", id="runs-table").one("thead").find("th")
    roles: dict[str, list[str]] = {}
    for head in heads:
        roles.setdefault(head.attributes.get("data-role", ""), []).append(head.text)
    assert set(roles["key"]) == {"seed", "model.gain", "model.units"}
    assert roles["value"] == ["loss", "accuracy", "ntk effective rank", "ntk alignment", "k trace"]
    assert roles[""] == ["run", "state", "step"]
    assert [head.text for head in heads if "data-aside" in head.attributes] == ["k trace"]
    (place,) = (each for each in page.walk() if "data-heat-map" in each.attributes)
    assert place.attributes["data-heat-map"] == "runs-table"
    assert place.attributes["data-value"] == "ntk effective rank"


def test_runs_that_are_not_complete_say_so(tmp_path: Path) -> None:
    runs_dir = tmp_path / "runs"
    tables = tables_of(0)
    states: dict[str, dict[str, Any]] = {
        "complete": {},
        "interrupted": {"status": "running"},
        "diverged": {"status": "diverged", "error": "loss is not a number"},
        "damaged": {},
    }
    folders = {
        word: put_run(runs_dir, configured(gain, 7, 0), tables, step=40, **status)
        for gain, (word, status) in enumerate(states.items(), start=1)
    }
    with (folders["damaged"] / "training.csv").open("a") as file:
        file.write("30,0.5,1.0\n")
    page = check_page(
        write_report(str(put_sweep(runs_dir, [*folders.values()], "f" * 12)), None).read_text()
    )
    rows = {row["run"]: row["state"] for row in table_rows(page, "runs-table")}
    assert rows == {folder.name: word for word, folder in folders.items()} | {"f" * 12: "not begun"}
    assert [row["run"] for row in table_rows(page, "runs-table")][-1] == "f" * 12
    assert "1 not begun" in page.one("p", class_="told").text


def test_a_sweep_that_has_not_begun_has_no_map(tmp_path: Path) -> None:
    path = put_sweep(tmp_path, [], "a" * 12, "b" * 12)
    page = check_page(write_report(str(path), None).read_text())
    assert [row["state"] for row in table_rows(page, "runs-table")] == ["not begun"] * 2
    assert not any("data-heat-map" in each.attributes for each in page.walk())


def test_values_with_marks_show_as_they_are(tmp_path: Path) -> None:
    runs_dir = tmp_path / "runs"
    odd = ["<b>&</b>", "${oc.env:HOME}", [1, "</script>"]]
    folders = []
    for value in odd:
        configuration = configured(1.0, 7, 0)
        configuration["model"]["gain"] = value
        folders.append(put_run(runs_dir, configuration, tables_of(0)))
    page = check_page(write_report(str(put_sweep(runs_dir, folders)), None).read_text())
    shown = [row["model.gain"] for row in table_rows(page, "runs-table")]
    assert any("<b>&</b>" in each for each in shown)
    assert any("</script>" in each for each in shown)


def test_a_file_that_is_no_sweep_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(OmegaConf.to_yaml({"a": 1}))
    with pytest.raises(UserError, match=r"other\.json: no sweep file"):
        write_report(str(path), None)


def test_the_page_stands_beside_the_sweep_file(sweep: Path, tmp_path: Path) -> None:
    assert write_report(str(sweep), None) == sweep.with_suffix(".html")
    other = tmp_path / "new" / "page.html"
    assert write_report(str(sweep), other) == other
    assert other.read_bytes() == sweep.with_suffix(".html").read_bytes()
