"""What the README says works."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from small_runs import small_config

from kpflow_cli import cli
from kpflow_cli.run.runner import run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
ENGINE = (ROOT / "kpflow_cli" / "README.md").read_text()
PYTHON = r"```python\n(.*?)```"
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
MAKEFILE = (ROOT / "Makefile").read_text()


def test_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(PYTHON, README, re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    estimate = r"\d+\.\d+ \+- \d+\.\d+ \(\d+ probes\)"
    lines = [rf"P K P\^\* {estimate}", estimate, estimate]
    lines.append(rf"{estimate} torch.Size\(\[3, 10, 20, 32\]\)")
    assert re.fullmatch("\n".join([*lines, ""]), capsys.readouterr().out)


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


def test_make_targets_exist() -> None:
    for target in re.findall(r"^make ([a-z ]+?)(?:  |$)", SHELL, re.MULTILINE):
        for name in target.split():
            assert f"\n{name}:" in MAKEFILE


def test_commands_exist() -> None:
    assert set(re.findall(r"^kpflow ([a-z]+)", SHELL, re.MULTILINE)) <= set(cli.COMMANDS)
