"""The page of figures: each with its picture and the claims that stand in its file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from html_pages import Element, check_page, table_rows

from kpflow_cli.commands.report import execute
from kpflow_cli.errors import UserError
from kpflow_cli.report.table import write_number

REFERENCE = Path(__file__).parents[2] / "figures" / "reference"
KEPT = ("fig9",)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keeps figure 9, and of figure 8 what is no table of it."""
    place = tmp_path_factory.mktemp("kept") / "figures"
    place.mkdir()
    for name in KEPT:
        for suffix in (".csv.gz", ".json"):
            shutil.copy(REFERENCE / f"{name}{suffix}", place)
    (place / "fig8.csv").write_text("panel,x\n")
    (place / "fig8.json").write_text(json.dumps({"profile": "<quick>"}))
    return place


@pytest.fixture(scope="session")
def written(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("page") / "all.html"
    execute([str(folder), f"output={output}"])
    return output


@pytest.fixture(scope="session")
def page(written: Path) -> Element:
    return check_page(written.read_text())


@pytest.mark.parametrize("name", KEPT)
def test_claims_are_those_of_the_file(page: Element, name: str) -> None:
    number = name.removeprefix("fig")
    rows = table_rows(page, f"fig-{number}-claims")
    claims = pd.read_csv(REFERENCE / f"{name}_claims.csv").to_dict("records")
    assert len(rows) == len(claims) > 0
    for row, claim in zip(rows, claims, strict=True):
        assert row["claim"] == " ".join(claim["claim"].split())
        assert row["value"] == write_number(claim["value"], claim["stderr"])
        assert (row["threshold"], row["verdict"]) == (claim["threshold"], claim["verdict"])
        assert len(row["reason"]) > 10
    part = page.one("section", aria_labelledby=f"fig-{number}")
    assert len(part.find("svg") + part.find("img")) == 1


def test_verdicts_are_counted(page: Element) -> None:
    claims = pd.concat([pd.read_csv(REFERENCE / f"{name}_claims.csv") for name in KEPT])
    counts = claims["verdict"].value_counts()
    facts = page.one("dl")
    shown = {
        name.text: int(value.text)
        for name, value in zip(facts.find("dt"), facts.find("dd"), strict=True)
    }
    assert {name: count for name, count in shown.items() if count} == counts.to_dict()
    assert [row["figure"] for row in table_rows(page, "figures-table")] == ["8", "9"]


def test_a_figure_that_cannot_be_drawn_says_why(page: Element) -> None:
    part = page.one("section", aria_labelledby="fig-8")
    assert "Not drawn: " in part.text
    assert "fig8.csv: does not hold what the figure shows" in part.text
    assert not part.find("svg") + part.find("img")


def test_what_was_drawn_last_is_shown_by_a_word(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"figures/output: holds no figure; `kpflow figure 3`"):
        execute(["figures"])
    output = tmp_path / "figures" / "output"
    output.mkdir(parents=True)
    for suffix in (".csv.gz", ".json"):
        shutil.copy(REFERENCE / f"fig9{suffix}", output)
    execute(["figures"])
    assert capsys.readouterr().out == "figures/output/report.html\n"
    check_page((output / "report.html").read_text())


def test_the_same_figures_give_the_same_bytes(written: Path, folder: Path) -> None:
    execute([str(folder)])
    assert (folder / "report.html").read_bytes() == written.read_bytes()
