"""Measures of one's own as kpflow_cli/README.md shows them, and the links of every README."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from small_runs import small_config

from kpflow_cli.run.runner import run

ROOT = Path(__file__).parent.parent
ENGINE = (ROOT / "kpflow_cli" / "README.md").read_text()
PYTHON = r"```python\n(.*?)```"


def test_measure_of_the_readers_own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own,) = (block for block in re.findall(PYTHON, ENGINE, re.DOTALL) if "Subject" in block)
    (tmp_path / "own_measures.py").write_text(own)
    monkeypatch.syspath_prepend(tmp_path)
    config = small_config("training.steps=1", "analysis.measures=[own_measures.stable_rank]")
    run(config, tmp_path / "run", plots={})
    rows = pd.read_csv(tmp_path / "run" / "measurements.csv")
    assert list(rows["quantity"]) == ["stable_rank"] * 2
    assert (rows["value"] >= 1).all()
    assert (rows["stderr"] > 0).all()


def test_links_lead_somewhere() -> None:
    for name in (".", "kpflow_cli", "configs", "tasks", "figures", "examples"):
        folder = ROOT / name
        text = (folder / "README.md").read_text()
        links = re.findall(r"\]\(([^)#:]+)\)", text)
        assert [link for link in links if not (folder / link).exists()] == []
