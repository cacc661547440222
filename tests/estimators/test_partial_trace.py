from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch
from oracles import DenseOracle, build_model, normal, relative_error, rotation, seeded, spectrum
from torch import Tensor

from kpflow_cli.estimators import partial_trace
from kpflow_cli.estimators.frame_statistics import PairStatistics
from kpflow_cli.estimators.partial_trace import pair_products, partial_traces
from kpflow_cli.estimators.probes import orthonormalize, random_frame
from kpflow_cli.estimators.samplers import PartialTraceSampler
from kpflow_cli.ntk import global_ntk
from kpflow_cli.operators import DenseOperator

KEPT = [axes for count in (1, 2) for axes in combinations(range(3), count)]
SPECTRA = ["flat", "power_law", "exponential", "low_rank", "rank_one"]


def dense_partial_trace(gram: Tensor, shape: tuple[int, ...], kept: tuple[int, ...]) -> Tensor:
    """sum_i (I (x) e_i^T) A (I (x) e_i) over an orthonormal basis e of the axes that
    are not kept.
    """
    rows = "btn"
    columns = "".join(name.upper() if axis in kept else name for axis, name in enumerate(rows))
    out = "".join(rows[axis] for axis in kept) + "".join(columns[axis] for axis in kept)
    size = math.prod(shape[axis] for axis in kept)
    return torch.einsum(f"{rows}{columns}->{out}", gram.reshape(*shape, *shape)).reshape(size, size)


def assert_statistics(partial: PairStatistics, dense: Tensor) -> None:
    """Exact trace, norm and effective rank of the dense matrix, and no error."""
    effective_rank = dense.trace() ** 2 / dense.square().sum()
    cases = [(partial.trace(), dense.trace()), (partial.frobenius_norm(), dense.norm())]
    for estimate, exact in [*cases, (partial.effective_rank(), effective_rank)]:
        assert estimate.value == pytest.approx(exact.item(), rel=1e-11)
        assert (estimate.standard_error, estimate.num_probes) == (0.0, 0)
    assert partial.dimension == len(dense)


@pytest.mark.parametrize("sketch_size", [0, 4, 18])
@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 3, 4), (2, 1, 4), (2, 3, 1), (1, 1, 1)])
def test_partial_traces_are_exact_once_the_frame_fills_the_space(
    shape: tuple[int, int, int], sketch_size: int
) -> None:
    factor = DenseOperator(normal(math.prod(shape), 18), (18,), shape)
    sketch = orthonormalize(normal(sketch_size, 18, seed=1)) if sketch_size else None
    frame = random_frame(factor, 18, generator=seeded(), sketch=sketch)
    partials = partial_traces(factor, frame, tuple(KEPT), block_size=5)
    gram = factor.matrix @ factor.matrix.T
    for kept, partial in zip(KEPT, partials, strict=True):
        assert_statistics(partial, dense_partial_trace(gram, shape, kept))


@pytest.mark.parametrize("name", SPECTRA)
def test_nothing_is_lost_by_reducing_an_axis_of_size_one(name: str) -> None:
    values = spectrum(name, 24)
    factor = DenseOperator(rotation(24) * values.sqrt() @ rotation(24, 1), out_shape=(6, 1, 4))
    frame = random_frame(factor, 24, generator=seeded())
    (whole,) = partial_traces(factor, frame, ((0, 2),), block_size=24)
    assert whole.trace().value == pytest.approx(values.sum().item(), rel=1e-12)
    assert whole.frobenius_norm().value == pytest.approx(values.norm().item(), rel=1e-12)


@pytest.mark.parametrize("kind", ["gru", "rnn", "vanilla_rnn"])
def test_partial_traces_of_the_ntk(kind: str) -> None:
    oracle = DenseOracle(build_model(kind), normal(3, 4, 3))
    factor = global_ntk(oracle.model.linearize(oracle.inputs)).factor
    frame = random_frame(factor, factor.in_size, generator=seeded())
    kept_axes = ((0, 1), (2,))
    for kept, partial in zip(
        kept_axes, partial_traces(factor, frame, kept_axes, block_size=16), strict=True
    ):
        assert_statistics(partial, dense_partial_trace(oracle.ntk, factor.out_shape, kept))


