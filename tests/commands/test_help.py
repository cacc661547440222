"""Every command's help page: what it is made of, and that each of its examples is understood."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from dry_commands import leave_work_undone, what_it_tells

from kpflow_cli import cli
from kpflow_cli.config.columns import EXIT_STATUS, WIDTH, lay_out

ROOT = Path(__file__).parents[2]
# of a word that a command does not know; files that are not there are none of the example's faults
NOT_UNDERSTOOD = re.compile(
    r"did you mean|^no |no key|no option|unrecognized|cannot read|impossible"
    r"| takes (?:no|one)| needs "
)


def page_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    # argparse ends the process
    with contextlib.suppress(SystemExit):
        cli._command(command).execute(["--help"])
    return capsys.readouterr().out


def examples_of(page: str) -> list[str]:
    (block,) = re.findall(r"^Examples:\n((?:  .*\n)+)", page, re.MULTILINE)
    return [
        re.split(r" {2,}", line.strip())[0]
        for line in block.splitlines()
        if line.startswith("  kpflow ")
    ]


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_page(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = page_of(command, capsys)
    assert page.startswith(f"usage: kpflow {command}")
    assert [line for line in page.splitlines() if len(line) > WIDTH] == []
    assert page.endswith(f"\n\n{lay_out(EXIT_STATUS)}")
    # what it does, in words, follows its usage
    assert re.match(r"usage: .*\n(?: {7}.*\n)*\n[A-Z]\w.*", page)
    assert examples_of(page)
    assert all(example.startswith(f"kpflow {command}") for example in examples_of(page))


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_examples_are_understood(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    for group, choice in (("task", "memorypro"), ("model", "gru")):
        (tmp_path / "DIR" / group).mkdir(parents=True)
        shutil.copy(
            ROOT / "configs" / group / f"{choice}.yaml", tmp_path / "DIR" / group / "mine.yaml"
        )
    shutil.copytree(tmp_path / "DIR", tmp_path / "conf")
    monkeypatch.chdir(tmp_path)
    leave_work_undone(monkeypatch)
    for example in examples_of(page_of(command, capsys)):
        words = shlex.split(example.replace("<hash>", "0a1b2c3d"))[2:]
        told = what_it_tells(command, [word for word in words if word != "..."])
        assert not NOT_UNDERSTOOD.search(told), f"{example}: {told}"


def test_page_is_laid_out() -> None:
    page = lay_out(
        "usage: kpflow x\n\nA line\nand another.\n\n  kpflow x  does\n            something\n"
        f"  kpflow {'x' * 40}  long\n\nheading:\n  a  b\n  c\n"
    )
    assert page == (
        "usage: kpflow x\n\nA line and another.\n\nExamples:\n  kpflow x  does something\n"
        f"  kpflow {'x' * 40}\n            long\n\nheading:\n  a  b\n  c\n"
    )
