"""The benchmark's own arithmetic, against closed forms; no test asserts on a time."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from kpflow_cli.tasks.memory_pro import of_length
from small_runs import kpflow

from kpflow_cli.benchmarks import coverage
from kpflow_cli.benchmarks.memory import peak_bytes, stored_bytes
from kpflow_cli.benchmarks.products import Instance, Size, costs
from kpflow_cli.benchmarks.report import TARGETS, exponent
from kpflow_cli.benchmarks.settings import Settings
from kpflow_cli.benchmarks.sgd_steps import (
    STEP_MODELS,
    loop_outputs,
    sgd_step,
    step_costs,
    step_model,
)
from kpflow_cli.benchmarks.statistics import (
    STATISTICS,
    baseline,
    exact_ranks,
    ours,
    trace_reductions,
)
from kpflow_cli.commands.bench import read_settings
from kpflow_cli.errors import UserError
from kpflow_cli.measures.checkpoint import measure
from kpflow_cli.operators import mean_over, trace_over


def instance(name: str = "gru") -> Instance:
    return Instance.of(name, Size(4, 9, 16), of_length(4, 9), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["gru", "rnn"])
def test_both_ways_compute_the_same_product(name: str) -> None:
    made = instance(name)
    block = torch.randn(3, *made.ntk.in_shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        made.torch_func_product()(block), made.ntk.matblock(block), rtol=1e-4, atol=1e-4
    )


def test_costs_of_every_way() -> None:
    made = instance()
    found = {cost.way: cost for cost in costs(made, 4, 1, torch.Generator().manual_seed(0))}
    assert list(found) == ["one_sided", "two_sided", "torch_func", "gemm_floor"]
    assert all(cost.seconds > 0 for cost in found.values())
    # two GEMM shapes: the scan's 48 x 16, and one of the rank of all site variables by four gates
    # of 16
    rank = made.ntk.factor.sites.basis.shape[1]
    assert made.floor_operations() == 2 * 36 * (48 * 16 + rank * 64)
    assert found["one_sided"].extra_bytes >= made.stored_bytes > 4 * made.ntk.in_size


def test_peak_bytes_counts_what_is_alive_at_once() -> None:
    def work() -> torch.Tensor:
        first = torch.zeros(1000)
        second = first + 1
        del first
        return second + torch.zeros(500).sum()

    assert 8000 <= peak_bytes(work) < 12000


def test_stored_bytes_counts_shared_storage_once() -> None:
    tensor = torch.zeros(10)
    assert stored_bytes({"a": tensor, "b": [tensor[2:], torch.zeros(3)]}) == 52


def test_six_statistics_agree_with_the_dense_operator() -> None:
    made = instance()
    ntk, core = made.ntk.dense().double(), made.ntk.core.dense().double()
    ranks = {
        name: (reduced.trace() ** 2 / reduced.square().sum()).item()
        for name, reduced in {
            "effective_rank": ntk,
            "temporal_rank": mean_over(made.ntk, "unit").dense().double(),
            "spatial_rank": mean_over(made.ntk, "trial", "time").dense().double(),
            "temporal_rank_trace": trace_over(made.ntk, "unit").dense().double(),
            "spatial_rank_trace": trace_over(made.ntk, "trial", "time").dense().double(),
        }.items()
    }
    exact = ranks | {
        "trace": ntk.trace().item(),
        "frobenius_norm": ntk.norm().item(),
        "core_alignment": ((ntk * core).sum() / (ntk.norm() * core.norm())).item(),
    }
    found = [
        *ours(made, 0.02, torch.Generator().manual_seed(0)),
        *trace_reductions(made, 0.05, torch.Generator().manual_seed(0)),
    ]
    assert {timed.statistic for timed in found} == exact.keys()
    for timed in found:
        assert timed.estimate.relative_error <= (
            0.05 if timed.statistic.endswith("_trace") else 0.02
        )
        assert (
            abs(timed.estimate.value - exact[timed.statistic])
            < 5 * timed.estimate.standard_error + 1e-5 * exact[timed.statistic]
        )
    for timed in baseline(made, 0.02, torch.Generator().manual_seed(0)):
        # a ratio of few probes is biased besides
        assert (
            abs(timed.estimate.value - exact[timed.statistic]) < 6 * timed.estimate.standard_error
        )
        assert timed.extrapolated
    assert exact_ranks(made) == pytest.approx(
        {name: ranks[name] for name in ("temporal_rank", "spatial_rank")}, rel=1e-4
    )


@pytest.mark.parametrize("name", STEP_MODELS)
def test_all_ways_make_the_same_sgd_step(name: str) -> None:
    task, generators = of_length(6, 9), (torch.Generator().manual_seed(0) for _ in range(3))
    batch = task.training_batch(6, torch.Generator().manual_seed(1)).to(
        torch.float32, torch.device("cpu")
    )
    ours, by_forward, by_loop = (step_model(name, 8, task, generator) for generator in generators)
    steps = [
        sgd_step(ours, ours.training_outputs, batch),
        sgd_step(by_forward, lambda inputs: by_forward(inputs)[0], batch),
        sgd_step(by_loop, lambda inputs: loop_outputs(by_loop, inputs), batch),
    ]
    before = copy.deepcopy(list(ours.parameters()))
    for _ in range(3):
        losses = [step() for step in steps]
        assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    for first, *others in zip(
        ours.parameters(), by_forward.parameters(), by_loop.parameters(), strict=True
    ):
        for other in others:
            torch.testing.assert_close(other, first, rtol=1e-5, atol=1e-7)
    assert not any(
        torch.equal(old, new) for old, new in zip(before, ours.parameters(), strict=True)
    )


def test_costs_of_sgd_steps() -> None:
    found = list(
        step_costs("rnn", Size(6, 9, 8), of_length(6, 9), 2, torch.Generator().manual_seed(0))
    )
    assert [cost.way for cost in found] == ["kpflow", "forward", "python_loop"]
    assert all(cost.seconds > 0 for cost in found)


def test_exponent_is_the_slope_in_log_log() -> None:
    settings = Settings(trials=2, steps=3, units=4)
    sizes = [(2, 3, 4), (4, 3, 4), (8, 3, 4), (2, 6, 4), (2, 3, 8)]
    table = pd.DataFrame(
        [{"B": b, "T": t, "n": n, "seconds": 0.1 * b * t**0.5 * n**2} for b, t, n in sizes]
    )
    assert [exponent(table, axis, settings) for axis in "BTn"] == pytest.approx([1, 0.5, 2])
    assert math.isnan(exponent(table[:3], "T", settings))


def test_command_writes_tables_and_plot(tmp_path: Path) -> None:
    small = (
        "trials=3",
        "steps=6",
        "units=8",
        "probes=2",
        "rounds=1",
        "largest_scale=2",
        "tolerance=0.2",
        "threads=1",
        "run_dir=out",
    )
    done = kpflow("bench", *small, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "out"
    summary = pd.read_csv(tmp_path / "out" / "bench.csv")
    assert list(summary.columns) == ["measure", "value", "target", "met"]
    assert list(summary["measure"]) == [*TARGETS, *(f"{name}_vs_torch_func" for name in STATISTICS)]
    for row in summary[: len(TARGETS)].itertuples():
        sense, _, limit = str(row.target).rpartition(" ")
        assert str(row.met) == str(
            row.value >= float(limit) if sense == "at least" else row.value <= float(limit)
        )
    detail = pd.read_csv(tmp_path / "out" / "bench_detail.csv")
    assert set(detail["section"]) == {"products", "statistics", "sgd_steps"}
    assert len(detail.query("section == 'sgd_steps'")) == 2 * 3
    assert len(detail.query("section == 'products'")) == 2 * 4 * 4
    assert {path.name for path in (tmp_path / "out" / "plots").iterdir()} == {
        "bench.png",
        "bench.pdf",
        "bench.svg",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["unit=3"], "no key 'unit=3'"),
        (["units"], "no key 'units'"),
        (["units=abc"], "abc"),
        (["probes=0"], "probes=0: impossible"),
        (["steps=2"], "steps=2: impossible"),
    ],
)
def test_mistakes_name_the_key(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_settings(arguments)


@pytest.mark.parametrize("name", ["gru", "attention"])
def test_coverage_is_counted_against_exact_values(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage, "_TRIALS", 2)
    monkeypatch.setattr(coverage, "_STEPS", 3)
    network = coverage.case(name)
    everything = replace(network.analysis, probes=network.ntk.in_size)
    rows = measure(
        network.ntk, network.directions, everything, torch.Generator().manual_seed(0)
    ).measurements
    found = {(row.quantity, row.reduction): row.estimate.value for row in rows}
    for key, value in network.exact.items():
        assert found[key] == pytest.approx(value, rel=1e-8), key
    table = coverage.covered(range(2), (name, 4))
    assert {(row["quantity"], row["reduction"]) for row in table} <= network.exact.keys()
    assert all(row["coverage"] in (0.0, 0.5, 1.0) for row in table if row["known"])
