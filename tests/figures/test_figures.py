"""Figures made from beginning to end with small networks: files, drawings, and claims that can
fail.
"""

from __future__ import annotations

import importlib
import io
import json
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from kpflow_cli.figures.table import COLUMNS
from small_figures import NAMES, OVERRIDES
from small_runs import table_bytes

from kpflow_cli.commands.figure import execute, read_arguments
from kpflow_cli.errors import FailedRunError, UserError
from kpflow_cli.measures.records.scene import choose_indices
from kpflow_cli.reproduction.runs import compose_runs
from kpflow_cli.reproduction.specification import read_figure_specs
from kpflow_cli.sweeps import engines

Change = Callable[[pd.DataFrame], pd.DataFrame]


def module(name: str) -> ModuleType:
    return importlib.import_module(f"kpflow_cli.figures.{name}")


def data_of(name: str, made: Path) -> pd.DataFrame:
    return pd.read_csv(made / "output" / f"{name}.csv")


@pytest.mark.parametrize("name", NAMES)
def test_files_of_a_figure(name: str, made: Path) -> None:
    output = made / "output"
    data, claims = pd.read_csv(output / f"{name}.csv"), pd.read_csv(output / f"{name}_claims.csv")
    assert tuple(data.columns) == COLUMNS
    assert data["value"].notna().all()
    assert list(claims.columns) == [
        "claim",
        "value",
        "stderr",
        "groups",
        "of",
        "threshold",
        "verdict",
    ]
    assert claims["claim"].is_unique
    assert set(claims["verdict"]) <= {"holds", "fails", "undecided", "identity"}
    # an error says what it rests on
    assert claims["of"][claims["groups"] > 0].notna().all()
    assert (data["probes"] >= 0).all()
    record = json.loads((output / f"{name}.json").read_text())
    assert record["profile"] == "quick"
    assert {"versions", "commit", "platform"} <= record.keys()
    assert Path(record["sweep"]).is_file()
    # of many runs only the number
    assert isinstance(record["runs"], int) or all(
        Path(run["folder"]).is_dir() for run in record["runs"]
    )
    pdf = (output / f"{name}.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"kpflow " in pdf


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_shows_something_and_names_its_axes(name: str, made: Path) -> None:
    drawing = module(name).draw(data_of(name, made))
    drawing.savefig(io.BytesIO(), format="png")
    for panel in drawing.axes:
        if panel.get_label() == "<colorbar>":
            continue
        assert panel.lines or panel.images or panel.collections or panel.patches
        # a schematic has no axes to name
        if name != "fig8" and panel.axison:
            assert panel.get_xlabel() or panel.get_subplotspec().get_gridspec().nrows > 1
    text = " ".join(each.get_text() for each in drawing.findobj(mpl.text.Text))
    assert "nan" not in text


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_whose_runs_are_there_is_only_drawn_again(
    name: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "ProcessPoolExecutor", None)
    execute([name, f"runs_dir={made / 'runs'}", f"output_dir={tmp_path}", *OVERRIDES[name]])
    for suffix in (".csv", "_claims.csv"):
        assert (tmp_path / f"{name}{suffix}").read_bytes() == (
            made / "output" / f"{name}{suffix}"
        ).read_bytes()
    (words, numbers), (first_words, first_numbers) = (
        read_pdf(folder / f"{name}.pdf") for folder in (tmp_path, made / "output")
    )
    assert words == first_words
    # points of 1/72 inch: the solver of the layout adds in an order of its own each time
    np.testing.assert_allclose(numbers, first_numbers, rtol=0, atol=1e-6)


def read_pdf(path: Path) -> tuple[list[bytes], list[float]]:
    """What is drawn: everything between the decimal numbers of all streams, and these numbers."""
    content = b"\n".join(
        zlib.decompress(stream) if stream.startswith(b"\x78") else stream
        for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", path.read_bytes(), re.DOTALL)
    )
    number = rb"-?\d+\.\d+"
    return re.split(number, content), [float(each) for each in re.findall(number, content)]


@pytest.mark.usefixtures("warm_workers")
def test_a_run_that_was_cut_off_is_continued_alone(made: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(made / "runs", runs)
    record = next(
        path
        for path in sorted(runs.rglob("run.json"))
        if json.loads(path.read_text())["config"]["training"]["optimizer"] == "shampoo"
    )
    run_dir, others = (
        record.parent,
        {
            path: path.stat().st_mtime_ns
            for path in runs.rglob("measurements.csv")
            if path.parent != record.parent
        },
    )
    before = table_bytes(run_dir)
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"status": "running"}))
    last = max(
        run_dir.glob("checkpoints/step_*.pt"), key=lambda path: int(path.stem.removeprefix("step_"))
    )
    last.unlink()
    execute(["fig4", f"runs_dir={runs}", f"output_dir={tmp_path}", *OVERRIDES["fig4"]])
    assert table_bytes(run_dir) == before
    assert json.loads(record.read_text())["status"] == "complete"
    assert {path: path.stat().st_mtime_ns for path in others} == others


