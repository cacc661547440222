"""``kpflow runs`` from its words to what it shows, and the page that it opens."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_runs import aged, make_run
from small_runs import kpflow

from kpflow_cli.commands import runs as command
from kpflow_cli.errors import UserError


def listed(shown: str) -> list[str]:
    return [row["path"] for row in csv.DictReader(io.StringIO(shown))]


def test_the_youngest_come_first(capsys: Any) -> None:
    old, young = aged(make_run(), 100), make_run("seed=1")
    command.execute(["--csv"])
    assert listed(capsys.readouterr().out) == [str(young), str(old)]
    command.execute(["sort=-age", "--csv"])
    assert listed(capsys.readouterr().out) == [str(old), str(young)]


def test_places_hashes_and_filters(capsys: Any, tmp_path: Path) -> None:
    first, second = make_run(), make_run("model=rnn", "seed=1")
    other = make_run("seed=2", path=Path("elsewhere/key=value"))
    for words, chosen in (
        ([], {first, second}),
        ([first.name[:5]], {first}),
        ([first.name[:5], second.name], {first, second}),
        ([str(second)], {second}),
        (["runs/memorypro/rnn", "elsewhere"], {second, other}),
        (["elsewhere/key=value"], {other}),
        ([str(tmp_path), "seed=1,2"], {tmp_path / second, tmp_path / other}),
        ([str(first), "runs"], {first, second}),
    ):
        command.execute([*words, "--csv"])
        assert set(map(Path, listed(capsys.readouterr().out))) == chosen, words


def test_nothing_that_a_filter_holds_of(capsys: Any) -> None:
    folder = make_run()
    for words in ([], ["--remove"]):
        command.execute(["status=failed", "older=0s", *words])
        assert capsys.readouterr().out == "none of 1 runs: status=failed older=0s\n"
    assert folder.exists()
    command.execute(["status=failed", "--csv"])
    assert listed(capsys.readouterr().out) == []
    with pytest.raises(UserError, match="run=ffff: the beginning of no run's hash"):
        command.execute(["ffff"])


def test_mistakes_end_with_a_line(tmp_path: Path) -> None:
    make_run()
    for word, told in (
        ("statsu=complete", "no key 'statsu' (did you mean 'status'?); keys there: task, model, "),
        ("status=finished", "status=finished: unknown; valid: complete, damaged, diverged, "),
        ("sort=old", "sort=old: unknown"),
        ("diverged", "diverged: no folder (did you mean 'status=diverged'?)"),
    ):
        refused = kpflow("runs", word, cwd=tmp_path)
        assert refused.returncode == 2
        assert refused.stderr.startswith(f"kpflow: {told}")
        assert refused.stderr.count("\n") == 1
        assert refused.stdout == ""


def test_a_list_changes_nothing(tmp_path: Path) -> None:
    make_run()
    make_run("seed=1", status="running")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    done = kpflow("runs", cwd=tmp_path)
    assert done.returncode == 0
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert after == before


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    make_run()
    program = (
        "import sys; from kpflow_cli.commands import runs; runs.execute([]); "
        "sys.exit(3 * any(name in sys.modules for name in ('torch', 'pandas', 'matplotlib')))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_open_names_the_page(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run()
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    command.execute(["--open", folder.name[:6]])
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"
    assert "<html" in (folder / "report.html").read_text()
    assert shown == []
    monkeypatch.setenv("DISPLAY", ":0")
    command.execute(["--open", str(folder)])
    assert shown == [(folder / "report.html").resolve().as_uri()]


def test_open_takes_one() -> None:
    make_run()
    make_run("seed=1")
    with pytest.raises(UserError, match="--open: takes one run, and these are 2"):
        command.execute(["--open"])
