"""The plots of a run: drawn from the CSV files alone, saved whole, and said what made them."""

from __future__ import annotations

import io
import itertools
import math
import shutil
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest
from small_runs import small_config

from kpflow_cli.errors import FailedRunError
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
    assert {path.name for path in (tmp_path / "run" / "plots").iterdir()} == {
        f"{name}.{suffix}" for name in PLOTS for suffix in ("png", "pdf", "svg")
    }


def test_ten_target_modes_can_be_told_apart() -> None:
    training = pd.DataFrame({"step": [0, 5], "loss": 1.0, "evaluation_loss": 1.0, "accuracy": 0.5})
    for mode in range(1, 11):
        training[f"learned_fraction_{mode}"] = [0.0, 1 / mode]
    lines = PLOTS["training"]({"training": training}).axes[1].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 11


def test_what_is_small_of_learned_fractions_has_an_axis_of_its_own() -> None:
    training = pd.DataFrame(
        {"step": range(0, 50, 10), "loss": 1.0, "evaluation_loss": 1.0, "accuracy": 0.0}
    ).assign(learned_fraction_1=0.9, learned_fraction_2=-3e-9)
    panels = PLOTS["training"]({"training": training}).axes
    assert len(panels) == 3
    assert panels[2].get_yscale() == "log"
    assert list(panels[2].lines[1].get_ydata()) == [3e-9] * 5
    assert "single precision" in panels[2].get_legend().get_texts()[0].get_text()
    assert len(PLOTS["training"]({"training": training.assign(learned_fraction_2=0.5)}).axes) == 2


def test_overlaps_are_drawn_however_small() -> None:
    rows = [
        {"step": step, "operator": "ntk", "quantity": name, "reduction": "full"}
        | {"value": value, "stderr": 0.0, "probes": 0}
        for step in (0, 10)
        for name, value in (
            ("alignment", 0.5),
            ("target_overlap_1", 0.1),
            ("target_overlap_2", 1e-15),
        )
    ]
    measurements = pd.DataFrame(rows)
    overlap = PLOTS["alignment"]({"measurements": measurements}).axes[1]
    assert overlap.get_yscale() == "log"
    assert overlap.get_ylim()[0] < 1e-15
    measurements.loc[measurements["value"] < 1e-10, "stderr"] = 1e-14
    overlap = PLOTS["alignment"]({"measurements": measurements}).axes[1]
    assert overlap.get_ylim()[0] == 0
    assert "not above its error" in overlap.get_ylabel()


def test_a_diverged_run_says_at_which_step(tmp_path: Path) -> None:
    options = ("training.learning_rate=1e9", "training.evaluation_interval=1")
    # measured at the first and last step alone, for NTK_S of what is about to diverge is not finite
    options += ("analysis.checkpoints=2",)
    with pytest.raises(FailedRunError):
        run(small_config(*options), tmp_path / "run", PLOTS)
    training = read_tables(tmp_path / "run")["training"]
    assert not math.isfinite(training["loss"].iloc[-1])
    assert training.drop(columns=["step", "loss"]).iloc[-1].isna().all()
    figure = PLOTS["training"](read_tables(tmp_path / "run"))
    texts = {each.get_text() for each in figure.axes[0].get_legend().get_texts()}
    step = training["step"].iloc[-1]
    assert f"diverged at step {step}" in texts
    crosses = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert [list(line.get_ydata()) for line in crosses] == [[training["loss"].iloc[-2]]]
    assert (tmp_path / "run" / "plots" / "training.png").exists()


def test_what_was_trained_already_has_not_diverged() -> None:
    training = pd.DataFrame({"step": [0, 10], "loss": math.nan, "evaluation_loss": [2.0, 1.0]})
    (panel,) = PLOTS["training"]({"training": training}).axes
    assert [list(line.get_ydata()) for line in panel.lines] == [[2.0, 1.0]]


@pytest.mark.parametrize("name", ["temporal_modes", "outputs"])
def test_periods_of_the_task_are_shaded(name: str, run_dir: Path) -> None:
    tables = read_tables(run_dir)
    figure = PLOTS[name](tables)
    (legend,) = figure.legends
    named = [each.get_text() for each in legend.get_texts()]
    assert {"stimulus", "memory", "response"} <= {*named}
    config = small_config().task
    # a rectangle or, in matplotlib 3.8, a polygon
    corners = [
        patch.get_patch_transform().transform(patch.get_path().vertices)[:, 0]
        for patch in figure.axes[0].patches
    ]
    ends = [(each.min(), each.max()) for each in corners]
    response = config.stimulus_steps + config.memory_steps
    borders = [0, config.stimulus_steps, response, response + config.response_steps]
    assert ends == [
        (pytest.approx(begin - 0.5), pytest.approx(end - 0.5))
        for begin, end in itertools.pairwise(borders)
    ]
    # a run of an earlier version has no such table
    del tables["periods"]
    assert not PLOTS[name](tables).axes[0].patches


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
