"""Is a 95 % interval one? Over 400 seeds the intervals of an operator hold the exact values 92 to
98 times out of 100.

That is asked of all quantities of an operator together. Of each alone, whose true coverage was
measured on 4000 other seeds (the tests tell what it is), 400 seeds say less: at 0.95 they leave
[0.92, 0.98] with probability 0.007, at 0.935 with 0.09, and there are many quantities. Each alone
is held to [0.90, 0.995], which a quantity of true coverage 0.935 leaves with probability 0.003.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import pytest
import torch
from oracles import build_model, normal, rotation, seeded, spectrum
from torch import Tensor

from kpflow_cli.estimators.compression import compress
from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.exchangeable_traces import xnystrace, xtrace
from kpflow_cli.estimators.partial_trace import partial_traces
from kpflow_cli.estimators.probes import extend, orthonormalize, random_frame
from kpflow_cli.estimators.samplers import Sampler
from kpflow_cli.estimators.spectrum import leading_eigenpairs
from kpflow_cli.estimators.trace_methods import hutch_plus_plus_trace, hutchinson_trace
from kpflow_cli.ntk import global_ntk
from kpflow_cli.operators import DenseOperator, GramOperator

pytestmark = pytest.mark.slow

SHAPE, SIZE, PARAMETERS = (5, 6, 10), 300, 400
SEEDS = range(400)
# as measurements.py has it by default: eigenvectors and probes of NTK_S, singular vectors and
# probes of its factor
EIGENVECTORS, PROBES, SINGULAR_VECTORS, FACTOR_PROBES = 20, 96, 8, 24
KEPT = {"temporal": (0, 1), "spatial": (2,)}
OPERATORS = ["flat", "power_law", "low_rank", "ntk"]
TRACES = {
    "hutchinson": hutchinson_trace,
    "hutch++": hutch_plus_plus_trace,
    "xtrace": xtrace,
    "xnystrace": xnystrace,
}

# exact values and what they are compared with, by the name of the quantity
Found = dict[str, tuple[float, Estimate]]


def statistics(dense: Tensor) -> tuple[float, float, float]:
    """Trace, Frobenius norm and effective rank."""
    return (
        dense.trace().item(),
        dense.norm().item(),
        (dense.trace() ** 2 / dense.square().sum()).item(),
    )


@dataclass(frozen=True)
class Case:
    """J J^* with J explicit, ``(N, parameters)``, and a second operator to align it with."""

    factor: DenseOperator
    other: DenseOperator

    @cached_property
    def operator(self) -> GramOperator:
        return GramOperator(self.factor)

    @cached_property
    def dense(self) -> Tensor:
        return self.factor.matrix @ self.factor.matrix.T

    @cached_property
    def leading(self) -> Tensor:
        found = leading_eigenpairs(
            self.operator, EIGENVECTORS, krylov_block=8, krylov_depth=10, generator=seeded(10**6)
        )
        return found.vectors

    @cached_property
    def sketch(self) -> Tensor:
        """Two target directions, then the leading eigenvectors."""
        return extend(orthonormalize(normal(2, *SHAPE, seed=5)), self.leading)

    @cached_property
    def singular_vectors(self) -> Tensor:
        return orthonormalize(self.factor.adjoint_matblock(self.leading[:SINGULAR_VECTORS]))

    @cached_property
    def partial(self) -> dict[str, tuple[float, float, float]]:
        images = self.factor.matrix.reshape(*SHAPE, -1)
        temporal = torch.einsum("btnp,csnp->btcs", images, images).reshape(30, 30)
        spatial = torch.einsum("btnp,btmp->nm", images, images)
        return {"temporal": statistics(temporal), "spatial": statistics(spatial)}


@cache
def case(name: str) -> Case:
    if name == "ntk":
        # the operator itself is checked against autograd elsewhere: as a matrix it takes less time
        ntk = global_ntk(build_model("gru", units=SHAPE[2]).linearize(normal(*SHAPE[:2], 3)))
        return Case(
            DenseOperator(ntk.factor.dense(), out_shape=SHAPE),
            DenseOperator(ntk.core.dense(), SHAPE, SHAPE),
        )
    factor = rotation(SIZE) * spectrum(name, SIZE).sqrt() @ rotation(PARAMETERS, 1)[:SIZE]
    # part of whose eigenvectors are those of J J^*
    shared = rotation(SIZE) * torch.exp(-torch.arange(SIZE) / 60) @ rotation(SIZE).T
    noise = rotation(SIZE, 2) * spectrum("power_law", SIZE) @ rotation(SIZE, 2).T
    return Case(
        DenseOperator(factor, out_shape=SHAPE), DenseOperator(shared + 0.1 * noise, SHAPE, SHAPE)
    )


def full(case: Case, seed: int, *, sketched: bool = True) -> Found:
    """What rests on probes of the state."""
    frame = random_frame(
        case.operator, PROBES, generator=seeded(seed), sketch=case.sketch if sketched else None
    )
    first, second = (
        compress(operator, frame, block_size=200) for operator in (case.operator, case.other)
    )
    exact = statistics(case.dense)
    cosine = (case.dense * case.other.matrix).sum() / (case.dense.norm() * case.other.matrix.norm())
    found = {
        "trace": (exact[0], first.trace()),
        "norm": (exact[1], first.frobenius_norm()),
        "rank": (exact[2], first.effective_rank()),
    }
    found["cosine"] = (cosine.item(), first.alignment(second))
    sampler = Sampler(
        case.operator, case.other, generator=seeded(seed), sketch=case.sketch if sketched else None
    )
    sampler.add(PROBES)
    by_vectors = sampler.statistics()
    found["norm_by_vectors"] = (exact[1], by_vectors.frobenius_norm())
    found["rank_by_vectors"] = (exact[2], by_vectors.effective_rank())
    found["cosine_by_vectors"] = (cosine.item(), sampler.alignment())
    if sketched:
        target = case.sketch[0].flatten()
        quotient = (target @ case.dense @ target).item()
        found["share"] = (quotient / exact[0], first.trace_share(quotient))
    return found


def partial(case: Case, seed: int, *, sketched: bool = True) -> Found:
    """What rests on probes of the parameters."""
    frame = random_frame(
        case.factor,
        FACTOR_PROBES,
        generator=seeded(seed),
        sketch=case.singular_vectors if sketched else None,
    )
    found = {}
    for name, reduced in zip(
        KEPT, partial_traces(case.factor, frame, tuple(KEPT.values()), block_size=64), strict=True
    ):
        estimates = (reduced.trace(), reduced.frobenius_norm(), reduced.effective_rank())
        for quantity, exact, estimate in zip(
            ("trace", "norm", "rank"), case.partial[name], estimates, strict=True
        ):
            found[f"{name}_{quantity}"] = (exact, estimate)
    return found


def traces(case: Case, seed: int, *, num_probes: int) -> Found:
    """The trace by each trace estimator."""
    exact = case.dense.trace().item()
    return {
        name: (exact, estimator(case.operator, num_probes, generator=seeded(seed)))
        for name, estimator in TRACES.items()
    }


def coverages(find: Callable[[int], Found], seeds: range = SEEDS) -> dict[str, float]:
    """Share of the seeds whose interval holds the exact value; to 1e-9 of it, so that a value exact
    but for rounding is covered.
    """
    covered: dict[str, int] = {}
    for seed in seeds:
        for name, (exact, estimate) in find(seed).items():
            lower, upper = estimate.interval()
            slack = 1e-9 * abs(exact)
            covered[name] = covered.get(name, 0) + (lower - slack <= exact <= upper + slack)
    return {name: count / len(seeds) for name, count in covered.items()}


def assert_covered(found: dict[str, float], *, at_end: tuple[str, ...] = ()) -> None:
    """0.92 to 0.98 together, 0.90 to 0.995 each. Quantities ``at_end`` of their range, where
    overshoots are moved to it, may cover all.
    """
    for name, coverage in found.items():
        assert 0.90 <= coverage <= (1.0 if name in at_end else 0.995), (name, coverage)
    inside = [coverage for name, coverage in found.items() if name not in at_end]
    assert 0.92 <= sum(inside) / len(inside) <= 0.98, found


@pytest.mark.parametrize("name", OPERATORS)
def test_full_quantities(name: str) -> None:
    """True coverages are 0.939 to 0.955, and 0.973 for the effective rank of low_rank."""
    found = coverages(lambda seed: full(case(name), seed))
    if name == "flat":
        # every Rayleigh quotient is 2.5: all but the cosine is exact, to rounding, from any frame
        exact = ("trace", "norm", "rank", "share", "norm_by_vectors", "rank_by_vectors")
        assert [found.pop(quantity) for quantity in exact] == [1.0] * len(exact)
    assert_covered(found)


@pytest.mark.parametrize("name", OPERATORS)
def test_partial_traces(name: str) -> None:
    """True coverages are 0.935 to 0.955, and 0.986 and 0.989 for the effective ranks of flat, which
    are the largest there are.
    """
    at_end = ("temporal_rank", "spatial_rank") if name == "flat" else ()
    assert_covered(coverages(lambda seed: partial(case(name), seed)), at_end=at_end)


@pytest.mark.parametrize("name", OPERATORS)
def test_trace_estimators(name: str) -> None:
    """True coverages are 0.939 to 0.963 where 40 products leave an error.

    Vectors on a sphere leave none for flat, a multiple of the identity; a rank of 30 leaves none to
    XNysTrace.
    """
    found = coverages(lambda seed: traces(case(name), seed, num_probes=40))
    exact = {"flat": ("hutch++", "xtrace", "xnystrace"), "low_rank": ("xnystrace",)}.get(name, ())
    assert [found.pop(estimator) for estimator in exact] == [1.0] * len(exact)
    assert_covered(found)


def test_heavy_tail_without_a_sketch_covers_less() -> None:
    """0.86 to 0.97 where the leading eigenvalue of a 1/i spectrum is left to chance: the probes see
    too little of a skewed distribution.

    True coverages are 0.929 to 0.947 of full quantities by 96 probes, 0.892 to 0.933 of partial
    traces by 24; probability of a false alarm at most 0.02 a quantity.
    """
    power_law = case("power_law")
    of_states = coverages(lambda seed: full(power_law, seed, sketched=False))
    of_parameters = coverages(lambda seed: partial(power_law, seed, sketched=False))
    for name, coverage in (of_states | of_parameters).items():
        assert 0.86 <= coverage <= 0.97, (name, coverage)
