"""What records write, against automatic differentiation and dense matrices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from oracles import DenseOracle, build_model, normal, seeded
from small_runs import small_config
from torch import Tensor

from kpflow_cli.errors import UserError
from kpflow_cli.losses import LOSSES
from kpflow_cli.measures.records import RECORDS, reductions
from kpflow_cli.measures.records.core_matrices import parameter_operator_by_autograd
from kpflow_cli.measures.records.error_propagation import immediate_error
from kpflow_cli.measures.records.scene import Scene, choose_indices
from kpflow_cli.measures.records.temporal import temporal_propagator_singular_values
from kpflow_cli.measures.records.zero_input import SAME_END, end_states, principal_components
from kpflow_cli.models.base import RecurrentModel
from kpflow_cli.ntk import GlobalNTK, global_ntk
from kpflow_cli.operators import mean_over
from kpflow_cli.run.plan import Plan

MSE = LOSSES["mse"]
MODELS = ("gru", "rnn", "vanilla_rnn")


def scene_of(model: str, *overrides: str) -> Scene:
    plan = Plan(small_config(f"model={model}", "dtype=float64", *overrides))
    trajectory = plan.model.linearize(plan.evaluation.batch.inputs)
    ntk = global_ntk(trajectory)  # type: ignore[arg-type]
    return Scene(plan.model, plan.evaluation, plan.trainer().batch, trajectory, ntk, seeded(1))


def oracle_of(scene: Scene) -> DenseOracle:
    assert isinstance(scene.model, RecurrentModel)
    return DenseOracle(scene.model, scene.evaluation.batch.inputs)


def recorded(name: str, scene: Scene) -> dict[str, pd.DataFrame]:
    return {table: pd.DataFrame(rows) for table, rows in RECORDS[name].rows(scene).items()}


def matrix(table: pd.DataFrame, **chosen: str) -> np.ndarray:
    for column, value in chosen.items():
        table = table[table[column] == value]
    return table.pivot_table(index="row", columns="column", values="value").to_numpy()


@pytest.mark.parametrize("name", [name for name in RECORDS if name != "attention_map"])
@pytest.mark.parametrize("model", MODELS)
def test_every_record_fills_the_tables_it_names(name: str, model: str) -> None:
    tables = recorded(name, scene_of(model, "model.fixed_points=2"))
    assert set(tables) == set(RECORDS[name].tables)
    for table in tables.values():
        assert len(table) > 1
        assert np.isfinite(
            table.select_dtypes("number").drop(columns="end_state", errors="ignore").to_numpy()
        ).all()


@pytest.mark.parametrize("model", MODELS)
def test_fields_are_those_of_the_dense_operators(model: str) -> None:
    scene = scene_of(model)
    tables, oracle = recorded("error_propagation", scene), oracle_of(scene)
    error = immediate_error(scene.model, scene.evaluation.batch, MSE)[0]
    expected = {"error": error.flatten(), "adjoint": oracle.propagator.T @ error.flatten()}
    expected["driven"] = oracle.parameter_operator @ expected["adjoint"]
    expected["change"] = -oracle.ntk @ error.flatten()
    fields = tables["fields"]
    for name, vector in expected.items():
        found = (
            fields[fields["field"] == name]
            .pivot_table(index="time", columns="unit", values="value")
            .to_numpy()
        )
        np.testing.assert_allclose(
            found, vector.reshape(error.shape)[0].numpy(), rtol=1e-9, atol=1e-14
        )


@pytest.mark.parametrize("model", MODELS)
def test_difference_from_the_linear_prediction_falls_as_the_rate_squared(model: str) -> None:
    steps = recorded("error_propagation", scene_of(model))["gradient_steps"]
    assert np.log10(steps["rate"].iloc[-1] / steps["rate"].iloc[0]) == pytest.approx(4)
    slope = np.polyfit(np.log(steps["rate"]), np.log(steps["difference"]), 1)[0]
    assert slope == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize("model", MODELS)
def test_the_noisy_step_is_the_one_that_training_takes(model: str) -> None:
    """0.01 is one of the rates: the trainer itself makes the step."""
    overrides = ("training.learning_rate=0.01", "training.optimizer=sgd")
    scene, plan = (
        scene_of(model, *overrides),
        Plan(small_config(f"model={model}", "dtype=float64", *overrides)),
    )
    steps = recorded("error_propagation", scene)["gradient_steps"].set_index("rate")
    rate = steps.index[np.isclose(steps.index, 0.01)][0]
    before = plan.model(scene.evaluation.batch.inputs)[1]
    predicted = (
        -0.01
        * oracle_of(scene).ntk
        @ immediate_error(scene.model, scene.evaluation.batch, MSE)[0].flatten()
    )
    for _ in plan.trainer().losses(1):
        pass
    change = (plan.model(scene.evaluation.batch.inputs)[1] - before).detach().flatten()
    assert steps["noisy_change"][rate] == pytest.approx(change.norm().item(), rel=1e-9)
    assert steps["noisy_difference"][rate] == pytest.approx(
        (change - predicted).norm().item(), rel=1e-9
    )


def test_immediate_error_stops_at_the_state_of_the_same_time() -> None:
    scene = scene_of("rnn")
    batch = scene.evaluation.batch
    outputs = scene.model(batch.inputs)[0]
    readout = scene.model.get_submodule("readout").weight
    expected = 2 * (outputs - batch.targets) / outputs.numel() @ readout
    torch.testing.assert_close(immediate_error(scene.model, batch, MSE)[0], expected)


@pytest.mark.parametrize("model", MODELS)
def test_parameter_operator_by_autograd_is_the_dense_one(model: str) -> None:
    scene = scene_of(model)
    assert isinstance(scene.model, RecurrentModel)
    vector = normal(*scene.ntk.in_shape)
    found = parameter_operator_by_autograd(scene.model, scene.evaluation.batch.inputs, vector)
    torch.testing.assert_close(
        found.flatten(), oracle_of(scene).parameter_operator @ vector.flatten()
    )


@pytest.mark.parametrize("model", MODELS)
def test_ranks_of_the_core(model: str) -> None:
    scene = scene_of(model, "model.units=3")
    tables, oracle = recorded("core_matrices", scene), oracle_of(scene)
    summary = tables["core_summary"].set_index("quantity")["value"]
    assert summary["relative_error"] < 1e-12
    assert summary["rank_k"] == torch.linalg.matrix_rank(oracle.parameter_operator)
    inputs, units = scene.evaluation.batch.inputs, 3
    previous = oracle.previous.tanh() if model == "rnn" else oracle.previous
    ones = torch.ones_like(inputs[..., :1])

    def rank(*columns: Tensor) -> int:
        return int(torch.linalg.matrix_rank(torch.cat(columns, dim=-1).flatten(0, 1)))

    bounds = {
        "rnn": units * rank(previous, inputs),
        "vanilla_rnn": units * rank(previous, inputs, ones, ones),
        "gru": 3 * units * (rank(previous, ones) + rank(inputs, ones)),
    }
    assert summary["rank_bound"] == scene.ntk.rank_bound() == bounds[model]
    assert summary["rank_k"] <= summary["rank_bound"]


def test_core_matrices_are_blocks_of_the_whole() -> None:
    scene = scene_of("gru")
    table, oracle = recorded("core_matrices", scene)["core_matrices"], oracle_of(scene)
    trials, steps, units = scene.ntk.in_shape
    places = [trial * steps + time for trial in choose_indices(trials, 3) for time in range(steps)]
    chosen = [place * units + unit for unit in choose_indices(units, 2) for place in places]
    np.testing.assert_allclose(
        matrix(table, matrix="k"), oracle.parameter_operator[chosen][:, chosen].numpy(), atol=1e-13
    )
    variables = scene.ntk.core.site_variables[places]  # type: ignore[union-attr]
    np.testing.assert_allclose(
        matrix(table, matrix="gram"), (variables @ variables.T).numpy(), atol=1e-13
    )


@pytest.mark.parametrize("model", MODELS)
def test_reduced_matrices_are_those_of_the_dense_operator(model: str) -> None:
    scene = scene_of(model)
    tables = recorded("reductions", scene)
    trials, steps, units = scene.ntk.in_shape
    whole = oracle_of(scene).ntk.reshape(trials, steps, units, trials, steps, units)
    expected = {
        ("trace", "trial"): torch.einsum("atubtu->ab", whole),
        ("trace", "time"): torch.einsum("atuasu->ts", whole),
        ("trace", "unit"): torch.einsum("atuatv->uv", whole),
        ("mean", "trial"): whole.sum((1, 2, 4, 5)) / (steps * units),
        ("mean", "time"): whole.sum((0, 2, 3, 5)) / (trials * units),
        ("mean", "unit"): whole.sum((0, 1, 3, 4)) / (trials * steps),
    }
    traces = tables["reduction_traces"].set_index(["reduction", "kept"])["trace"]
    for (reduction, kept), dense in expected.items():
        np.testing.assert_allclose(
            matrix(tables["reductions"], reduction=reduction, kept=kept),
            dense.detach().numpy(),
            rtol=1e-9,
        )
        assert traces[reduction, kept] == pytest.approx(dense.trace().item(), rel=1e-9)


def test_large_reductions_are_estimated_without_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scene_of("gru")
    exact = recorded("reductions", scene)
    monkeypatch.setattr(reductions, "_MOST_COLUMNS", 0)
    for name, value in (("_PROBES", 20), ("_DEFLATED", 4)):
        monkeypatch.setattr(reductions, name, value)
    draws = [recorded("reductions", replace(scene, generator=seeded(seed))) for seed in range(40)]
    for kept in ("trial", "time", "unit"):
        chosen = {"reduction": "trace", "kept": kept}
        expected = matrix(exact["reductions"], **chosen)
        found = np.stack([matrix(draw["reductions"], **chosen) for draw in draws])
        # of up to 64 entries, one beyond 5 standard errors comes up less than once in a thousand
        # times
        assert (
            np.abs(found.mean(0) - expected) <= 5 * found.std(0, ddof=1) / 40**0.5 + 1e-12
        ).all()
        for draw in draws:
            row = draw["reduction_traces"].query("reduction == 'trace' and kept == @kept").iloc[0]
            assert row["trace"] == pytest.approx(expected.trace(), abs=5 * row["stderr"])
    monkeypatch.setattr(reductions, "_PROBES", 10**6)
    whole = recorded("reductions", scene)
    np.testing.assert_allclose(
        whole["reductions"]["value"], exact["reductions"]["value"].to_numpy(), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("model", MODELS)
def test_temporal_spectra_are_those_of_the_dense_operators(model: str) -> None:
    scene = scene_of(model)
    assert isinstance(scene.ntk, GlobalNTK)
    trials, steps, units = scene.ntk.in_shape
    dense = (
        oracle_of(scene)
        .propagator.reshape(trials * steps, units, trials * steps, units)
        .sum((1, 3))
        / units
    )
    torch.testing.assert_close(
        temporal_propagator_singular_values(scene.ntk.propagator), torch.linalg.svdvals(dense)
    )
    table = recorded("temporal_spectra", scene)["temporal_spectra"]
    eigenvalues = torch.linalg.eigvalsh(mean_over(scene.ntk, "unit").dense()).flip(0)
    exact = {
        "ntk": eigenvalues,
        "ntk_squared": eigenvalues.square(),
        "p": torch.linalg.svdvals(dense).square(),
        "v": scene.ntk.core.singular_values().square(),
    }
    assert set(table["operator"]) == set(exact)
    for operator, variances in exact.items():
        rows = table[table["operator"] == operator]
        shares = (variances.cumsum(0) / variances.sum())[rows["modes"].to_numpy() - 1]
        np.testing.assert_allclose(rows["cumulative"], shares.numpy(), rtol=1e-8)


@pytest.mark.parametrize("share", [0.9, 0.95, 0.99])
def test_modes_that_make_up_a_share_can_be_read_off_exactly(share: float) -> None:
    scene = scene_of("rnn", "task.evaluation_trials=40", "model.units=3")
    assert isinstance(scene.ntk, GlobalNTK)
    variances = temporal_propagator_singular_values(scene.ntk.propagator).square()
    needed = next(
        count
        for count in range(1, len(variances))
        if variances[:count].sum() >= share * variances.sum()
    )
    table = recorded("temporal_spectra", scene)["temporal_spectra"]
    modes = table["modes"][table["operator"] == "p"]
    assert needed > 80
    assert len(modes) < len(variances)
    assert {needed - 1, needed} <= set(modes)
    assert (
        table["modes"][(table["operator"] == "p") & (table["cumulative"] >= share)].min() == needed
    )


def test_end_states_are_told_apart_by_distance_and_motion() -> None:
    at_rest = torch.zeros(5, 3, 4)
    at_rest[1] = 0.9 * SAME_END
    at_rest[2] = 1.0
    at_rest[3, -1] = SAME_END
    at_rest[4] = 1.0 - 0.5 * SAME_END
    assert end_states(at_rest) == [1, 1, 2, None, 2]


def test_zero_input_starts_near_every_planted_point() -> None:
    tables = recorded(
        "zero_input", scene_of("rnn", "model.units=30", "model.fixed_points=2", "model.gain=0.9")
    )
    ends = tables["end_states"]
    assert ends["near"].tolist() == [0] * 8 + [1, 1, 2, 2]
    assert (tables["fixed_points"]["residual"] < 1e-5).all()
    assert tables["trajectories"].groupby("start")["time"].max().eq(600).all()


def test_principal_components_keep_the_most_variance() -> None:
    states = normal(4, 50, 6) * torch.tensor([9.0, 1, 5, 1, 3, 1]) + 2
    centre, axes = principal_components(states)
    torch.testing.assert_close(centre, states.mean((0, 1)))
    assert axes.abs().argmax(0).tolist() == [0, 2, 4]
    assert principal_components(normal(2, 5, 1))[1].shape == (1, 3)


def test_records_of_recurrent_models_are_refused_for_others() -> None:
    with pytest.raises(UserError, match=r"analysis.records=zero_input: only of a recurrent model"):
        Plan(small_config("model=mlp", "analysis.records=[zero_input]"))


def test_shown_indices_start_at_zero_and_are_evenly_spaced() -> None:
    assert choose_indices(10, 5) == [0, 2, 4, 6, 8]
    assert choose_indices(3, 5) == [0, 1, 2]


def test_models_differ_in_what_they_bound() -> None:
    inputs = normal(3, 4, 3)
    assert build_model("gru_without_bias").linearize(inputs).rank_bound() == 3 * 5 * (5 + 3)
    assert build_model("vanilla_rnn_without_bias").linearize(inputs).rank_bound() == 5 * 8
