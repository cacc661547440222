from __future__ import annotations

import math

import pytest
import torch
from oracles import build_model, normal, rotation, seeded, spectrum
from torch import Tensor

from kpflow_cli.estimators.spectrum import (
    LeadingEigenpairs,
    leading_eigenpairs,
    leading_singular_triplets,
)
from kpflow_cli.ntk import global_ntk
from kpflow_cli.operators import DenseOperator, GramOperator

SHAPE, SIZE = (3, 4, 5), 60
SPECTRA = ["flat", "power_law", "exponential", "low_rank", "rank_one"]


def operator_of(values: Tensor, shape: tuple[int, ...] = SHAPE) -> GramOperator:
    size = len(values)
    return GramOperator(
        DenseOperator(rotation(size) * values.sqrt() @ rotation(size, 1), out_shape=shape)
    )


def assert_sound(pairs: LeadingEigenpairs, operator: GramOperator, count: int) -> None:
    """What holds of any Ritz pairs, converged or not."""
    exact = torch.linalg.eigvalsh(operator.dense()).flip(0)
    scale = exact[0].item() or 1.0
    assert pairs.values.shape == (count,)
    assert pairs.vectors.shape == (count, *operator.in_shape)
    assert (pairs.values.diff() <= 0).all()
    assert (pairs.values >= 0).all()
    assert (pairs.values <= exact[:count] + 1e-12 * scale).all()
    flat = pairs.vectors.flatten(1)
    torch.testing.assert_close(
        flat @ flat.T, torch.eye(count, dtype=torch.float64), rtol=0, atol=1e-12
    )
    quotients = (flat * operator.matblock(pairs.vectors).flatten(1)).sum(1)
    torch.testing.assert_close(quotients, pairs.values, rtol=0, atol=1e-12 * scale)
    for value, vector, residual in zip(pairs.values, pairs.vectors, pairs.residuals, strict=True):
        assert residual.item() == pytest.approx(
            (operator.matvec(vector) - value * vector).norm().item(), abs=1e-12 * scale
        )
        assert (exact - value).abs().min() <= residual + 1e-12 * scale


# depth * block: within the space, and beyond it
@pytest.mark.parametrize(
    ("krylov_block", "krylov_depth"), [(1, 1), (3, 4), (8, 10), (60, 1), (100, 3)]
)
@pytest.mark.parametrize(
    "name", ["flat", "power_law", "exponential", "low_rank", "rank_one", "zero"]
)
def test_ritz_pairs_are_sound(name: str, krylov_block: int, krylov_depth: int) -> None:
    operator = operator_of(spectrum(name, SIZE))
    count = min(6, krylov_block * krylov_depth)
    pairs = leading_eigenpairs(
        operator, 6, krylov_block=krylov_block, krylov_depth=krylov_depth, generator=seeded(3)
    )
    assert_sound(pairs, operator, count)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["power_law", "exponential", "rank_one"])
def test_leading_eigenvalues_converge(name: str, seed: int) -> None:
    operator = operator_of(spectrum(name, SIZE))
    pairs = leading_eigenpairs(operator, 4, krylov_block=6, krylov_depth=9, generator=seeded(seed))
    torch.testing.assert_close(pairs.values, spectrum(name, SIZE)[:4], rtol=0, atol=1e-9)
    assert pairs.residuals[0] < 1e-9


@pytest.mark.parametrize("name", SPECTRA)
def test_whole_space_gives_all_eigenvalues(name: str) -> None:
    operator = operator_of(spectrum(name, SIZE))
    pairs = leading_eigenpairs(operator, 100, krylov_block=60, krylov_depth=1, generator=seeded())
    assert_sound(pairs, operator, SIZE)
    torch.testing.assert_close(pairs.values, spectrum(name, SIZE), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("krylov_block", "krylov_depth"), [(7, 9), (16, 5), (100, 2)])
def test_room_runs_out_within_a_block(krylov_block: int, krylov_depth: int) -> None:
    operator = operator_of(spectrum("power_law", SIZE))
    pairs = leading_eigenpairs(
        operator, 100, krylov_block=krylov_block, krylov_depth=krylov_depth, generator=seeded()
    )
    assert_sound(pairs, operator, SIZE)
    torch.testing.assert_close(pairs.values, spectrum("power_law", SIZE), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(1,), (1, 1, 1), (2,)])
