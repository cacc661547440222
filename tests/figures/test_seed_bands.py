"""Several seeds drawn as their median and a band, and where values are small, as what axis."""

from __future__ import annotations

import statistics
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest
from kpflow_cli.figures.fig5 import draw as draw_fig5
from kpflow_cli.figures.fig10 import draw as draw_fig10
from kpflow_cli.figures.learning import MODES, draw_learning
from kpflow_cli.figures.seed_bands import describe_spread, draw_seeds, gather_seeds
from matplotlib.figure import Figure

from kpflow_cli.plotting.small_values import scale_small_values
from kpflow_cli.plotting.style import StyledFigure

REFERENCE = Path(__file__).parents[2] / "figures" / "reference"
COURSES = {0: [1.0, 2.0, 9.0], 1: [5.0, 1.0, 4.0], 2: [3.0, 8.0, 7.0]}


def rows_of(seeds: tuple[int, ...]) -> pd.DataFrame:
    """Courses of three points, x descending, with errors of a tenth."""
    found = [
        {"line": seed, "x": x, "value": COURSES[seed][x], "stderr": 0.1}
        for seed in seeds
        for x in (2, 1, 0)
    ]
    return pd.DataFrame(found)


def test_seeds_are_gathered_as_median_least_and_largest() -> None:
    found = gather_seeds(rows_of((0, 1, 2)))
    assert found["x"].tolist() == [0, 1, 2]
    for place, row in enumerate(found.itertuples()):
        values = [course[place] for course in COURSES.values()]
        assert (row.value, row.low, row.high) == (
            statistics.median(values),
            min(values),
            max(values),
        )


def test_one_seed_is_its_own_line_with_its_errors() -> None:
    found = gather_seeds(rows_of((1,)))
    assert found["value"].tolist() == COURSES[1]
    assert (found["high"] - found["low"]).tolist() == pytest.approx([0.2] * 3)
    assert describe_spread(1) == "band: one standard error"
    assert describe_spread(3) == "median of 3 seeds, band: least to largest"


def test_band_is_drawn_where_the_seeds_are() -> None:
    panel = Figure().add_subplot()
    draw_seeds(panel, rows_of((0, 1, 2)), color="black")
    band = panel.collections[0].get_paths()[0].vertices
    assert {tuple(point) for point in band} >= {(0.0, 1.0), (0.0, 5.0), (2.0, 4.0), (2.0, 9.0)}


def test_a_single_point_has_a_bar() -> None:
    panel = Figure().add_subplot()
    draw_seeds(panel, rows_of((0, 1, 2)).query("x == 0"), color="black")
    assert panel.collections[0].get_segments()[0].tolist() == [[0, 1], [0, 5]]


def axis_of(values: list[float], errors: list[float] | float = 0.0) -> tuple[str, float]:
    panel = Figure().add_subplot()
    panel.plot(values)
    scale_small_values(panel, values, errors)
    return panel.get_yscale(), panel.get_ylim()[0]


def test_small_values_have_a_logarithmic_axis_and_those_that_are_0_a_place() -> None:
    assert axis_of([0.2, 0.9]) == ("linear", 0)
    scale, bottom = axis_of([1e-13, 0.9])
    assert scale == "log"
    assert bottom < 1e-13
    assert axis_of([0.0, 1e-13, 0.9]) == ("symlog", 0)
    # below its error a value is no other than 0
    assert axis_of([1e-20, 1e-13, 0.9], [1e-17, 0.0, 0.0]) == ("symlog", 0)
    assert axis_of([0.0, 0.0]) == ("linear", 0)


def texts_of(drawing: StyledFigure) -> list[str]:
    return [each.get_text() for each in drawing.findobj(mpl.text.Text)]


def read_reference(name: str) -> pd.DataFrame:
    return pd.read_csv(REFERENCE / f"{name}.csv.gz", keep_default_na=False, na_values=[""])


def test_seeds_whose_loss_rises_end_with_a_cross() -> None:
    data = read_reference("fig5")
    drawing = draw_fig5(data)
    risen = data[(data["panel"] == "rise") & (data["value"] > 1) & (data["series"] == "W")]
    corners = risen[risen["x"].isin([0.2449, 2.7551]) & risen["y"].isin([2, 62])]
    crosses = {
        title: sum(line.get_marker() == "x" and line.get_color() == "black" for line in panel.lines)
        for panel in drawing.axes
        if panel.get_ylabel() == "evaluation loss"
        for title in [panel.get_title()]
    }
    assert list(crosses.values()) == [len(corners), 0]
    assert any("rises above its first value" in text for text in texts_of(drawing))


def test_a_loss_that_overflows_ends_at_its_last_number() -> None:
    data = read_reference("fig5")
    name = "2.7551 62 0"
    row = (data["panel"] == "loss") & (data["series"] == "W") & (data["line"] == name)
    data.loc[row & (data["x"] > 100), "value"] = float("inf")
    last = data[row & (data["x"] <= 100)].iloc[-1]
    ends = [
        (line.get_xdata()[0], line.get_ydata()[0])
        for panel in draw_fig5(data).axes
        for line in panel.lines
        if line.get_marker() == "x" and len(line.get_xdata()) == 1
    ]
    assert (last["x"], last["value"]) in ends


def test_a_network_has_one_colour_in_figures_4_and_4b() -> None:
    from kpflow_cli.figures import fig4, fig4b

    looks = {**fig4.NETWORKS, **fig4b.NETWORKS}
    assert looks["gain1"][1] == looks["network1"][1]
    assert looks["planted"][1] == looks["network2"][1]
    assert looks["torch_default"][1] not in {order for _, order in fig4.NETWORKS.values()}


def test_legend_of_figure_4_names_what_is_drawn() -> None:
    from kpflow_cli.figures.fig4 import NETWORKS

    texts = texts_of(draw_learning(read_reference("fig4"), NETWORKS))
    assert {"planted fixed point", "median of 3 seeds, band: least to largest"} <= {*texts}
    assert {f"target mode {mode}" for mode in MODES} <= {*texts}


def test_ratios_of_figure_10_are_of_the_same_seed() -> None:
    data = read_reference("fig10")
    drawing = draw_fig10(data)
    ranks = data[data["panel"] == "temporal_mean"].set_index(["series", "line", "x"])["value"]
    ratios = [
        ranks["5 trials, 2 heads", seed, 512] / ranks["5 trials, 1 head", seed, 512]
        for seed in (0, 1, 2)
    ]
    panel = next(each for each in drawing.axes if each.get_ylabel().startswith("over the rank"))
    assert panel.lines[0].get_ydata()[-1] == pytest.approx(statistics.median(ratios))
