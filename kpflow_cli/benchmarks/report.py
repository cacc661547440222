"""The benchmark from start to end: sizes, tables, targets met or not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from kpflow_cli.benchmarks.products import Cost, Instance, Size, costs
from kpflow_cli.benchmarks.settings import Settings
from kpflow_cli.benchmarks.sgd_steps import STEP_MODELS, STEP_SIZE, step_costs
from kpflow_cli.benchmarks.statistics import (
    STATISTICS,
    Timed,
    baseline,
    exact_ranks,
    ours,
    trace_reductions,
)
from kpflow_cli.config.paths import read_path
from kpflow_cli.progress_bar import ProgressBar
from kpflow_cli.run import provenance
from kpflow_cli.run.folder import Drawing, RunFolder, open_run_folder
from kpflow_cli.run.identity import identity_hash
from kpflow_cli.task import Task

MODELS = ("gru", "rnn")
# measure: target, and whether the value must be at least or at most that
TARGETS = {
    "one_sided_vs_torch_func": (6.0, "at least"),
    "two_sided_vs_torch_func": (2.5, "at least"),
    "one_sided_vs_gemm_floor": (2.0, "at most"),
    "six_statistics_vs_torch_func": (15.0, "at least"),
    "exponent_B": (1.1, "at most"),
    "exponent_T": (1.1, "at most"),
    "exponent_n": (2.1, "at most"),
    **{f"sgd_step_{name}_vs_python_loop": (2.0, "at least") for name in STEP_MODELS},
}
# an SGD step takes milliseconds: so many for each round of the others
_STEPS_A_ROUND = 20
_TRACE_TOLERANCE = 0.05


def bench(
    settings: Settings,
    make_task: Callable[[int, int], Task],
    draw: Callable[[pd.DataFrame], Drawing],
) -> None:
    """Measure, print, and write bench.csv, bench_detail.csv and a plot; ``make_task`` gives a task
    of so many trials and steps.
    """
    torch.set_num_threads(settings.threads)
    identity = settings.identity()
    path = (
        read_path(settings.run_dir, "run_dir")
        if settings.run_dir
        else Path("runs") / "bench" / identity_hash(identity)
    )
    with open_run_folder(path, identity) as folder:
        instances = _Instances(settings, make_task)
        rows = list(_product_rows(settings, instances))
        rows += _statistic_rows(
            settings, instances("gru", Size(settings.trials, settings.steps, settings.units))
        )
        rows += _step_rows(settings, make_task(STEP_SIZE.trials, STEP_SIZE.steps))
        detail = pd.DataFrame(rows)
        summary = _summary(detail, settings)
        _write(folder, summary, detail, draw)
    print(summary.to_string(index=False))
    print(path, flush=True)


class _Instances:
    """Makes the model of a name and size, on the trials of the task."""

    def __init__(self, settings: Settings, make_task: Callable[[int, int], Task]) -> None:
        self._seed, self._make_task = settings.seed, make_task

    def __call__(self, name: str, size: Size) -> Instance:
        return Instance.of(
            name,
            size,
            self._make_task(size.trials, size.steps),
            torch.Generator().manual_seed(self._seed),
        )


def _sizes(settings: Settings) -> list[Size]:
    base = Size(settings.trials, settings.steps, settings.units)
    scales = [2**power for power in range(1, int(math.log2(settings.largest_scale)) + 1)]
    scaled = [Size(base.trials * scale, base.steps, base.units) for scale in scales]
    scaled += [Size(base.trials, base.steps * scale, base.units) for scale in scales]
    return [base, *scaled, *(Size(base.trials, base.steps, base.units * scale) for scale in scales)]


def _product_rows(settings: Settings, instances: _Instances) -> Iterator[dict[str, Any]]:
    base, *scaled = _sizes(settings)
    todo = [(name, size) for name in MODELS for size in (base, *scaled)]
    for name, size in ProgressBar(todo, desc="products", unit="size", leave=False, in_logs=False):
        generator = torch.Generator().manual_seed(settings.seed)
        # larger problems take longer and vary less
        rounds = settings.rounds if size == base else min(settings.rounds, 2)
        found = list(costs(instances(name, size), settings.probes, rounds, generator))
        listed = ", ".join(f"{cost.way} {1000 * cost.seconds:.2f}" for cost in found)
        ProgressBar.write(
            f"{name}, B = {size.trials}, T = {size.steps}, n = {size.units}, ms a probe: {listed}"
        )
        yield from map(_product_row, found)


def _product_row(cost: Cost) -> dict[str, Any]:
    size = cost.size
    state = size.trials * size.steps * size.units
    return {
        "section": "products",
        "model": cost.model,
        "B": size.trials,
        "T": size.steps,
        "n": size.units,
        "way": cost.way,
        "quantity": "one product",
        "probes": cost.probes,
        "seconds": cost.seconds,
        "extra_memory_mib": cost.extra_bytes / 2**20,
        # single precision
        "extra_memory_per_state_number": cost.extra_bytes / 4 / state,
    }


def _statistic_rows(settings: Settings, instance: Instance) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(settings.seed)
    exact = exact_ranks(instance)
    size = dict(zip("BTn", instance.ntk.in_shape, strict=True))

    def rows(way: str, found: Iterator[Timed]) -> Iterator[dict[str, Any]]:
        title = f"statistics, {way}"
        for timed in ProgressBar(found, desc=title, unit="statistic", leave=False, in_logs=False):
            estimate = timed.estimate
            ProgressBar.write(
                f"{way:<12}{timed.statistic:<22}{estimate!s:<40}{timed.seconds:8.1f} "
                f"s{' (extrapolated)' * timed.extrapolated}"
            )
            yield {
                "section": "statistics",
                "model": instance.name,
                **size,
                "way": way,
                "quantity": timed.statistic,
                "probes": estimate.num_probes,
                "seconds": timed.seconds,
                "value": estimate.value,
                "stderr": estimate.standard_error,
                "exact": exact.get(timed.statistic),
                "extrapolated": timed.extrapolated,
            }

    table = [*rows("kpflow", ours(instance, settings.tolerance, generator))]
    table += rows("kpflow", trace_reductions(instance, _TRACE_TOLERANCE, generator))
    table += rows("torch_func", baseline(instance, settings.tolerance, generator))
    return table


def _step_rows(settings: Settings, task: Task) -> Iterator[dict[str, Any]]:
    size = {"B": STEP_SIZE.trials, "T": STEP_SIZE.steps, "n": STEP_SIZE.units}
    for name in STEP_MODELS:
        generator = torch.Generator().manual_seed(settings.seed)
        found = list(step_costs(name, STEP_SIZE, task, _STEPS_A_ROUND * settings.rounds, generator))
        listed = ", ".join(f"{cost.way} {1000 * cost.seconds:.2f}" for cost in found)
        ProgressBar.write(
            f"{name}, {', '.join(f'{axis} = {value}' for axis, value in size.items())}, ms an SGD "
            f"step: {listed}"
        )
        for cost in found:
            yield {
                "section": "sgd_steps",
                "model": name,
                **size,
                "way": cost.way,
                "quantity": "one SGD step",
                "seconds": cost.seconds,
            }


def _summary(detail: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    base = detail.query(
        f"section == 'products' and model == 'gru' and B == {settings.trials} and T == "
        f"{settings.steps} and n == {settings.units}"
    )
    seconds = base.set_index("way")["seconds"]
    values = {
        "one_sided_vs_torch_func": seconds["torch_func"] / seconds["one_sided"],
        "two_sided_vs_torch_func": seconds["torch_func"] / seconds["two_sided"],
        "one_sided_vs_gemm_floor": seconds["one_sided"] / seconds["gemm_floor"],
    }
    statistics = detail[(detail["section"] == "statistics") & detail["quantity"].isin(STATISTICS)]
    by_way = statistics.groupby("way")["seconds"]
    # ours share their probes, so the last of them is the total; the baseline's sets are one after
    # the other
    values["six_statistics_vs_torch_func"] = by_way.sum()["torch_func"] / by_way.max()["kpflow"]
    one_sided = detail.query("section == 'products' and model == 'gru' and way == 'one_sided'")
    values |= {f"exponent_{axis}": exponent(one_sided, axis, settings) for axis in "BTn"}
    steps = detail[detail["section"] == "sgd_steps"].pivot_table(
        index="model", columns="way", values="seconds"
    )
    values |= {
        f"sgd_step_{name}_vs_python_loop": steps["python_loop"][name] / steps["kpflow"][name]
        for name in STEP_MODELS
    }
    rows = [
        {"measure": name, "value": value, **_verdict(name, value)} for name, value in values.items()
    ]
    rows += _ratios_of_each(statistics)
    return pd.DataFrame(rows)


def _verdict(name: str, value: float) -> dict[str, Any]:
    target, sense = TARGETS[name]
    met = value >= target if sense == "at least" else value <= target
    return {"target": f"{sense} {target:g}", "met": bool(met)}


def _ratios_of_each(statistics: pd.DataFrame) -> list[dict[str, Any]]:
    """Baseline seconds of each statistic over the seconds until ours had it too; of interest,
    without a target.
    """
    seconds = statistics.pivot_table(index="quantity", columns="way", values="seconds")
    return [
        {
            "measure": f"{name}_vs_torch_func",
            "value": seconds["torch_func"][name] / seconds["kpflow"][name],
        }
        for name in STATISTICS
    ]


def exponent(table: pd.DataFrame, axis: str, settings: Settings) -> float:
    """Slope of log seconds against log size along one of the axes B, T, n, the others at their
    base.
    """
    base = {"B": settings.trials, "T": settings.steps, "n": settings.units}
    along = table
    for other in base.keys() - {axis}:
        along = along[along[other] == base[other]]
    if len(along) < 2:
        return math.nan
    x, y = (
        torch.tensor(along[column].to_numpy(), dtype=torch.float64).log()
        for column in (axis, "seconds")
    )
    return (((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()).item()


def _write(
    folder: RunFolder,
    summary: pd.DataFrame,
    detail: pd.DataFrame,
    draw: Callable[[pd.DataFrame], Drawing],
) -> None:
    for name, table in (("bench", summary), ("bench_detail", detail)):
        folder.write(f"{name}.csv", table.to_csv(index=False).encode())
    folder.write_drawing("bench", draw(detail))
    folder.write_status({"status": "complete", **provenance.made_by()})