def test_smallest_spaces(shape: tuple[int, ...]) -> None:
    size = math.prod(shape)
    operator = operator_of(torch.arange(size, 0, -1).double(), shape)
    pairs = leading_eigenpairs(operator, 5, krylov_block=4, krylov_depth=3, generator=seeded())
    assert_sound(pairs, operator, size)
    torch.testing.assert_close(pairs.values, torch.arange(size, 0, -1).double(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("count", [1, 10, 1000])
@pytest.mark.parametrize("trials", [1, 4])
@pytest.mark.parametrize("kind", ["gru", "rnn", "vanilla_rnn"])
def test_summands_of_the_propagator(kind: str, trials: int, count: int) -> None:
    operator = GramOperator(
        global_ntk(build_model(kind).linearize(normal(trials, 6, 3))).propagator
    )
    pairs = leading_eigenpairs(operator, count, krylov_block=5, krylov_depth=6, generator=seeded())
    exact = torch.linalg.eigvalsh(operator.dense()).flip(0)[:count]
    assert_sound(pairs, operator, len(exact))
    torch.testing.assert_close(pairs.values, exact, rtol=0, atol=1e-11 * exact[0].item())


def test_eigenvectors_of_a_summand_stay_within_it() -> None:
    operator = GramOperator(global_ntk(build_model("gru").linearize(normal(4, 6, 3))).propagator)
    pairs = leading_eigenpairs(operator, 9, krylov_block=5, krylov_depth=6, generator=seeded())
    reached = pairs.vectors.flatten(2).norm(dim=2) > 0
    assert (reached.sum(1) == 1).all()


def test_unconverged_pairs_of_summands_are_sound() -> None:
    operator = GramOperator(global_ntk(build_model("rnn").linearize(normal(3, 6, 3))).propagator)
    pairs = leading_eigenpairs(operator, 5, krylov_block=1, krylov_depth=3, generator=seeded())
    assert_sound(pairs, operator, 5)
    assert pairs.residuals[0] > 1e-6


def test_leading_eigenpairs_of_the_ntk() -> None:
    operator = global_ntk(build_model("gru").linearize(normal(3, 6, 3)))
    pairs = leading_eigenpairs(operator, 5, krylov_block=8, krylov_depth=8, generator=seeded())
    exact = torch.linalg.eigvalsh(operator.dense()).flip(0)
    assert_sound(pairs, operator, 5)
    torch.testing.assert_close(pairs.values, exact[:5], rtol=0, atol=1e-10 * exact[0].item())


def test_pairs_depend_on_the_generator_alone() -> None:
    operator = operator_of(spectrum("power_law", SIZE))
    first, again, other = (
        leading_eigenpairs(operator, 3, krylov_block=2, krylov_depth=2, generator=seeded(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first.vectors, again.vectors)
    assert not torch.equal(first.values, other.values)


def test_symmetric_operator_without_a_factor_has_eigenvalues_of_both_signs() -> None:
    matrix = (
        rotation(SIZE)
        * spectrum("power_law", SIZE)
        * torch.arange(SIZE).remainder(2).mul(2).sub(1)
        @ rotation(SIZE).T
    )
    pairs = leading_eigenpairs(
        DenseOperator(matrix, SHAPE, SHAPE),
        SIZE,
        krylov_block=60,
        krylov_depth=1,
        generator=seeded(),
    )
    torch.testing.assert_close(
        pairs.values, torch.linalg.eigvalsh(matrix).flip(0), rtol=0, atol=1e-12
    )
    assert pairs.residuals.max() < 1e-12


@pytest.mark.parametrize("name", SPECTRA)
def test_singular_triplets(name: str) -> None:
    values = spectrum(name, SIZE)[:40]
    operator = DenseOperator(rotation(SIZE)[:, :40] * values @ rotation(40, 1), (8, 5), SHAPE)
    triplets = leading_singular_triplets(
        operator, 4, krylov_block=8, krylov_depth=8, generator=seeded()
    )
    torch.testing.assert_close(triplets.values, values[:4], rtol=0, atol=1e-7)
    exact = torch.linalg.svdvals(operator.matrix)
    for value, left, right, residual in zip(
        triplets.values, triplets.left, triplets.right, triplets.residuals, strict=True
    ):
        forward, backward = (
            operator.matvec(right) - value * left,
            operator.adjoint.matvec(left) - value * right,
        )
        bound = (forward.square().sum() + backward.square().sum()).sqrt().item() / 2**0.5
        assert residual.item() == pytest.approx(bound, abs=1e-7)
        assert (exact - value).abs().min() <= bound + 1e-12


def test_singular_triplets_of_zero() -> None:
    operator = DenseOperator(torch.zeros(4, 3, dtype=torch.float64))
    triplets = leading_singular_triplets(
        operator, 2, krylov_block=2, krylov_depth=1, generator=seeded()
    )
    assert not triplets.values.any()
    assert not triplets.right.any()
    assert not triplets.residuals.any()
