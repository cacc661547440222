"""Runs removed: only a run's folder, only with a yes, never one that somebody works on."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from made_runs import make_run
from small_runs import SMALL, kpflow

from kpflow_cli.commands import runs as command
from kpflow_cli.errors import FailedRunError, InUseError, UserError
from kpflow_cli.listing.listed_run import read_run
from kpflow_cli.run.identity import identity_hash
from kpflow_cli.run.layout import CONFIG, LOCK, STATUS
from kpflow_cli.run.removing import remove_run
from kpflow_cli.sweeps.points import SweepPoint
from kpflow_cli.sweeps.sweep_file import write_sweep


class Answer(io.StringIO):
    """Somebody at a terminal."""

    def isatty(self) -> bool:
        return True


def answer(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setattr("sys.stdin", Answer(words))


@pytest.mark.parametrize("words", ["y\n", "YES\n", " y \n"])
def test_yes(words: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    gone, stays = make_run(status="interrupted"), make_run("seed=1")
    answer(monkeypatch, words)
    command.execute(["status=interrupted", "--remove"])
    assert (gone.exists(), stays.exists()) == (False, True)
    shown = capsys.readouterr().out
    assert gone.name[:6] in shown
    assert stays.name[:6] not in shown
    assert "remove 1 run, " in shown
    assert shown.endswith("1 run removed\n")


@pytest.mark.parametrize("words", ["n\n", "\n", "", "yesterday\n", "no\n"])
def test_anything_else_is_no(words: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    folder = make_run()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    answer(monkeypatch, words)
    command.execute(["runs", "--remove"])
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert capsys.readouterr().out.endswith("nothing is removed\n")


def test_without_a_terminal_it_wants_a_word(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    folder = make_run()
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(UserError, match="nobody is here to answer; --yes answers"):
        command.execute(["runs", "--remove"])
    assert folder.exists()
    command.execute(["runs", "--remove", "--yes"])
    assert not folder.exists()
    assert "[y/N]" not in capsys.readouterr().out


def test_a_running_run_stays(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    running, done = make_run(status="running", step=7), make_run("seed=1")
    with FileLock(running / LOCK):
        command.execute(["task=memorypro", "--remove", "--yes"])
        assert (running.exists(), done.exists()) == (True, False)
        assert "1 of them is running, and stays\n" in capsys.readouterr().out
        with pytest.raises(UserError, match="each of these is running"):
            command.execute(["task=memorypro", "--remove", "--yes"])
        # whatever the list said before
        with pytest.raises(InUseError):
            remove_run(running)
        assert read_run(running).step == 7


def test_a_run_that_went_on_meanwhile_stays() -> None:
    folder = make_run(status="interrupted", step=7)
    listed = read_run(folder)
    status = json.loads((folder / STATUS).read_text())
    (folder / STATUS).write_text(json.dumps(status | {"step": 8}))
    with pytest.raises(UserError, match="went on since it was listed"):
        remove_run(folder, listed.written)
    assert folder.exists()


@pytest.mark.parametrize(
    "foreign", ["notes.txt", "data/x.npy", "plots/mine.txt", "checkpoints/best/w.pt", ".git/HEAD"]
)
def test_what_is_no_runs_is_left(foreign: str) -> None:
    folder = make_run()
    (folder / foreign).parent.mkdir(exist_ok=True)
    (folder / foreign).write_text("years of work")
    before = sorted(folder.rglob("*"))
    with pytest.raises(UserError, match="files that are no kpflow run's, such as"):
        command.execute(["runs", "--remove", "--yes"])
    assert sorted(folder.rglob("*")) == before


def test_what_is_linked_is_left(tmp_path: Path) -> None:
    folder = make_run()
    shutil.move(folder / "checkpoints", tmp_path / "large")
    (folder / "checkpoints").symlink_to(tmp_path / "large")
    with pytest.raises(UserError, match="such as checkpoints"):
        remove_run(folder)
    (folder / "checkpoints").unlink()
    link = tmp_path / "runs/link"
    link.symlink_to(folder.resolve())
    with pytest.raises(UserError, match="a link; name the folder"):
        remove_run(link)
    assert (folder / STATUS).exists()
    assert (tmp_path / "large/step_0.pt").exists()


def test_what_a_run_and_its_report_leave_is_a_runs() -> None:
    folder = make_run()
    for name in ("report.html", "summary.txt", ".run.json.0a.partial", "inputs.csv"):
        (folder / name).write_text("")
    for name in ("checkpoints/.step_2.pt.0a.partial", "plots/loss.svg", "tracker/events/x"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    remove_run(folder)
    assert not folder.exists()


def test_a_real_run_with_its_page_goes_whole(tmp_path: Path) -> None:
    done = kpflow("run", *SMALL, "report=true", "run_dir=one", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    removed = kpflow("runs", "one", "--remove", "--yes", cwd=tmp_path)
    assert removed.returncode == 0, removed.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_removal_that_breaks_off_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run()

    def fail(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr("kpflow_cli.run.removing.shutil.rmtree", fail)
        with pytest.raises(FailedRunError, match=r"cannot be removed \(Permission denied\)"):
            command.execute(["runs", "--remove", "--yes"])
    # nothing says any more that it is complete
    assert read_run(folder).status == "damaged"
    assert (folder / CONFIG).exists()
    command.execute(["runs", "--remove", "--yes"])
    assert not folder.exists()


def test_one_that_cannot_go_does_not_keep_the_others(capsys: Any) -> None:
    first, second = make_run(), make_run("seed=1")
    (first / "notes.txt").write_text("")
    with pytest.raises(FailedRunError, match=rf"1 of 2 runs are not removed: {first}: holds"):
        command.execute(["runs", "--remove", "--yes"])
    assert (first.exists(), second.exists()) == (True, False)
    assert "1 run removed" in capsys.readouterr().out


def test_sweeps_that_list_a_run_are_told(capsys: Any) -> None:
    folders = [make_run(f"seed={seed}") for seed in range(3)]
    points = [SweepPoint("", {}, folder) for folder in folders]
    write_sweep(points, Path("runs"), ["seed=0,1,2"])
    write_sweep(points[2:], Path("runs"), ["seed=2"])
    Path("runs/sweeps/other.json").write_text("{}")
    (file,) = (
        Path("runs/sweeps") / f"{identity_hash({'runs': sorted(paths)})}.json"
        for paths in [[str(folder.relative_to("runs")) for folder in folders]]
    )
    command.execute(["seed=0,1", "--remove", "--yes"])
    told = [line for line in capsys.readouterr().out.splitlines() if "the sweep" in line]
    assert told == [
        f"the sweep {file.resolve()} lists 2 of them; the command that made it makes them again"
    ]


def test_a_sweep_is_removed_by_its_file() -> None:
    folders, other = [make_run(f"seed={seed}") for seed in range(2)], make_run("seed=7")
    write_sweep([SweepPoint("", {}, folder) for folder in folders], Path("runs"), [])
    (file,) = Path("runs/sweeps").iterdir()
    command.execute([str(file), "--remove", "--yes"])
    assert [folder.exists() for folder in [*folders, other]] == [False, False, True]
