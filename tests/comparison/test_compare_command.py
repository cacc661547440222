"""``kpflow compare`` of real small runs: what it prints is what their CSV files say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from html_pages import check_page, table_rows
from scipy import stats
from small_runs import SMALL, kpflow

QUICK = [*SMALL, "analysis.records=[]"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of three seeds of a network and one of another."""
    cwd = tmp_path_factory.mktemp("compared")
    for seed in range(3):
        done = kpflow("run", *QUICK, f"seed={seed}", f"run_dir=gru{seed}", cwd=cwd)
        assert done.returncode == 0, done.stderr
    done = kpflow("run", *QUICK, "model=rnn", "run_dir=rnn", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd


def at_end(folder: Path, quantity: str, reduction: str) -> pd.Series:
    table = pd.read_csv(folder / "measurements.csv")
    found = table[
        (table["operator"] == "ntk")
        & (table["quantity"] == quantity)
        & (table["reduction"] == reduction)
        & (table["step"] == table["step"].max())
    ]
    (row,) = (row for _, row in found.iterrows())
    return row


def lines_of(text: str, name: str) -> list[str]:
    """The lines of a quantity of ``ntk``, one a configuration."""
    lines = text.splitlines()
    start = next(
        place
        for place, line in enumerate(lines)
        if line.startswith(f"  {name} ") and place > lines.index("ntk")
    )
    return [lines[start], *(line for line in lines[start + 1 : start + 2] if line[2] == " ")]


def numbers_of(line: str) -> list[float]:
    return [float(each) for each in re.findall(r"[-+]?\d+\.?\d*(?:e[-+]\d+)?", line)]


def test_two_runs_have_the_numbers_of_their_files(place: Path) -> None:
    done = kpflow("compare", "gru0", "rnn", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "A  gru0, seed 0\nB  rnn, seed 0\n" in done.stdout
    assert re.search(r"^model.dt +- +0\.7$", done.stdout, re.MULTILINE)
    assert not re.search(r"^(seed|task|training)", done.stdout.split("at step 40")[0], re.MULTILINE)
    for quantity, reduction in (("effective_rank", "full"), ("trace", "temporal_trace")):
        one, other = (at_end(place / name, quantity, reduction) for name in ("gru0", "rnn"))
        first, second = lines_of(done.stdout, f"{quantity} {reduction}")
        value, error, probes = numbers_of(first.partition(" A ")[2])
        assert value == pytest.approx(one["value"], abs=error / 10)
        assert error == pytest.approx(one["stderr"], rel=0.06)
        assert probes == one["probes"]
        *_, amount, combined, ratio = numbers_of(second.partition(" B ")[2])
        expected = (one["stderr"] ** 2 + other["stderr"] ** 2) ** 0.5
        assert combined == pytest.approx(expected, rel=0.06)
        assert amount == pytest.approx(other["value"] - one["value"], abs=combined / 10)
        assert ratio == pytest.approx((other["value"] - one["value"]) / expected, abs=0.06)
        assert second.endswith(" *") == (abs(ratio) > 2.1)


def test_three_seeds_are_one_configuration(place: Path) -> None:
    done = kpflow("compare", "rnn", "gru0", "gru1", "gru2", "quantities=alignment", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "B  3 seeds: 0, 1, 2\n   gru0\n   gru1\n   gru2\n" in done.stdout
    sample = pd.Series(
        [at_end(place / f"gru{seed}", "alignment", "full")["value"] for seed in range(3)]
    )
    _, line = lines_of(done.stdout, "alignment full")
    value, error, seeds, spread, *_ = numbers_of(line.partition(" B ")[2])
    assert seeds == 3
    assert error == pytest.approx(sample.sem(), rel=0.06)
    assert value == pytest.approx(sample.mean(), abs=error / 10)
    assert spread == pytest.approx(sample.std(), rel=0.06)


def test_folders_of_measure_are_compared(place: Path) -> None:
    np.save(place / "x.npy", np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32"))
    for seed in (0, 1):
        done = kpflow(
            "measure",
            f"weights=gru{seed}",
            "inputs=x.npy",
            "analysis.measures=[v]",
            f"run_dir=measured{seed}",
            cwd=place,
        )
        assert done.returncode == 0, done.stderr
    done = kpflow("compare", "measured0", "measured1", "output=measured.html", cwd=place)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^weights +gru0 +gru1$", done.stdout, re.MULTILINE)
    page = check_page((place / "measured.html").read_text())
    assert page.one("h1").text == "A: weights=gru0 and B: weights=gru1"
    values = [
        pd.read_csv(place / f"measured{seed}" / "measurements.csv")
        .query("operator == 'v' and quantity == 'effective_rank' and step == step.max()")["value"]
        .item()
        for seed in (0, 1)
    ]
    # below the Frobenius norm
    lines = done.stdout.split("\nv\n")[1].splitlines()[2:4]
    shown = [
        numbers_of(line.partition(f" {letter} ")[2])[0]
        for line, letter in zip(lines, "AB", strict=True)
    ]
    assert shown == pytest.approx(values, rel=1e-5)


def test_seeds_alone_have_no_differences(place: Path) -> None:
    done = kpflow("compare", "gru0", "gru1", "gru2", "output=seeds.html", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "no key differs but the seed" in done.stdout
    assert "s.e." not in done.stdout
    rows = table_rows(check_page((place / "seeds.html").read_text()), "quantities-table")
    row = next(row for row in rows if row["quantity"] == "ntk alignment full")
    sample = [at_end(place / f"gru{seed}", "alignment", "full")["value"] for seed in range(3)]
    reach = stats.t.ppf(0.975, 2) * stats.sem(sample)
    low, high = map(float, row["95 % interval"].split(" to "))
    assert low == pytest.approx(np.mean(sample) - reach, rel=5e-3)
    assert high == pytest.approx(np.mean(sample) + reach, rel=5e-3)
    assert float(row["spread"]) == pytest.approx(np.std(sample, ddof=1), rel=1e-3)


def test_a_page_is_written_where_it_is_asked_for(place: Path) -> None:
    before = {path for path in place.rglob("*") if path.is_file()}
    assert kpflow("compare", "gru0", "rnn", cwd=place).returncode == 0
    assert {path for path in place.rglob("*") if path.is_file()} == before
    done = kpflow("compare", "gru0", "rnn", "output=pages/both.html", cwd=place)
    assert done.stdout.splitlines()[-1] == "pages/both.html"
    assert {path for path in place.rglob("*") if path.is_file()} - before == {
        place / "pages" / "both.html"
    }
    refused = kpflow("compare", "gru0", "rnn", "output=gru0/run.json/x.html", cwd=place)
    assert refused.returncode == 2
    assert "output=gru0/run.json/x.html: cannot be written" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "compare takes two runs or more"),
        (["gru0"], "compare takes two runs or more, got gru0"),
        (["gru0", "gru0"], "gru0: named twice"),
        (["gru0", "rn"], "rn: not there (did you mean 'rnn'?)"),
        (["gru0", "rnn", "setp=3"], "no option 'setp=3' (did you mean 'step'?)"),
        (["gru0", "rnn", "step=41"], "step=41: not in all runs; in all are 0, 2, 5, 10, 15"),
        (["gru0", "rnn", "--out"], "no option '--out'"),
    ],
)
def test_mistakes_are_told_in_a_line(place: Path, arguments: list[str], told: str) -> None:
    done = kpflow("compare", *arguments, cwd=place)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"kpflow: {told}"), done.stderr
    assert done.stderr.count("\n") == 1


def test_in_the_terminal_neither_torch_nor_matplotlib_is_loaded(place: Path) -> None:
    program = (
        "import sys; sys.argv = ['kpflow', 'compare', 'gru0', 'rnn']; "
        "from kpflow_cli.cli import main; main(); "
        "print([name for name in ('torch', 'matplotlib', 'jinja2') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=place, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
