"""Figures one after the other: all is checked before the first run, and one that cannot be made
does not keep the others from being made.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kpflow_cli.attempts import raise_failures
from kpflow_cli.config.paths import refuse_unwritable
from kpflow_cli.errors import FailedRunError, UserError
from kpflow_cli.reproduction import building
from kpflow_cli.reproduction.command import Order, make_figures
from kpflow_cli.reproduction.figure_code import Figure
from kpflow_cli.reproduction.pictures import Output
from kpflow_cli.reproduction.specification import read_figure_specs
from kpflow_cli.sweeps import checking


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the figures that were built, in whose place nothing is done."""
    names: list[str] = []
    monkeypatch.setattr(building, "build", lambda figure, *_, **__: names.append(figure.name))
    return names


def order(tmp_path: Path, *names: str) -> Order:
    return Order(read_figure_specs(), names, "quick", [], tmp_path / "runs")


def make(tmp_path: Path, *names: str) -> None:
    make_figures(order(tmp_path, *names), Output(tmp_path / "figures"))


def test_an_extra_that_is_missing_is_found_before_any_run(
    made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(UserError, match=r"^second_order, seed 0: training.optimizer=shampoo: need"):
        make(tmp_path, "fig4")
    assert made == []
    assert not list(tmp_path.iterdir())


def test_the_figures_after_one_that_is_refused_are_made(
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(FailedRunError, match=r"^1 of 2 figures were not made: fig4: second_order"):
        make(tmp_path, "fig4", "fig8")
    assert made == ["fig8"]
    assert "fig4 is not made: second_order" in capsys.readouterr().out


def test_where_all_are_refused_nothing_was_sound(
    made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kpflow_cli.figures.fig8", None)
    monkeypatch.setitem(sys.modules, "kpflow_cli.figures.fig3", None)
    with pytest.raises(UserError, match=r"^2 of 2 figures were not made: fig8: its code cannot be"):
        make(tmp_path, "fig8", "fig3")


def test_the_figures_after_one_whose_runs_fail_are_made(
    made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(figure: Figure, *_: object, **__: object) -> None:
        if figure.name == "fig8":
            raise FailedRunError("fig8: 1 of 3 runs failed")
        made.append(figure.name)

    monkeypatch.setattr(building, "build", build)
    monkeypatch.setattr(checking, "check_points", lambda points: None)
    with pytest.raises(FailedRunError, match=r"^1 of 2 figures were not made: fig8: fig8: 1 of 3"):
        make(tmp_path, "fig8", "fig3")
    assert made == ["fig3"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "figures").write_text("a file"),
        lambda folder: (folder / "figures").symlink_to("/proc/nowhere"),
    ],
)
def test_a_folder_that_cannot_be_written_is_told_first(
    spoil: Callable[[Path], object], made: list[str], tmp_path: Path
) -> None:
    spoil(tmp_path)
    with pytest.raises(UserError, match=r"^output_dir=.*figures: cannot be written \(.+\)$"):
        make(tmp_path, "fig8")
    assert made == []


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "/proc/nowhere/out"])
def test_so_is_a_name_that_no_folder_can_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^output_dir=(.|\n)*: cannot be written \(.+\)$"):
        refuse_unwritable(tmp_path / name, "output_dir")


def test_looking_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    refuse_unwritable(tmp_path / "there" / "a" / "b", "run_dir")
    refuse_unwritable(tmp_path / "there", "run_dir")
    assert [entry.name for entry in tmp_path.rglob("*")] == ["there"]


def test_one_error_tells_all_that_failed() -> None:
    refused, failed = ("a", UserError("bad")), ("b", FailedRunError("broke"))
    raise_failures([], 3, "were not made")
    with pytest.raises(FailedRunError, match=r"^2 of 2 were not made: a: bad; b: broke$"):
        raise_failures([refused, failed], 2, "were not made")
    with pytest.raises(FailedRunError, match=r"^1 of 2 were not made: a: bad$"):
        raise_failures([refused], 2, "were not made")
    with pytest.raises(UserError, match=r"^1 of 1 were not made: a: bad$"):
        raise_failures([refused], 1, "were not made")