def test_failed_runs_are_named_and_the_others_made(tmp_path: Path) -> None:
    overrides = [
        *OVERRIDES["fig4b"],
        "training.learning_rate=1e6",
        f"runs_dir={tmp_path / 'runs'}",
        f"output_dir={tmp_path}",
    ]
    with pytest.raises(
        FailedRunError, match=r"3 of 3 runs failed: .*gain1, seed 0.*diverged.*planted"
    ):
        execute(["4b", *overrides])
    assert not list(tmp_path.glob("fig4b*"))


def test_several_values_of_a_key_that_is_no_axis_are_refused() -> None:
    with pytest.raises(UserError, match=r"model\.gain: the figure takes one value; several: seed"):
        execute(["4b", "model.gain=1,2"])


@pytest.mark.parametrize("profile", ["quick", "paper"])
def test_figures_share_runs(profile: str) -> None:
    """Of one network in several figures there is one folder."""
    paths = {}
    for name, spec in read_figure_specs().items():
        # a row of the planes of figures 5 and 5b, which share all their runs
        one = ["model.gain=1"] if spec.axes[:1] == ["task.case"] else []
        runs = compose_runs(spec, profile, one, Path("runs"))
        paths[name] = {run.path for run in runs}
        assert len(paths[name]) == len(runs)
    assert paths["fig3"] < paths["fig4"]
    assert paths["fig1"] == paths["fig7"] < paths["fig2"]
    assert paths["fig5"] == paths["fig5b"]


def _same_folders_unchecked(names: list[str], profile: str) -> bool:
    """As many runs, in the folders that checked values name."""
    specs = read_figure_specs()
    return all(
        [run.path for run in compose_runs(specs[name], profile, [], Path("runs"), checked=False)]
        == [run.path for run in compose_runs(specs[name], profile, [], Path("runs"))]
        for name in names
    )


def test_a_list_of_figures_looks_for_the_runs_that_are_made() -> None:
    names = list(read_figure_specs())
    assert _same_folders_unchecked(names, "quick")
    assert _same_folders_unchecked([name for name in names if name[:4] != "fig5"], "paper")


@pytest.mark.slow
def test_a_list_of_the_planes_looks_for_the_runs_that_are_made() -> None:
    assert _same_folders_unchecked(["fig5", "fig5b"], "paper")
    assert _same_folders_unchecked(["fig5"], "plane")


def test_paper_profile_is_the_size_of_the_paper() -> None:
    for name in ("fig3", "fig4", "fig4b"):
        runs = compose_runs(read_figure_specs()[name], "paper", [], Path("runs"))
        assert {run.seed for run in runs} == {0, 1, 2}
        for run in runs:
            assert (
                run.config.model.units,
                run.config.training.steps,
                run.config.training.batch_size,
            ) == (256, 5000, 64)


