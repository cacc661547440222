"""A finished run is told so at once, and only where all that it wrote is there as it wrote it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_runs import SMALL, kpflow, small_config

from kpflow_cli.config.grid import compose_point
from kpflow_cli.config.validation import identity
from kpflow_cli.plotting.loading import NAMES
from kpflow_cli.plotting.run_plots import PLOTS
from kpflow_cli.run.finished import finished_summary, is_told_by_its_keys
from kpflow_cli.run.folder import open_run_folder
from kpflow_cli.run.layout import CHECKPOINTS, REPORT, SUMMARY
from kpflow_cli.run.runner import run

STEPS = 40


class _Drawing:
    def savefig(self, fname: object, **_options: object) -> None:
        fname.write(b"drawn")  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "run"
    run(small_config(), folder, plots={"one": lambda _tables: _Drawing()})
    return folder


def _find(folder: Path, *overrides: str, plots: tuple[str, ...] = ("one",)) -> str | None:
    return finished_summary(folder, compose_point([*SMALL, *overrides], "config").values, plots)


def test_a_whole_run_is_told_by_its_summary(made: Path, tmp_path: Path) -> None:
    assert _find(made) == (made / SUMMARY).read_text().rstrip()
    shutil.copytree(made, tmp_path / "run")
    (tmp_path / "run" / REPORT).write_text("a page made of it")
    assert _find(tmp_path / "run") is not None
    # whoever has deleted the checkpoints wants no others
    shutil.rmtree(tmp_path / "run" / CHECKPOINTS)
    assert _find(tmp_path / "run") is not None


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _replace_last_checkpoint(folder: Path) -> None:
    """The last one by an earlier one."""
    last = folder / CHECKPOINTS / f"step_{STEPS}.pt"
    earlier = max(
        (path for path in folder.glob("checkpoints/*.pt") if path != last),
        key=lambda path: int(path.stem[5:]),
    )
    shutil.copy(earlier, last)


def _copy_checkpoint(folder: Path, name: str) -> None:
    shutil.copy(folder / CHECKPOINTS / f"step_{STEPS}.pt", folder / CHECKPOINTS / f"{name}.pt")


def _change_status(folder: Path, **changes: object) -> None:
    """As the program itself would write it, with its checksum."""
    named = identity(small_config())
    status = json.loads((folder / "run.json").read_text())
    with open_run_folder(folder, named) as opened:
        opened.write_status({**status, **changes})


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: _flip(folder / "training.csv"),
        lambda folder: _flip(folder / "config.yaml"),
        lambda folder: _flip(folder / "run.json"),
        lambda folder: _flip(folder / SUMMARY),
        lambda folder: _flip(folder / "plots" / "one.pdf"),
        lambda folder: _flip(folder / CHECKPOINTS / f"step_{STEPS}.pt"),
        lambda folder: (folder / CHECKPOINTS / f"step_{STEPS}.pt").unlink(),
        lambda folder: (folder / "SHA256SUMS").unlink(),
        lambda folder: (folder / "plots" / "one.png").unlink(),
        lambda folder: _replace_last_checkpoint(folder),
        lambda folder: _copy_checkpoint(folder, "latest"),
        lambda folder: _copy_checkpoint(folder, f"step_{STEPS + 1}"),
        lambda folder: _change_status(folder, status="interrupted"),
        lambda folder: _change_status(folder, step=STEPS - 1),
        lambda folder: _change_status(folder, versions={"kpflow": "0.0.1"}),
        lambda folder: _change_status(folder, plots=["two"]),
        lambda folder: (folder / "config.yaml").write_text("seed: 1\n"),
    ],
)
def test_anything_amiss_is_left_to_the_run(
    made: Path, tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(made, folder)
    harm(folder)
    assert _find(folder) is None


def test_another_run_is_not_taken_for_it(made: Path, tmp_path: Path) -> None:
    assert _find(made, "seed=5") is None
    assert _find(made, f"training.steps={STEPS + 1}") is None
    assert _find(tmp_path / "nothing") is None


def test_a_checkpoint_of_another_run_is_not_taken_for_its_own(made: Path, tmp_path: Path) -> None:
    """As whole as its own, and of the same step."""
    run(small_config("seed=5"), tmp_path / "other", plots={})
    shutil.copytree(made, tmp_path / "run")
    last = Path(CHECKPOINTS, f"step_{STEPS}.pt")
    shutil.copy(tmp_path / "other" / last, tmp_path / "run" / last)
    assert _find(tmp_path / "run") is None


def test_a_page_that_is_asked_for_later_is_written(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(made, folder)
    assert _find(folder, "report=true") is None
    drawn = {"one": lambda _tables: _Drawing()}
    run(small_config("report=true"), folder, plots=drawn, page=lambda _folder: "a page")
    assert (folder / REPORT).read_text() == "a page"
    assert _find(folder, "report=true") is not None


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=custom", "model.target=own_lstm.Net", "model.units=7"],
        ["model=lstm", "model._target_=own_lstm.Net"],
    ],
)
def test_code_of_ones_own_is_left_to_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str]
) -> None:
    """It may have changed since: only the run itself builds a network of it."""
    (tmp_path / "own_lstm.py").write_text(
        "from kpflow_cli.models.stacked import LSTM\n\n\nclass Net(LSTM):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    values = compose_point([*SMALL, *overrides], "config").values
    assert not is_told_by_its_keys(values)


def test_files_of_ones_own_are_left_to_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "data.npz", inputs=np.zeros((4, 3, 1)), targets=np.zeros((4, 3, 1)))
    monkeypatch.chdir(tmp_path)
    overrides = ["task=arrays", "task.inputs=data.npz"]
    assert not is_told_by_its_keys(compose_point(overrides, "config").values)


def test_the_programs_own_networks_are_told_by_their_keys() -> None:
    for model in ("gru", "attention", "cnn"):
        assert is_told_by_its_keys(compose_point([f"model={model}"], "config").values)


def test_the_names_of_all_plots() -> None:
    assert tuple(PLOTS) == NAMES


def test_a_run_without_plots_is_left_to_the_run_that_draws_them(tmp_path: Path) -> None:
    folder, plots = tmp_path / "run", {"one": lambda _tables: _Drawing()}
    run(small_config(), folder, plots={})
    assert _find(folder) is None
    run(small_config(), folder, plots=plots)
    assert _find(folder) is not None


def test_a_plot_that_failed_is_left_to_the_run(tmp_path: Path) -> None:
    def fail(_tables: object) -> _Drawing:
        raise ValueError("no")

    folder, both = tmp_path / "run", ("one", "two")
    run(small_config(), folder, plots={"one": lambda _tables: _Drawing(), "two": fail})
    assert json.loads((folder / "run.json").read_text())["plots"] == ["one"]
    assert _find(folder, plots=both) is None
    run(small_config(), folder, plots=dict.fromkeys(both, lambda _tables: _Drawing()))
    assert _find(folder, plots=both) is not None


def test_a_plot_with_nothing_to_show_is_not_missing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(small_config(), folder, plots={"one": lambda _tables: None})
    assert _find(folder) is not None


def test_the_command_says_of_a_finished_run_what_the_run_itself_says(tmp_path: Path) -> None:
    made = kpflow("run", *SMALL, "run_dir=out", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    quick = kpflow("run", *SMALL, "run_dir=out", cwd=tmp_path)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    # the checkpoint under a name too many is for the run itself to look at
    _copy_checkpoint(tmp_path / "out", "latest")
    slow = kpflow("run", *SMALL, "run_dir=out", cwd=tmp_path)
    assert (quick.returncode, quick.stdout) == (slow.returncode, slow.stdout)
    assert "all 40 steps are done and measured already" in quick.stdout
