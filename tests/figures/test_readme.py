"""What the README of the figures says of a figure of one's own works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from kpflow_cli.figures.table import COLUMNS
from small_runs import SMALL

from kpflow_cli.reproduction.specification import read_figure_specs

ROOT = Path(__file__).parents[2]
README = (ROOT / "figures" / "README.md").read_text()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as it is installed, and the README's two files in their places."""
    folder = tmp_path_factory.mktemp("checkout")
    package = folder / "kpflow_cli"
    unneeded = shutil.ignore_patterns("__pycache__", "reference", "output")
    shutil.copytree(ROOT / "kpflow_cli", package, ignore=unneeded)
    for plug_in in ("configs", "figures", "tasks"):
        shutil.copytree(ROOT / plug_in, package / plug_in, ignore=unneeded)
    for language, place in (("yaml", "configs/figure/fig11.yaml"), ("python", "figures/fig11.py")):
        assert f"`{place}`" in README
        [example] = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
        (package / place).write_text(example)
    return folder


def kpflow(checkout: Path, *words: str) -> str:
    """What the command prints, run from the checkout."""
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [sys.executable, "-m", "kpflow_cli", *words],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_example_is_a_figure_of_its_own(checkout: Path) -> None:
    printed = kpflow(checkout, "figure", "11", *SMALL)
    assert "fig11, profile quick" in printed
    output = checkout / "figures" / "output"
    suffixes = (".pdf", ".png", ".csv", "_claims.csv", ".json")
    assert {path.name for path in output.iterdir()} == {f"fig11{suffix}" for suffix in suffixes}
    data = pd.read_csv(output / "fig11.csv")
    assert tuple(data.columns) == COLUMNS
    assert data["x"].tolist() == [0.01, 0.03, 0.1]
    [claim] = pd.read_csv(output / "fig11_claims.csv").to_dict("records")
    losses = data["value"].tolist()
    assert claim["value"] == pytest.approx(losses[-1] / losses[0])
    assert claim["verdict"] == ("holds" if claim["value"] <= 0.5 else "fails")


def test_the_example_is_listed(checkout: Path) -> None:
    assert re.search(
        r"  11 +1 min  0 of 3 runs there  loss that", kpflow(checkout, "figure", "--list", "11")
    )


def test_every_figure_is_in_the_table() -> None:
    rows = re.findall(r"^\| ([\d, b]+) \|", README, re.MULTILINE)
    numbers = [number for row in rows for number in row.split(", ")]
    assert [f"fig{number}" for number in numbers] == list(read_figure_specs())
