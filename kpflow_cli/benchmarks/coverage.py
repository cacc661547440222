"""How often the 95 % intervals of measurements.csv hold the exact value: a table by network,
quantity, reduction and number of probes.

Every interval is one of ``measure``, with the sketches and Krylov spaces of ``analysis=standard``
and ``analysis=initial``, of networks whose reductions all have more dimensions than there are
probes. Run as a module it prints the table and writes coverage.csv.
"""

from __future__ import annotations

import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from importlib.resources import files
from multiprocessing import get_context

import pandas as pd
import torch
from omegaconf import OmegaConf
from torch import Tensor

from kpflow_cli.config.schema import Analysis
from kpflow_cli.measures.checkpoint import measure
from kpflow_cli.models.attention import SelfAttention
from kpflow_cli.models.base import Model
from kpflow_cli.models.gru import GRU
from kpflow_cli.models.initialization import InitialWeights
from kpflow_cli.ntk import Core, GlobalNTK, global_ntk
from kpflow_cli.operators import DenseOperator

PROBES, SEEDS = (4, 8, 20, 64), 200
_TRIALS, _STEPS, _INPUTS = 14, 5, 3
Key = tuple[str, str]


class _Explicit(GlobalNTK):
    """NTK_S of a module with its factors as matrices: the same numbers as by automatic
    differentiation, in less time.
    """

    def __init__(self, ntk: GlobalNTK) -> None:
        super().__init__(
            DenseOperator(ntk.factor.dense(), ntk.factor.in_shape, ntk.factor.out_shape)
        )
        factor = ntk.core.factor
        dense = DenseOperator(factor.dense(), factor.in_shape, factor.out_shape)
        self._core = Core(dense, ntk.core.variables_by_site)

    @property
    def core(self) -> Core:
        """As ``GlobalNTK.core`` says."""
        return self._core

    def forms_by_layer(self, block: Tensor) -> dict[str, Tensor]:
        """As ``GlobalNTK.forms_by_layer`` says; all layers are one."""
        return {"all": self.factor.adjoint_matblock(block).square().sum(1)}


@dataclass(frozen=True)
class Case:
    """A network with the exact values of what is estimated of it."""

    ntk: GlobalNTK
    directions: Tensor
    analysis: Analysis
    exact: dict[Key, float]


def case(name: str) -> Case:
    """``gru`` under analysis=standard, ``attention`` under analysis=initial."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(_TRIALS, _STEPS, _INPUTS, dtype=torch.float64, generator=generator)
    weights: InitialWeights = {
        "gain": 1.0,
        "initialization": "xavier_normal",
        "generator": generator,
    }
    model: Model
    if name == "gru":
        model = GRU(input_size=_INPUTS, output_size=1, units=70, bias=True, **weights)
    else:
        sizes = {
            "input_size": _INPUTS,
            "output_size": 1,
            "width": 8,
            "heads": 1,
            "mlp_width": 16,
            "mlp_layers": 3,
        }
        plain = {
            "bias": True,
            "causal": False,
            "positions": 0,
            "fourier_features": 0,
            "initialization": "xavier_normal",
        }
        model = SelfAttention(**sizes, **plain, generator=generator)  # type: ignore[arg-type]
    trajectory = model.double().trajectory(inputs)
    ntk = global_ntk(trajectory)
    directions = torch.randn(2, *ntk.in_shape, dtype=torch.float64, generator=generator)
    directions /= directions.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    explicit = ntk if trajectory.traced is None else _Explicit(ntk)
    analysis = _analysis("standard" if name == "gru" else "initial")
    return Case(explicit, directions, analysis, exact_values(explicit, directions))


def _analysis(name: str) -> Analysis:
    folder = files("kpflow_cli.configs") / "analysis"
    values = {
        key: value
        for part in ("standard", name)
        for key, value in OmegaConf.load(str(folder / f"{part}.yaml")).items()
    }
    chosen = {declared.name: values[declared.name] for declared in fields(Analysis)}
    return replace(
        Analysis(**chosen), measures=["ntk", "trace", "mean"], records=[], tolerance=None
    )


@torch.no_grad()
def exact_values(ntk: GlobalNTK, directions: Tensor) -> dict[Key, float]:
    """By the dense matrices."""
    size, (trials, steps, units) = ntk.in_size, ntk.in_shape
    full, core = ntk.dense(), ntk.core.dense()
    by_axes = full.reshape(trials * steps, units, trials * steps, units)
    blocks = {
        "full": full,
        "temporal_mean": by_axes.sum((1, 3)) / units,
        "spatial_mean": by_axes.sum((0, 2)) / (trials * steps),
        "temporal_trace": torch.einsum("aibi->ab", by_axes),
        "spatial_trace": torch.einsum("aiaj->ij", by_axes),
    }
    found: dict[Key, float] = {}
    for reduction, matrix in blocks.items():
        trace, norm = matrix.trace().item(), matrix.norm().item()
        found["trace", reduction] = trace
        found["frobenius_norm", reduction] = norm
        found["effective_rank", reduction] = trace**2 / norm**2
    norms = full.norm().item() * core.norm().item()
    found["alignment", "full"] = (full * core).sum().item() / norms
    found["random_core_alignment", "full"] = (
        full.trace().item() * core.trace().item() / norms / size
    )
    for index, direction in enumerate(directions.flatten(1), start=1):
        found[f"target_overlap_{index}", "full"] = (
            direction @ full @ direction
        ).item() / full.trace().item()
    return found


def covered(seeds: range, job: tuple[str, int]) -> list[dict[str, object]]:
    """Of one network and number of probes a row for each quantity: in which share of the seeds the
    interval holds the exact value.
    """
    name, probes = job
    torch.set_num_threads(1)
    network = case(name)
    held: dict[Key, list[bool]] = {}
    rows_probes: dict[Key, int] = {}
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        rows = measure(
            network.ntk, network.directions, replace(network.analysis, probes=probes), generator
        ).measurements
        for row in rows:
            key, estimate = (row.quantity, row.reduction), row.estimate
            if key in network.exact and estimate.num_probes:
                rows_probes[key] = estimate.num_probes
                lower, upper = estimate.interval()
                held.setdefault(key, [])
                if not math.isnan(estimate.standard_error):
                    held[key].append(lower <= network.exact[key] <= upper)
    return [
        {
            "network": name,
            "quantity": quantity,
            "reduction": reduction,
            "probes": probes,
            "row_probes": rows_probes[quantity, reduction],
            "known": len(found),
            "coverage": sum(found) / len(found) if found else math.nan,
        }
        for (quantity, reduction), found in held.items()
    ]


def main() -> None:
    """Print the table and write it to coverage.csv in the current folder; two processes, about 5
    minutes.
    """
    jobs = [(name, probes) for probes in PROBES for name in ("gru", "attention")]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        rows = [row for part in pool.map(partial(covered, range(SEEDS)), jobs) for row in part]
    table = pd.DataFrame(rows)
    table.to_csv("coverage.csv", index=False)
    wide = table.pivot(
        index=["network", "quantity", "reduction"], columns="probes", values="coverage"
    )
    print(
        wide.map(lambda share: "more probes" if math.isnan(share) else f"{share:.1%}").to_string()
    )
    outside = table[(table.coverage < 0.9) | (table.coverage > 0.98)]
    print(f"{len(table)} cells, {len(outside)} of them outside of 90 to 98 %")


if __name__ == "__main__":
    main()
