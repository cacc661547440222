"""What a checkpoint measures: exact with a full set of probes (against dense oracles), within its
errors with few.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from small_runs import small_config

from kpflow_cli.config.schema import Analysis
from kpflow_cli.errors import FailedRunError
from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.measures.checkpoint import measure
from kpflow_cli.measures.records.temporal import temporal_modes
from kpflow_cli.measures.rows import Measurement
from kpflow_cli.ntk import global_ntk
from kpflow_cli.operators import mean_over
from kpflow_cli.run.plan import Plan
from kpflow_cli.verification.comparisons import Comparison, comparisons
from kpflow_cli.verification.verify import verify

SHAPES = {
    "usual": (),
    "one trial": ("task.evaluation_trials=1",),
    "two steps": (
        "task.stimulus_steps=1",
        "task.memory_steps=0",
        "task.response_steps=1",
        "model.units=3",
    ),
    "one unit": ("model.units=1",),
    "a single time": ("task=attention", "task.time_steps=1", "model.units=3"),
}


def rows_of(plan: Plan, analysis: Analysis, seed: int) -> tuple[Measurement, ...]:
    trajectory, precise = plan.trajectories()
    assert precise is not None
    generator = torch.Generator().manual_seed(seed)
    precise_ntk = global_ntk(precise, compressed=False)
    return measure(
        global_ntk(trajectory),
        plan.target_directions(precise),
        analysis,
        generator,
        precise=precise_ntk,
    ).measurements


@pytest.mark.parametrize("model", ["gru", "rnn", "vanilla_rnn"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_number_is_exact_with_all_probes(model: str, shape: str) -> None:
    plan = Plan(small_config(f"model={model}", *SHAPES[shape], config_name="verify"))
    errors = {comparison.name: comparison.relative_error for comparison in comparisons(plan)}
    assert len(errors) > 40
    assert {name: error for name, error in errors.items() if not error < 1e-10} == {}


def test_without_biases_too() -> None:
    plan = Plan(
        small_config("model=gru", "model.bias=false", "model.gain=1.7", config_name="verify")
    )
    assert all(comparison.relative_error < 1e-10 for comparison in comparisons(plan))


def test_verification_notices_a_wrong_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(small_config("model=rnn", config_name="verify"))
    linearize = plan.model.linearize

    def off_by_little(inputs: torch.Tensor) -> object:
        linearization = linearize(inputs)
        return replace(linearization, carry=linearization.carry * (1 + 1e-8))

    monkeypatch.setattr(plan.model, "linearize", off_by_little)
    errors = {comparison.name: comparison.relative_error for comparison in comparisons(plan)}
    assert errors["P"] > 1e-10
    assert errors["NTK_S as J J^*"] > 1e-10
    assert errors["K"] < 1e-10


def test_verification_notices_what_is_no_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_config("model=rnn", config_name="verify")
    nan, one = torch.tensor(math.nan), torch.tensor(1.0)
    monkeypatch.setattr(
        "kpflow_cli.verification.verify.comparisons",
        lambda _: iter([Comparison("first", one, nan), Comparison("second", one, one)]),
    )
    with pytest.raises(FailedRunError, match="largest relative error nan"):
        verify(config)
    assert "nan  <- above 1e-10" in capsys.readouterr().out


def test_estimates_agree_with_exact_values_within_their_errors() -> None:
    plan = Plan(small_config("dtype=float64"))
    linearization = plan.trajectory()
    size = linearization.state.numel()

    def measured(probes: int, seed: int) -> dict[tuple[str, str, str], object]:
        analysis = replace(plan.analysis, probes=probes, krylov_block=8, krylov_depth=6)
        rows = rows_of(plan, analysis, seed)
        return {(row.operator, row.quantity, row.reduction): row.estimate for row in rows}

    exact = measured(size, 0)
    misses: dict[tuple[str, str, str], list[float]] = {}
    for seed in range(20):
        for key, estimate in measured(80, seed).items():
            if estimate.standard_error > 0 and key[1] != "operator_norm":
                misses.setdefault(key, []).append(
                    (estimate.value - exact[key].value) / estimate.standard_error
                )
    # the mean reductions, of 32 and 7 dimensions, are exact
    assert len(misses) == 14
    for key, deviations in misses.items():
        squares = torch.tensor(deviations).square()
        # of 20 deviations from a t distribution of 19 or more degrees of freedom, a mean square
        # above 3.5 comes up less than once in 10^5
        assert squares.mean() < 3.5, (key, deviations)


def test_a_tolerance_holds_for_every_rank_and_its_errors_are_true() -> None:
    plan = Plan(
        small_config(
            "dtype=float64",
            "model.units=16",
            "analysis=initial",
            "threads=1",
            "analysis.sketch=2",
            "analysis.probes=16",
        )
    )
    trajectory = plan.trajectory()

    def ranks(seed: int, **changes: object) -> dict[str, Estimate]:
        analysis = replace(plan.analysis, **changes)
        rows = rows_of(plan, analysis, seed)
        return {row.reduction: row.estimate for row in rows if row.quantity == "effective_rank"}

    exact = ranks(0, probes=trajectory.state.numel())
    found = [ranks(seed, tolerance=0.02, most_probes=400) for seed in range(20)]
    assert max(estimate.relative_error for each in found for estimate in each.values()) <= 0.02
    assert (
        max(
            each["full"].relative_error
            for each in (ranks(seed, tolerance=None) for seed in range(3))
        )
        > 0.02
    )
    for reduction, value in exact.items():
        misses = [
            (each[reduction].value - value.value) / each[reduction].standard_error
            for each in found
            if each[reduction].standard_error
        ]
        # stopping when the error looks small costs a little of its truth: a mean square of 1
        # becomes at most a few
        assert not misses or torch.tensor(misses).square().mean() < 4, (reduction, misses)


def test_probes_do_not_depend_on_block_size() -> None:
    plan = Plan(small_config("dtype=float64"))
    results = []
    for block_size in (1, 7, 100):
        analysis = replace(plan.analysis, block_size=block_size)
        rows = rows_of(plan, analysis, 0)
        results.append(torch.tensor([row.estimate.value for row in rows], dtype=torch.float64))
    assert torch.allclose(results[0], results[1], rtol=1e-9)
    assert torch.allclose(results[0], results[2], rtol=1e-9)


def test_without_any_sketch() -> None:
    plan = Plan(small_config("analysis.sketch=0", "analysis.eigenvalues=1"))
    rows = rows_of(plan, plan.analysis, 0)
    assert all(row.estimate.value >= 0 and row.estimate.standard_error >= 0 for row in rows)


def test_temporal_modes_are_leading_eigenvectors() -> None:
    plan = Plan(small_config("dtype=float64"))
    linearization = plan.trajectory()
    modes = temporal_modes(global_ntk(linearization), 2, torch.Generator().manual_seed(0))
    ntk = global_ntk(linearization)
    variables = ntk.core.site_variables
    for name, matrix in (("ntk", mean_over(ntk, "unit").dense()), ("v", variables @ variables.T)):
        values, vectors = (each.flip(-1) for each in torch.linalg.eigh(matrix))
        torch.testing.assert_close(modes[name][1], values[:2], rtol=1e-6, atol=0)
        vectors = vectors[:, :2].T
        overlaps = (modes[name][0].flatten(1) * vectors).sum(1).abs()
        assert torch.allclose(overlaps, torch.ones_like(overlaps), atol=1e-6)
        peaks = modes[name][0].flatten(1)
        assert (peaks.gather(1, peaks.abs().argmax(1, keepdim=True)) > 0).all()