@pytest.mark.slow
def test_plane_profile_is_the_papers_but_for_the_trainings() -> None:
    spec = read_figure_specs()["fig5"]
    full, short = (
        {run.path: run for run in compose_runs(spec, profile, [], Path("runs"))}
        for profile in ("paper", "plane")
    )
    plane = [run for run in short.values() if run.name == "plane"]
    assert len(plane) == 50 * 16 * 3 * 3
    assert {run.path for run in plane} == {run.path for run in full.values() if run.name == "plane"}
    assert {
        run.values["training"]["steps"] for run in full.values() if run.name.startswith("training")
    } == {100_000}
    assert {run.values["analysis"]["tolerance"] for run in full.values()} == {0.1}


def test_a_figure_estimates_its_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    execute(["2", "--estimate", f"runs_dir={tmp_path}", *OVERRIDES["fig2"]])
    assert re.fullmatch(
        r"fig2, profile quick: 2 runs to make, \d+ at a time: about \d+ s on this machine\n",
        capsys.readouterr().out,
    )
    assert not list(tmp_path.iterdir())


def test_every_figure_has_both_profiles_and_a_cost() -> None:
    specs = read_figure_specs()
    assert set(specs) == set(NAMES)
    for name, spec in specs.items():
        assert {"quick", "paper"} <= set(spec.profiles)
        assert all(profile.minutes > 0 for profile in spec.profiles.values())
        assert spec.shows
        assert {"data", "draw", "claims"} <= set(dir(module(name)))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["44"],
            (
                r"no figure '44' \(did you mean '4'\?\); there are 1, 2, 3, 4, 4b, 5, 5b, 6, 7, "
                r"8, 9, 10"
            ),
        ),
        (["4", "profile=plane"], r"profile=plane: unknown.*; valid: paper, quick"),
        (["4", "5", "profile=plane"], r"fig4 has no profile=plane; valid: quick, paper"),
        (["4", "profile=huge"], r"profile=huge: unknown; valid: paper, quick"),
        ([], r"which figure\? 1, 2, 3, 4, 4b, 5, 5b, 6, 7, 8, 9, 10"),
        (["--lst"], r"no figure '--lst'"),
        (["4", "model.unitz=3"], r"no key 'model.unitz' \(did you mean 'units'\?\)"),
        (["4", "model=gruu"], r"no model 'gruu' \(did you mean 'gru'\?\)"),
    ],
)
def test_mistakes_are_explained(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        execute(words)


def test_arguments() -> None:
    specs = read_figure_specs()
    assert read_arguments(["4"], specs).names == ["fig4", "fig4b"]
    assert read_arguments(["4b", "fig4b"], specs).names == ["fig4b"]
    read = read_arguments(
        ["1", "profile=paper", "output_dir=here", "runs_dir=there", "seed=3"], specs
    )
    assert (read.profile, read.output_dir, read.runs_dir, read.overrides) == (
        "paper",
        Path("here"),
        Path("there"),
        ["seed=3"],
    )


def test_list_tells_what_is_there(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    execute(["--list", "1", f"runs_dir={made / 'runs'}", *OVERRIDES["fig1"]])
    execute(["--list", "1", f"runs_dir={made}", *OVERRIDES["fig1"]])
    assert re.findall(r"(\d) of 1 runs there", capsys.readouterr().out) == ["1", "0"]


@pytest.mark.parametrize(("size", "count"), [(256, 2), (24, 2), (5, 3), (12, 1)])
def test_units_named_in_figure_2_are_those_recorded(size: int, count: int) -> None:
    assert module("fig2").choose_units(size, count) == choose_indices(size, count)


def test_figure_7_says_its_step_and_does_without_where_it_is_not_kept(made: Path) -> None:
    data = data_of("fig7", made)
    titles = [
        module("fig7").draw(rows).get_suptitle() for rows in (data, data[data["panel"] != "step"])
    ]
    assert titles == [
        "NTK$_S$ of the trained GRU at step 30, reduced to one axis",
        "NTK$_S$ of the trained GRU, reduced to one axis",
    ]


def test_figure_8_draws_few_of_the_trajectories_that_wander(made: Path) -> None:
    panels = module("fig8").draw(data_of("fig8", made)).axes
    # gains 0.9 to 2 in rows, 0 points first: eight starts
    for row, drawn in enumerate((8, 8, 8, 3, 3, 3)):
        lines = panels[4 * row].lines
        assert sum(len(line.get_data_3d()[0]) > 1 for line in lines) == drawn
        assert sum(line.get_color() == "black" for line in lines) == 8


def setting(value: float, **where: str) -> Change:
    """A change of all rows with these labels, a panel or series that ends in ``*`` standing for all
    that begin alike.
    """

    def change(data: pd.DataFrame) -> pd.DataFrame:
        chosen = pd.Series(True, index=data.index)
        for column, label in where.items():
            chosen &= (
                data[column].str.startswith(label[:-1])
                if label.endswith("*")
                else data[column] == label
            )
        assert chosen.any(), where
        return data.assign(value=data["value"].mask(chosen, value))

    return change


def both(*changes: Change) -> Change:
    def change(data: pd.DataFrame) -> pd.DataFrame:
        for each in changes:
            data = each(data)
        return data

    return change


def linear_difference(data: pd.DataFrame) -> pd.DataFrame:
    """What remains of a step falls with the rate only."""
    chosen = data["series"] == "difference"
    return data.assign(value=data["value"].mask(chosen, 1e-9 * data["x"]))


def slow_cumulative(panel: str, run: str) -> Change:
    """Every mode adds the same little."""

    def change(data: pd.DataFrame) -> pd.DataFrame:
        chosen = (data["panel"] == panel) & (data["series"] == run)
        wide = (
            data[chosen]
            .iloc[:1]
            .loc[lambda rows: rows.index.repeat(100)]
            .assign(x=range(1, 101), value=[step / 100 for step in range(1, 101)])
        )
        return pd.concat([data[~chosen], wide], ignore_index=True)

    return change


def at_chance(run: str) -> Change:
    def change(data: pd.DataFrame) -> pd.DataFrame:
        aligned, chance = (
            (data["panel"] == panel) & (data["series"] == run)
            for panel in ("alignment", "random_core_alignment")
        )
        values = data["value"].copy()
        values[aligned] = data.loc[chance, "value"].to_numpy()
        return data.assign(value=values)

    return change


def over_plane(
    panel: str, series: str, value: Callable[[pd.Series, pd.Series], pd.Series]
) -> Change:
    """A plane made of gain and input rank, without errors."""

    def change(data: pd.DataFrame) -> pd.DataFrame:
        chosen = (data["panel"] == panel) & (data["series"] == series)
        assert chosen.any()
        made = value(data.loc[chosen, "x"], data.loc[chosen, "y"])
        return data.assign(
            value=data["value"].mask(chosen, made), stderr=data["stderr"].mask(chosen, 0.0)
        )

    return change


def as_dimension(panel: str, run: str) -> Change:
    """Ranks that are their inputs' dimension, with nothing that saturates."""

    def change(data: pd.DataFrame) -> pd.DataFrame:
        chosen = (data["panel"] == panel) & data["series"].str.startswith(run)
        assert chosen.any()
        return data.assign(
            value=data["value"].mask(chosen, data["x"]), stderr=data["stderr"].mask(chosen, 0.0)
        )

    return change


def overlap_slows(series: str) -> Change:
    """What overlaps more learns less."""

    def change(data: pd.DataFrame) -> pd.DataFrame:
        overlaps, drops = (
            (data["panel"] == panel) & (data["series"] == series)
            for panel in ("trained_overlap", "drop")
        )
        values = data["value"].copy()
        values[overlaps], values[drops] = range(1, overlaps.sum() + 1), range(drops.sum(), 0, -1)
        values[(data["panel"] == "rise") & (data["series"] == series)] = 1.0
        return data.assign(value=values)

    return change


def narrowest_is_best(width: pd.Series, _: pd.Series) -> pd.Series:
    return 1 / width


CASES = ("W", "Win", "W, normalized inputs", "Win, normalized inputs")
N1, N2 = "network 1: gain 1", "network 2: five planted points"
RNN, GRU = "continuous-time RNN", "GRU"
PLANTED = "gain 1, planted points"
LEARNS = both(
    *(setting(0.9, panel=f"learned_fraction_{mode}", series="network2") for mode in (1, 2, 3))
)
COUNTER_EXAMPLES: list[tuple[str, str, Change]] = [
    ("fig1", "log-log slope", linear_difference),
    ("fig1", "at the smallest eta", setting(1.0, panel="steps")),
    ("fig1", "noisy step at step 0,", setting(0.9, panel="ratio_first", series="noisy_difference")),
    ("fig1", "noisy step at step 30,", setting(0.9, panel="ratio_last", series="noisy_difference")),
    *(
        ("fig2", f"{label}: relative error", setting(1e-9, series=f"{run}_relative_error"))
        for run, label in (("rnn", RNN), ("gru", GRU))
    ),
    *(
        ("fig2", f"{label}: rank of K over", setting(1e9, series=f"{run}_rank_k"))
        for run, label in (("rnn", RNN), ("gru", GRU))
    ),
    *(
        (
            "fig2",
            f"{label}: effective rank of NTK_S over",
            setting(1e9, series=f"{run}_effective_rank_ntk"),
        )
        for run, label in (("rnn", RNN), ("gru", GRU))
    ),
    *(
        case
        for run, label in (("network1", N1), ("network2", N2))
        for case in (
            (
                "fig3",
                f"{label}: least cosine of NTK_S with its core along training$",
                at_chance(run),
            ),
            (
                "fig3",
                f"{label}: least cosine of NTK_S with its core along training, over",
                at_chance(run),
            ),
            ("fig3", f"{label}: temporal modes of V ", slow_cumulative("cumulative_v", run)),
            (
                "fig3",
                f"{label}: temporal modes of NTK_S, counted by lambda,",
                slow_cumulative("cumulative_ntk", run),
            ),
            (
                "fig3",
                rf"{label}: temporal modes of NTK_S, counted by lambda\^2,",
                slow_cumulative("cumulative_ntk_squared", run),
            ),
            (
                "fig3",
                f"{label}: share of the temporal modes of P",
                setting(1.0, panel="cumulative_p", series=run),
            ),
            (
                "fig3",
                f"{label}: largest temporal effective rank of NTK_S along training, mean",
                setting(99.0, panel="temporal_mean", series=run),
            ),
            (
                "fig3",
                f"{label}: largest temporal effective rank of NTK_S along training, trace",
                setting(99.0, panel="temporal_trace", series=run),
            ),
        )
    ),
    (
        "fig4",
        "network 2: least learned fraction",
        setting(0.1, panel="learned_fraction_2", series="network2"),
    ),
    (
        "fig4",
        "network 1: largest fraction of modes 2 and 3 when",
        both(LEARNS, setting(0.5, panel="learned_fraction_3", series="network1")),
    ),
    (
        "fig4",
        "network 1: largest fraction of modes 2 and 3 at any",
        setting(0.5, panel="learned_fraction_2", series="network1"),
    ),
    (
        "fig4",
        "network 1: largest overlap",
        setting(0.1, panel="target_overlap_*", series="network1"),
    ),
    ("fig4", "network 1, Shampoo", setting(0.0, panel="learned_fraction_3", series="second_order")),
    ("fig4", "network 1: end states", setting(2.0, panel="end_states", series="network1")),
    ("fig4", "network 2: fewest end states", setting(1.0, panel="end_states", series="network2")),
    ("fig4b", "gain 1: largest fraction", setting(0.5, panel="learned_fraction_2", series="gain1")),
    (
        "fig4b",
        "torch's default: largest fraction",
        setting(0.5, panel="learned_fraction_2", series="torch_default"),
    ),
    (
        "fig4b",
        f"{PLANTED}: least learned fraction",
        setting(0.5, panel="learned_fraction_2", series="planted"),
    ),
    ("fig4b", f"{PLANTED}: fewest end states", setting(1.0, panel="end_states", series="planted")),
    *(
        case
        for name in ("fig5", "fig5b")
        for series in CASES
        for case in (
            (
                name,
                f"^{series}: median over gains",
                over_plane("temporal_rank", series, lambda gain, rank: 1 / rank + 0 * gain),
            ),
            (
                name,
                f"^{series}: least over gains",
                over_plane("temporal_rank", series, lambda gain, rank: 1 / rank + 0 * gain),
            ),
            (
                name,
                f"^{series}: share .* that input rank",
                over_plane("temporal_rank", series, lambda gain, rank: gain + 0 * rank),
            ),
            (
                name,
                f"^{series}: share .* that gain",
                over_plane("spatial_rank", series, lambda gain, rank: rank + 0 * gain),
            ),
        )
    ),
    *(
        ("fig5", f"^{series}: rank correlation.* {over}", overlap_slows(series))
        for series in CASES
        for over in ("gains$", "ranks$")
    ),
    *(
        ("fig5", f"^{series}: networks of 12", setting(2.0, panel="rise", series=series))
        for series in CASES
    ),
    *(
        ("fig7", f"kept on {axis}s over", setting(1.0, panel="trace", series=f"trace_{axis}"))
        for axis in ("trial", "time", "unit")
    ),
    *(
        case
        for reduction in ("mean", "trace")
        for case in (
            (
                "fig6",
                f"^{reduction} reduction: largest factor",
                setting(1e4, panel=f"temporal_{reduction}", series="dimension*"),
            ),
            (
                "fig6",
                f"^{reduction} reduction: largest log-log slope",
                as_dimension(f"temporal_{reduction}", "dimension"),
            ),
            *(
                (
                    "fig6",
                    f"^{reduction} reduction, {state}: {claim}",
                    setting(1e4, panel=f"temporal_{reduction}", series=f"{run}*"),
                )
                for run, state in (("dimension", "site outputs"), ("site_inputs", "site inputs"))
                for claim in (
                    "largest temporal rank over n_in",
                    "share of points",
                    r"largest temporal rank over \(1",
                )
            ),
            (
                "fig6",
                f"^{reduction} reduction: largest ratio",
                setting(7.0, panel=f"temporal_{reduction}", series="fourier*"),
            ),
            (
                "fig9",
                f"^temporal rank, {reduction} .*: median",
                over_plane(f"temporal_{reduction}", "plane", lambda _, n_in: 1 / n_in),
            ),
            (
                "fig9",
                f"^temporal rank, {reduction} .*: share",
                over_plane(f"temporal_{reduction}", "plane", lambda width, _: width),
            ),
            *(
                (
                    "fig9",
                    f"^spatial rank, {reduction} .* of {claim}",
                    over_plane(f"spatial_{reduction}", "plane", lambda width, _: 1 / width),
                )
                for claim in ("the rank", "its growth")
            ),
            (
                "fig10",
                f"^{reduction} .* different numbers",
                setting(99.0, panel=f"temporal_{reduction}", series="3 trials, 8 heads"),
            ),
            ("fig10", f"^{reduction} .* the input's", setting(1e4, panel=f"temporal_{reduction}")),
        )
    ),
    *(
        ("fig9", f"^overall rank: .* of {claim}", over_plane("overall", "plane", narrowest_is_best))
        for claim in ("the rank", "its growth")
    ),
    ("fig7", "relative spread", setting(1.0, panel="trace", series="trace_unit")),
    ("fig8", "largest relative residual", setting(1e-3, panel="residuals")),
    (
        "fig8",
        "end states at g = 0.9 without",
        setting(2.0, panel="end_states", series="g=0.9, 0 points"),
    ),
    ("fig8", "fewest end states", setting(1.0, panel="end_states", series="g=0.9, 2 points")),
    (
        "fig8",
        "smallest share of trajectories at rest",
        setting(0.5, panel="at_rest", series="g=0.9, 1 points"),
    ),
]


@pytest.mark.parametrize(
    ("name", "claim", "change"),
    COUNTER_EXAMPLES,
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_claim_fails_on_a_counter_example(
    name: str, claim: str, change: Change, made: Path
) -> None:
    found = [
        each
        for each in module(name).claims(change(data_of(name, made)))
        if re.search(claim, each.claim)
    ]
    assert [each.verdict for each in found] == ["fails"]


@pytest.mark.parametrize("name", NAMES)
def test_every_claim_has_a_counter_example(name: str, made: Path) -> None:
    patterns = [claim for figure_name, claim, _ in COUNTER_EXAMPLES if figure_name == name]
    for claim in module(name).claims(data_of(name, made)):
        assert sum(bool(re.search(pattern, claim.claim)) for pattern in patterns) == 1, claim.claim


@pytest.mark.parametrize("name", NAMES)
def test_what_was_not_measured_is_undecided(name: str, made: Path) -> None:
    data = data_of(name, made)
    verdicts = {claim.verdict for claim in module(name).claims(data.assign(value=float("nan")))}
    assert "holds" not in verdicts


@pytest.mark.parametrize(
    ("name", "axis", "unknown"),
    [
        ("fig6", "x", {"slope": 2, "ratio": 2}),
        ("fig9", "x", {"rank correlation with width": 3, "its growth": 3}),
        ("fig9", "y", {"rank correlation with input dimension": 2, "share of the variance": 2}),
        ("fig10", "x", {}),
    ],
)
def test_one_place_on_an_axis_is_drawn_and_tells_of_no_growth(
    name: str, axis: str, unknown: dict[str, int], made: Path
) -> None:
    data = data_of(name, made)
    grid = data[~data["panel"].isin(["attention_map", "modes", "networks"])]
    first = grid.groupby(["panel", "series"])[axis].transform("min")
    one = data.drop(grid.index[grid[axis] != first])
    module(name).draw(one).savefig(io.BytesIO(), format="png")
    claims = module(name).claims(one)
    for words, count in unknown.items():
        assert [claim.verdict for claim in claims if words in claim.claim] == [
            "undecided"
        ] * count, words


def test_identities_hold_for_any_network(made: Path) -> None:
    """What the theory proves does not depend on size or training."""
    identities = {"fig1": 2, "fig2": 4, "fig7": 1, "fig8": 1}
    for name, count in identities.items():
        claims = pd.read_csv(made / "output" / f"{name}_claims.csv")
        # traces are estimated: their error decides
        assert (
            claims["verdict"][~claims["claim"].str.contains("over tr")] == "identity"
        ).sum() == count


def test_a_table_that_leaves_modes_out_gives_a_bracket(made: Path) -> None:
    data = data_of("fig3", made)
    claim = "network 1: gain 1: share of the temporal modes of P"
    exact = next(each for each in module("fig3").claims(data) if each.claim.startswith(claim)).found
    assert exact.standard_error == 0
    rows = data[(data["panel"] == "cumulative_p") & (data["series"] == "network1")]
    there = rows["x"].max()
    # every mode but the one that is read off
    sparse = data.drop(rows.index[(rows["x"] - exact.value * there).abs() < 0.5])
    found = next(
        each for each in module("fig3").claims(sparse) if each.claim.startswith(claim)
    ).found
    assert found.value - found.standard_error <= exact.value <= found.value + found.standard_error
    assert found.standard_error * there == pytest.approx(0.5)
