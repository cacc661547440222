"""Time to a given standard error of six statistics of NTK_S: ours from shared probes against one
torch.func Hutchinson set for each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from kpflow_cli.benchmarks.products import Instance
from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.partial_trace import partial_traces
from kpflow_cli.estimators.probes import orthonormalize, random_frame, range_sketch
from kpflow_cli.estimators.samplers import Sampler
from kpflow_cli.estimators.spectrum import leading_eigenpairs
from kpflow_cli.estimators.statistics import until
from kpflow_cli.ntk import RecurrentNTK
from kpflow_cli.operators import AxisConstant, Identity, mean_over

FULL = ("trace", "frobenius_norm", "effective_rank", "core_alignment")
REDUCED = {"temporal_rank": ("unit",), "spatial_rank": ("trial", "time")}
STATISTICS = (*FULL, *REDUCED)

# leading eigenvectors that ours deflates, of what Krylov space; probes to start with; most of them
_DEFLATED, _KRYLOV_BLOCK, _KRYLOV_DEPTH, _SKETCH = 12, 12, 2, 8
_FIRST_PROBES, _MOST_PROBES = 24, 1200
# probes of the baseline that its error is measured on
_BASELINE_PROBES = 48


@dataclass(frozen=True)
class Timed:
    """An estimate and the seconds until it was there; extrapolated from a smaller measured error as
    1/SE^2, or not.
    """

    statistic: str
    estimate: Estimate
    seconds: float
    extrapolated: bool = False


@torch.no_grad()
def ours(instance: Instance, tolerance: float, generator: torch.Generator) -> Iterator[Timed]:
    """All six, in the order they are met; seconds count from the linearized trajectory, everything
    shared included.
    """
    started = time.perf_counter()
    ntk = RecurrentNTK(instance.model.linearize(instance.inputs))
    pairs = leading_eigenpairs(
        ntk, _DEFLATED, krylov_block=_KRYLOV_BLOCK, krylov_depth=_KRYLOV_DEPTH, generator=generator
    )
    sampler = Sampler(ntk, ntk.core, generator=generator, sketch=pairs.vectors)
    of_compressions: dict[str, Callable[[], Estimate]] = {
        "trace": lambda: sampler.statistics().trace(),
        "frobenius_norm": lambda: sampler.statistics().frobenius_norm(),
        "effective_rank": lambda: sampler.statistics().effective_rank(),
        "core_alignment": sampler.alignment,
    }
    for name, found in of_compressions.items():
        estimate = until(
            tolerance, found, sampler.add, _FIRST_PROBES, _MOST_PROBES, drawn=sampler.num_probes
        )
        yield Timed(name, estimate, time.perf_counter() - started)
    for name, axes in REDUCED.items():
        operator = mean_over(ntk, *axes)
        reduced = Sampler(
            operator,
            generator=generator,
            sketch=range_sketch(operator, _SKETCH, generator=generator),
        )
        estimate = until(
            tolerance,
            reduced.effective_rank,
            reduced.add,
            8,
            _MOST_PROBES,
        )
        yield Timed(name, estimate, time.perf_counter() - started)


@torch.no_grad()
def trace_reductions(
    instance: Instance, tolerance: float, generator: torch.Generator
) -> Iterator[Timed]:
    """Effective ranks of the partial traces, by products J w."""
    started = time.perf_counter()
    factor = instance.ntk.factor
    pairs = leading_eigenpairs(
        instance.ntk, _SKETCH, krylov_block=_SKETCH, krylov_depth=3, generator=generator
    )
    sketch = orthonormalize(factor.adjoint_matblock(pairs.vectors))
    probes = 16
    while True:
        frame = random_frame(factor, probes, generator=generator, sketch=sketch)
        estimates = [
            partial.effective_rank() for partial in partial_traces(factor, frame, ((0, 1), (2,)))
        ]
        if (
            max(estimate.relative_error for estimate in estimates) <= tolerance
            or probes >= _MOST_PROBES
        ):
            break
        probes *= 2
    for name, estimate in zip(
        ("temporal_rank_trace", "spatial_rank_trace"), estimates, strict=True
    ):
        yield Timed(name, estimate, time.perf_counter() - started)


@torch.no_grad()
def baseline(instance: Instance, tolerance: float, generator: torch.Generator) -> Iterator[Timed]:
    """Each by Hutchinson's estimator of its own, Gaussian probes through torch.func; seconds
    extrapolated to the tolerance.

    A reduction never costs more than its exact matrix, one product for each of its dimensions.
    """
    product = instance.torch_func_product()
    ntk, size = instance.ntk, instance.baseline_probes(16)
    for name in STATISTICS:
        embedding = (
            AxisConstant(ntk, *REDUCED[name])
            if name in REDUCED
            else Identity(ntk.in_shape, dtype=ntk.dtype)
        )
        probes = torch.randn(_BASELINE_PROBES, *embedding.in_shape, generator=generator)
        started = time.perf_counter()
        parts = [
            embedding.adjoint_matblock(product(embedding.matblock(part)))
            for part in probes.split(size)
        ]
        seconds = (time.perf_counter() - started) / _BASELINE_PROBES
        cores = (
            ntk.core.matblock(probes)
            if name == "core_alignment"
            else parts[0][:1].expand(probes.shape)
        )
        images = torch.cat(parts)
        estimate = _hutchinson(
            name, *(each.flatten(1).double() for each in (probes, images, cores))
        )
        needed = max(_BASELINE_PROBES * (estimate.relative_error / tolerance) ** 2, 1.0)
        if name in REDUCED:
            needed = min(needed, embedding.in_size)
        yield Timed(name, estimate, seconds * needed, extrapolated=True)


def _hutchinson(name: str, probes: Tensor, images: Tensor, cores: Tensor) -> Estimate:
    """The textbook estimate from z, A z (and C z), with its jackknife error."""
    quadratic, squares = (probes * images).sum(1), images.square().sum(1)
    inner, core_squares = (images * cores).sum(1), cores.square().sum(1)

    def value(weights: Tensor) -> Tensor:
        means = {
            key: each @ weights
            for key, each in (("q", quadratic), ("s", squares), ("i", inner), ("c", core_squares))
        }
        if name == "trace":
            return means["q"]
        if name == "frobenius_norm":
            return means["s"].sqrt()
        if name == "core_alignment":
            return means["i"] / (means["s"] * means["c"]).sqrt()
        return means["q"].square() / means["s"]

    count = len(probes)
    left_out = (1 - torch.eye(count, dtype=torch.float64)) / (count - 1)
    replicates = torch.stack([value(weights) for weights in left_out])
    error = ((replicates - replicates.mean()).square().sum() * (count - 1) / count).sqrt().item()
    return Estimate(
        value(torch.full((count,), 1 / count, dtype=torch.float64)).item(),
        error,
        count,
        "Hutchinson, torch.func",
    )


@torch.no_grad()
def exact_ranks(instance: Instance) -> dict[str, float]:
    """The ``mean`` reductions' effective ranks from their whole matrices, which are
    small enough.
    """
    ranks = {}
    for name, axes in REDUCED.items():
        reduced = mean_over(instance.ntk, *axes)
        frame = random_frame(reduced, reduced.in_size, generator=torch.Generator().manual_seed(0))
        factor = reduced.gram_factor
        assert factor is not None
        images = torch.cat(
            [factor.adjoint_matblock(part) for part in frame.vectors.split(64)]
        ).double()
        gram = images @ images.T
        ranks[name] = (gram.trace() ** 2 / gram.square().sum()).item()
    return ranks