@pytest.mark.parametrize("num_probes", [2, 3, 8])
@pytest.mark.parametrize("name", SPECTRA)
def test_ranges_are_never_left(name: str, num_probes: int) -> None:
    factor = DenseOperator(
        rotation(24) * spectrum(name, 24).sqrt() @ rotation(24, 1), out_shape=(2, 3, 4)
    )
    for seed in range(100):
        frame = random_frame(factor, num_probes, generator=seeded(seed))
        for partial in partial_traces(factor, frame, ((0, 1), (2,)), block_size=8):
            assert 1.0 <= partial.effective_rank().value <= partial.dimension
            assert partial.frobenius_norm().value > 0


def test_trace_and_squared_norm_are_unbiased() -> None:
    """The mean of 2000 estimates of 4 probes is within 4.5 of its standard errors; false alarm 7e-6
    for each of 4 comparisons.
    """
    factor = DenseOperator(normal(24, 18), (18,), (2, 3, 4))
    kept_axes = ((0, 1), (2,))
    found = torch.empty(2000, 2, 2, dtype=torch.float64)
    for seed in range(len(found)):
        frame = random_frame(factor, 4, generator=seeded(seed))
        for index, partial in enumerate(partial_traces(factor, frame, kept_axes, block_size=4)):
            found[seed, index, 0] = partial.trace().value
            found[seed, index, 1] = partial.frobenius_norm().value ** 2
    for index, kept in enumerate(kept_axes):
        dense = dense_partial_trace(factor.matrix @ factor.matrix.T, (2, 3, 4), kept)
        exact = torch.stack([dense.trace(), dense.square().sum()])
        limit = 4.5 * found[:, index].std(0) / len(found) ** 0.5
        assert ((found[:, index].mean(0) - exact).abs() < limit).all()


@pytest.mark.parametrize("gram_bytes", [1, 200, 2**25])
@pytest.mark.parametrize(("kept", "reduced"), [(3, 7), (7, 3), (4, 4), (1, 5), (5, 1), (1, 1)])
def test_pair_products_in_either_form(
    kept: int, reduced: int, gram_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial_trace, "_GRAM_BYTES", gram_bytes)
    matrices = normal(6, kept, reduced)
    expected = torch.einsum("iac,jad->ijcd", matrices, matrices).square().sum((2, 3))
    assert relative_error(pair_products(matrices, matrices), expected) < 1e-13
    # the transposed matrices, whose products differ, take the other form
    other = torch.einsum("iac,jdc->ijad", matrices, matrices).square().sum((2, 3))
    assert relative_error(pair_products(*2 * (matrices.mT.contiguous(),)), other) < 1e-13


def test_pair_products_of_two_sets() -> None:
    for kept in (2, 9):
        first, second = normal(4, kept, 5), normal(3, kept, 6, seed=1)
        expected = torch.einsum("iac,jad->ijcd", first, second).square().sum((2, 3))
        assert relative_error(pair_products(first, second), expected) < 1e-13


def test_sampler_that_grows_finds_what_one_frame_does() -> None:
    """Added vectors are orthogonal to those there are: once they fill the space all is exact,
    whatever the steps.
    """
    shape, kept = (2, 3, 4), (0, 1)
    factor = DenseOperator(normal(24, 18), (18,), shape)
    sampler = PartialTraceSampler(factor, generator=seeded(), block_size=5)
    gram = dense_partial_trace(factor.matrix @ factor.matrix.T, shape, kept)
    ranks = []
    for probes in (4, 9, 18):
        if probes > sampler.num_probes:
            sampler.add(probes - sampler.num_probes)
        ranks.append(sampler.effective_rank(kept))
    exact = float(gram.trace() ** 2 / gram.square().sum())
    assert ranks[0].value != ranks[1].value != ranks[2].value
    assert all(abs(rank.value - exact) < 5 * rank.standard_error for rank in ranks[:2])
    assert_statistics(sampler.keeping(kept), gram)
