"""The plots of a run: drawn from the CSV files alone, saved whole, and said what made them."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest
from small_runs import small_config

from kpflow_cli.plotting.run_plots import PLOTS
from kpflow_cli.run.reading import read_tables
from kpflow_cli.run.runner import run


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plotted") / "run"
    run(small_config(), path, {"training": PLOTS["training"]})
    return path


@pytest.mark.parametrize("name", PLOTS)
def test_every_panel_holds_data_and_names_its_axes(name: str, run_dir: Path) -> None:
    figure = PLOTS[name](read_tables(run_dir))
    figure.savefig(io.BytesIO(), format="png")
    for panel in figure.axes:
        assert panel.lines
        assert all(len(line.get_xdata()) > 1 for line in panel.lines)
        grid = panel.get_subplotspec()
        assert panel.get_xlabel() or not grid.is_last_row()
        assert panel.get_ylabel() or not grid.is_first_col()


def test_lines_are_the_numbers_of_the_table(run_dir: Path) -> None:
    tables = read_tables(run_dir)
    figure = PLOTS["alignment"](tables)
    rows = tables["measurements"]
    expected = rows[(rows["quantity"] == "alignment")]["value"]
    assert list(figure.axes[0].lines[0].get_ydata()) == list(expected)


def test_bands_are_one_standard_error_wide(run_dir: Path) -> None:
    tables = read_tables(run_dir)
    rows = tables["measurements"]
    ranks = rows[
        (rows["operator"] == "ntk")
        & (rows["quantity"] == "effective_rank")
        & (rows["reduction"] == "full")
    ]
    band = PLOTS["effective_ranks"](tables).axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx((ranks["value"] + ranks["stderr"]).max())
    assert band[:, 1].min() == pytest.approx((ranks["value"] - ranks["stderr"]).min())


def test_a_short_run_can_be_drawn(tmp_path: Path) -> None:
    run(small_config("training.steps=1"), tmp_path / "run", PLOTS)
    assert len(list((tmp_path / "run" / "plots").iterdir())) == 2 * len(PLOTS)


def test_ten_target_modes_can_be_told_apart() -> None:
    training = pd.DataFrame({"step": [0, 5], "loss": 1.0, "evaluation_loss": 1.0, "accuracy": 0.5})
    for mode in range(1, 11):
        training[f"learned_fraction_{mode}"] = [0.0, 1 / mode]
    lines = PLOTS["training"]({"training": training}).axes[1].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 11


def test_a_matplotlibrc_of_the_users_changes_nothing(run_dir: Path) -> None:
    drawn = []
    for settings in ({}, {"font.size": 30.0, "axes.grid": True, "text.usetex": True}):
        with mpl.rc_context(settings):
            figure = PLOTS["spectra"](read_tables(run_dir))
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png")
        drawn.append(buffer.getvalue())
    assert drawn[0] == drawn[1]


def test_files_say_what_made_them(run_dir: Path) -> None:
    for kind in ("png", "pdf"):
        assert b"kpflow " in (run_dir / "plots" / f"training.{kind}").read_bytes()


@pytest.mark.parametrize("name", PLOTS)
def test_plots_need_nothing_but_the_tables(name: str, run_dir: Path, tmp_path: Path) -> None:
    for table in run_dir.glob("*.csv"):
        shutil.copy(table, tmp_path)
    assert PLOTS[name](read_tables(tmp_path)).axes
