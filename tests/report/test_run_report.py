"""The page of a run: all of it, from the files of its folder, whatever of them is there."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from html_pages import Element, check_page, table_rows
from small_runs import small_config

from kpflow_cli.errors import FailedRunError, UserError
from kpflow_cli.plotting.run_plots import PLOTS
from kpflow_cli.report import places
from kpflow_cli.report.places import write_report
from kpflow_cli.report.run_record import read_record
from kpflow_cli.report.run_report import render_run
from kpflow_cli.run.manifest import manifest_bytes
from kpflow_cli.run.reading import is_complete, read_status, read_tables
from kpflow_cli.run.runner import run

PLOT_NAMES = {name.replace("_", "-") for name in PLOTS}
# what each plot shows, drawn in no time
SHOWN = {
    "training": "training",
    "outputs": "outputs",
    "effective_ranks": "measurements",
    "alignment": "measurements",
    "spectra": "spectra",
    "temporal_modes": "temporal_modes",
}


class Stroke:
    """A drawing of one line."""

    def svg(self) -> bytes:
        return b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M 0 0"/></svg>'


def sketch(table: str, tables: dict[str, Any]) -> Stroke | None:
    return Stroke() if len(tables.get(table, ())) else None


SKETCHES = {name: partial(sketch, table) for name, table in SHOWN.items()}


def page_of(folder: Path, plots: Any = SKETCHES) -> Element:
    return check_page(render_run(read_record(folder), plots))


@pytest.fixture(autouse=True)
def sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "load_plots", lambda: SKETCHES)


def section(page: Element, name: str) -> Element:
    return page.one("section", aria_labelledby=name)


def names_of(page: Element) -> list[str]:
    return [each.attributes["aria-labelledby"] for each in page.find("section")]


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A folder of the same run, to be damaged."""
    return shutil.copytree(finished, tmp_path / "copy")


def rewrite_status(folder: Path, **changes: Any) -> None:
    """run.json as a run would have written it, with its checksum."""
    from kpflow_cli.run.manifest import checksum, read_manifest

    content = json.dumps(json.loads((folder / "run.json").read_text()) | changes).encode()
    (folder / "run.json").write_bytes(content)
    sums = (read_manifest(folder) or {}) | {"run.json": checksum(content)}
    (folder / "SHA256SUMS").write_bytes(manifest_bytes(sums))


def test_a_finished_run_shows_all_its_plots_and_numbers(finished: Path) -> None:
    page = page_of(finished, PLOTS)
    assert set(names_of(page)) == {
        *PLOT_NAMES,
        "summary",
        "changes",
        "measurements",
        "configuration",
        "provenance",
    }
    assert names_of(page)[:2] == ["summary", "changes"]
    for name in PLOT_NAMES:
        assert section(page, name).one("svg").find("path")
    assert page.one("span", class_="status tone-good").text == "complete"
    table = read_tables(finished)["measurements"]
    last = table[table["step"] == table["step"].max()]
    rows = table_rows(page, "measurements-table")
    assert len(rows) == len(last)
    heads = [each.text for each in section(page, "measurements").one("thead").find("th")]
    place = heads.index("value")
    for row, expected in zip(
        section(page, "measurements").one("tbody").find("tr"),
        last.to_dict("records"),
        strict=True,
    ):
        cells = [each for each in row.children if isinstance(each, Element)]
        assert cells[0].text == expected["operator"]
        assert float(cells[place].attributes["data-order"]) == expected["value"]
        assert float(cells[place + 1].attributes["data-order"]) == expected["stderr"]


def test_what_was_changed_stands_first_and_is_marked(finished: Path) -> None:
    page = page_of(finished)
    changed = {row["key"]: row for row in table_rows(page, "changed-keys")}
    assert changed["seed"] == {"key": "seed", "value": "3", "default": "0"}
    assert changed["model.gain"] == {"key": "model.gain", "value": "1.25", "default": "1.0"}
    every = {row["key"]: row for row in table_rows(page, "configuration-table")}
    assert {key for key, row in every.items() if row["changed"]} == set(changed)
    assert every["model.bias"] == {
        "key": "model.bias",
        "value": "true",
        "changed": "",
        "default": "",
    }
    assert "kpflow run" in section(page, "changes").one("code").text


def test_provenance_is_that_of_run_json(finished: Path) -> None:
    status = json.loads((finished / "run.json").read_text())
    listed = section(page_of(finished), "provenance")
    names = [each.text for each in listed.find("dt")]
    found = dict(zip(names, (each.text for each in listed.find("dd")), strict=True))
    assert found["version of torch"] == status["versions"]["torch"]
    assert found["system"] == status["platform"]["system"]
    assert found["commit"] == str(status["commit"] or "unknown")


def test_the_command_leaves_the_run_as_it_was(copied: Path) -> None:
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    write_report(str(copied), None)
    written = (copied / "report.html").read_text()
    for path, content in before.items():
        if path.name not in ("SHA256SUMS", "report.html"):
            assert path.read_bytes() == content, path
    sums = (copied / "SHA256SUMS").read_bytes()
    kept = [line for line in sums.splitlines() if not line.endswith(b"report.html")]
    was = before[copied / "SHA256SUMS"].splitlines()
    assert kept == [line for line in was if not line.endswith(b"report.html")]
    assert len(kept) == len(sums.splitlines()) - 1
    assert is_complete(copied)
    write_report(str(copied), None)
    assert (copied / "report.html").read_text() == written
    assert (copied / "SHA256SUMS").read_bytes() == sums


def test_another_file_leaves_the_folder_alone(copied: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in copied.rglob("*"))
    found = write_report(str(copied), tmp_path / "new" / "page.html")
    assert found == tmp_path / "new" / "page.html"
    check_page(found.read_text())
    assert sorted(path.name for path in copied.rglob("*")) == before


