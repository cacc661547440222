"""The list as text and as CSV."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from made_runs import aged, make_run

from kpflow_cli.listing.listed_run import ListedRun, read_run
from kpflow_cli.listing.table import lay_out_runs, size_in_words, write_csv


@pytest.fixture
def runs() -> list[ListedRun]:
    folders = [
        make_run("seed=1", "model.gain=0.5"),
        aged(make_run("seed=2", "model.gain=1.5", status="interrupted", step=7), 3600 * 30),
        aged(make_run("seed=2", status="diverged", path=Path("runs/mine")), 90 * 86400),
    ]
    return [read_run(folder) for folder in folders]


def test_a_line_for_each_run(runs: list[ListedRun]) -> None:
    now = runs[0].written + 5
    lines = lay_out_runs(runs, now, 200).splitlines()
    cells = [re.split(r" {2,}", line) for line in lines[:4]]
    hashes = [run.hash[:6] for run in runs]
    assert cells == [
        ["task", "model", "run", "status", "step", "age", "size", "differs in"],
        [
            *("memorypro", "gru", hashes[0], "complete", "40/40", "5 s"),
            size_in_words(runs[0].size),
            "model.gain=0.5 seed=1",
        ],
        [
            *("memorypro", "gru", hashes[1], "interrupted", "7/40", "30.0 h"),
            size_in_words(runs[1].size),
            "model.gain=1.5 seed=2",
        ],
        [
            *("memorypro", "gru", "runs/mine", "diverged", "40/40", "90 d"),
            size_in_words(runs[2].size),
            "model.gain=1.0 seed=2",
        ],
    ]
    total = size_in_words(sum(run.size for run in runs))
    assert lines[4:] == ["", f"3 runs: 1 complete, 1 interrupted, 1 diverged; {total}"]


@pytest.mark.parametrize("width", [75, 90, 110])
def test_lines_fit(width: int, runs: list[ListedRun]) -> None:
    wide, narrow = (lay_out_runs(runs, runs[0].written, each) for each in (200, width))
    assert max(map(len, narrow.splitlines())) <= width
    # nothing is lost on the way
    words = [sorted(text.replace("differs in", "").split()) for text in (wide, narrow)]
    assert words[0] == words[1]


def test_hashes_are_as_long_as_tells_them_apart(runs: list[ListedRun]) -> None:
    folder = Path("runs/memorypro/gru")
    twins = [
        replace(runs[0], hash=name, path=folder / name) for name in ("ab12cd34ef56", "ab12cd35ef56")
    ]
    text = lay_out_runs(twins, 0.0, 200)
    assert " ab12cd34 " in text
    assert " ab12cd35 " in text


def test_many_and_long_words_are_cut_short(runs: list[ListedRun]) -> None:
    keys = {f"key{index:02}": index for index in range(12)}
    others = [
        replace(run, config=keys | {"key00": "x" * 50 + str(place), "key01": place, "key11": place})
        for place, run in enumerate(runs)
    ]
    others[0] = replace(others[0], config={f"key{index:02}": "else" for index in range(12)})
    text = lay_out_runs(others, 0.0, 300)
    assert f"key00={'x' * 29}... " in text
    assert text.count(" and 4 more") == 3
    assert "key11=" not in text
    table = list(csv.DictReader(io.StringIO(write_csv(others))))
    assert [row["key11"] for row in table] == ["else", "1", "2"]
    assert table[1]["key00"] == "x" * 50 + "1"


def test_csv(runs: list[ListedRun]) -> None:
    rows = list(csv.DictReader(io.StringIO(write_csv(runs))))
    assert [Path(row["path"]) for row in rows] == [run.path for run in runs]
    assert [row["model.gain"] for row in rows] == ["0.5", "1.5", "1.0"]
    assert [int(row["bytes"]) for row in rows] == [run.size for run in runs]
    assert [row["status"] for row in rows] == ["complete", "interrupted", "diverged"]
    assert rows[2]["error"] == "DivergedError: loss is nan"
    assert rows[1]["step"] == "7"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", rows[0]["written"])
    assert write_csv([]).count("\n") == 1


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1234, "1.23 kB"), (12_345_678, "12.3 MB"), (999_600, "1 MB")],
)
def test_sizes(count: int, words: str) -> None:
    assert size_in_words(count) == words
