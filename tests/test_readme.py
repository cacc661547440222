"""What the README says works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kpflow_cli import cli

README = (Path(__file__).parent.parent / "README.md").read_text()
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
MAKEFILE = (Path(__file__).parent.parent / "Makefile").read_text()


def test_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    example = next(
        block
        for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        if "global_ntk" in block
    )
    exec(compile(example, "README.md", "exec"), {})
    estimate = r"\d+\.\d+ \+- \d+\.\d+ \(\d+ probes\)"
    assert re.fullmatch(rf"P K P\^\* {estimate}\n{estimate} {estimate}\n", capsys.readouterr().out)


def test_make_targets_exist() -> None:
    for target in re.findall(r"^make ([a-z ]+?)(?:  |$)", SHELL, re.MULTILINE):
        for name in target.split():
            assert f"\n{name}:" in MAKEFILE


def test_commands_exist() -> None:
    assert set(re.findall(r"^kpflow ([a-z]+)", SHELL, re.MULTILINE)) <= set(cli.COMMANDS)