def test_a_run_of_training_alone(tmp_path: Path) -> None:
    run(small_config("analysis.measures=[]", "analysis.records=[]"), tmp_path / "run", {})
    page = page_of(tmp_path / "run")
    assert "training" in names_of(page)
    assert "measurements" not in names_of(page)
    missing = section(page, "missing").text
    assert "Spectra: the run does not record it" in missing
    assert "Training" not in missing


def test_a_diverged_run_says_why(tmp_path: Path) -> None:
    with pytest.raises(FailedRunError):
        run(small_config("training.learning_rate=1e30"), tmp_path / "run", {})
    page = page_of(tmp_path / "run")
    assert page.one("span", class_="status tone-bad").text == "diverged"
    assert "training.learning_rate below 1e+30" in page.one("header").text


def test_an_error_with_marks_shows_as_it_is(copied: Path) -> None:
    odd = """ValueError: <b>"x" & 'y'</b> <script>alert(1)</script>"""
    rewrite_status(copied, status="failed", error=odd)
    page = page_of(copied)
    assert odd in page.one("header").text
    assert not page.find("b")


@pytest.mark.parametrize("status", ["running", "interrupted"])
def test_a_run_that_no_process_works_on_is_interrupted(copied: Path, status: str) -> None:
    rewrite_status(copied, status=status, step=17)
    page = page_of(copied)
    assert page.one("span", class_="status tone-doubtful").text == "interrupted"
    assert "at step 17 of 40" in page.one("header").text
    assert not page.find("meta", http_equiv="refresh")


def test_a_run_at_work_says_so_and_is_read_again(copied: Path) -> None:
    from filelock import FileLock

    rewrite_status(copied, status="running", step=17)
    with FileLock(copied / ".lock"):
        # its checksum is about to be written
        (copied / "training.csv").write_text("step,loss\n0,1.0\n5,0.5\n")
        sums = (copied / "SHA256SUMS").read_bytes()
        page = page_of(copied)
        assert page.one("span", class_="status tone-active").text == "running"
        assert page.one("meta", http_equiv="refresh")
        assert not [each for each in names_of(page) if each == "missing"]
        write_report(str(copied), None)
        assert (copied / "SHA256SUMS").read_bytes() == sums
        assert (copied / "report.html").exists()


def test_a_damaged_table_is_left_out_and_told(copied: Path) -> None:
    with (copied / "spectra.csv").open("a") as stream:
        stream.write("40,ntk,1,1e9,1.0\n")
    (copied / "outputs.csv").unlink()
    page = page_of(copied)
    damage = section(page, "damage").text
    assert "spectra.csv: not as it was written" in damage
    assert "outputs.csv: not there" in damage
    assert "Spectra: the run has no sound table of it" in section(page, "missing").text
    assert not {"spectra", "outputs"} & set(names_of(page))
    assert {"training", "effective-ranks"} <= set(names_of(page))


@pytest.mark.parametrize("name", ["run.json", "SHA256SUMS", "config.yaml"])
def test_a_page_without_any_one_file(copied: Path, name: str) -> None:
    (copied / name).unlink()
    page = page_of(copied)
    if name != "config.yaml":
        assert "model.gain" in {row["key"] for row in table_rows(page, "changed-keys")}
    assert "training" in names_of(page)


def test_plots_that_cannot_be_drawn_are_named(finished: Path) -> None:
    def broken(tables: object) -> None:
        raise KeyError("no <column>")

    record = replace(read_record(finished), plots={})
    page = check_page(render_run(record, {**SKETCHES, "spectra": broken}))
    assert "Spectra: not drawn (KeyError: 'no <column>')" in section(page, "missing").text
    without = check_page(render_run(record, {}))
    assert not without.find("svg")
    assert "matplotlib" in section(without, "missing").text


def test_the_command_goes_to_the_folder_that_it_is_in(copied: Path) -> None:
    """Elsewhere it would do the work again."""
    command = page_of(copied).one("pre").text
    assert shlex.split(command)[-1] == f"run_dir={copied}"
    named = copied.rename(copied.with_name(read_status(copied)["hash"]))
    assert "run_dir" not in page_of(named).one("pre").text


def test_a_whole_run_is_shown_as_it_drew_itself(copied: Path) -> None:
    page = page_of(copied, plots={})
    drawn = {each.attributes["aria-labelledby"]: each for each in page.find("section")}
    for name in PLOT_NAMES:
        assert len(drawn[name].find("svg")) == 1
    # what was changed since is drawn anew
    with (copied / "plots" / "training.svg").open("a") as stream:
        stream.write("<!-- -->")
    assert "Training: not drawn" in section(page_of(copied, plots={}), "missing").text
    assert read_record(copied).plots.keys() == PLOTS.keys() - {"training"}


def test_where_nothing_is_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="nowhere: not there; report takes a run folder, a sweep file"
    ):
        write_report(str(tmp_path / "nowhere"), None)
    (tmp_path / "SHA256SUMS").touch()
    with pytest.raises(UserError, match="no kpflow run there"):
        write_report(str(tmp_path), None)


def test_interactive_charts_say_what_they_need(
    finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "altair", None)
    monkeypatch.delitem(sys.modules, "kpflow_cli.report.interactive", raising=False)
    with pytest.raises(UserError, match=r"charts=interactive: altair is not there; pip install"):
        write_report(str(finished), None, interactive=True)
    pytest.importorskip("vl_convert")
    monkeypatch.undo()
    (tmp_path / "fig1.json").touch()
    with pytest.raises(UserError, match=r"charts=interactive: of a run alone, and .* is no run"):
        write_report(str(tmp_path), None, interactive=True)
