from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from oracles import normal, rotation, seeded, spectrum
from torch import Tensor

from kpflow_cli.estimators.compression import Compression, compress
from kpflow_cli.estimators.probes import orthonormalize, random_frame
from kpflow_cli.operators import DenseOperator, GramOperator

SPECTRA = ["flat", "power_law", "exponential", "low_rank", "rank_one"]
SHAPE = (4, 5, 3)
SIZE = math.prod(SHAPE)


@dataclass(frozen=True)
class Matrix:
    """A = F F^* of known spectrum, F square."""

    factor: Tensor

    @classmethod
    def of(cls, name: str, *, seed: int = 0) -> Matrix:
        return cls(rotation(SIZE, seed) * spectrum(name, SIZE).sqrt() @ rotation(SIZE, seed + 1))

    @property
    def dense(self) -> Tensor:
        return self.factor @ self.factor.T

    def operator(self) -> GramOperator:
        return GramOperator(DenseOperator(self.factor, out_shape=SHAPE))


def sketch_of(size: int) -> Tensor | None:
    return orthonormalize(normal(size, *SHAPE, seed=10**6)) if size else None


def compression_of(
    matrix: Matrix, num_probes: int, *, sketch_size: int = 0, seed: int = 0, block_size: int = 16
) -> Compression:
    operator = matrix.operator()
    frame = random_frame(
        operator, num_probes, generator=seeded(seed), sketch=sketch_of(sketch_size)
    )
    return compress(operator, frame, block_size=block_size)


@pytest.mark.parametrize("sketch_size", [0, 1, 7, SIZE])
@pytest.mark.parametrize("num_probes", [SIZE, SIZE + 10])
@pytest.mark.parametrize("name", SPECTRA)
def test_every_quantity_is_exact_once_the_frame_fills_the_space(
    name: str, num_probes: int, sketch_size: int
) -> None:
    matrix, other = Matrix.of(name), Matrix.of("exponential", seed=4)
    compression = compression_of(matrix, num_probes, sketch_size=sketch_size)
    other_compression = compression_of(other, num_probes, sketch_size=sketch_size)
    values, dense = spectrum(name, SIZE), matrix.dense
    cosine = (dense * other.dense).sum() / (dense.norm() * other.dense.norm())
    cases = [
        (compression.trace(), values.sum()),
        (compression.frobenius_norm(), values.norm()),
        (compression.effective_rank(), values.sum() ** 2 / values.square().sum()),
        (compression.alignment(other_compression), cosine),
        (compression.alignment(compression), torch.ones(())),
    ]
    sketch = sketch_of(sketch_size)
    for direction in [] if sketch is None else sketch[:3].flatten(1):
        quotient = direction @ dense @ direction
        cases.append((compression.trace_share(quotient.item()), quotient / values.sum()))
    for estimate, exact in cases:
        assert estimate.value == pytest.approx(exact.item(), rel=1e-11)
        assert (estimate.standard_error, estimate.num_probes, estimate.method) == (0.0, 0, "exact")


@pytest.mark.parametrize("num_probes", [4, SIZE])
def test_zero_operator(num_probes: int) -> None:
    zero, other = Matrix(torch.zeros(SIZE, SIZE).double()), Matrix.of("flat")
    compression = compression_of(zero, num_probes, sketch_size=2)
    assert (compression.trace().value, compression.trace().standard_error) == (0.0, 0.0)
    assert (compression.frobenius_norm().value, compression.frobenius_norm().standard_error) == (
        0.0,
        0.0,
    )
    # 0 / 0
    assert math.isnan(compression.effective_rank().value)
    assert math.isnan(compression.trace_share(0.0).value)
    assert math.isnan(compression.alignment(compression_of(other, num_probes, sketch_size=2)).value)


@pytest.mark.parametrize("sketch_size", [0, 3])
@pytest.mark.parametrize("num_probes", [2, 3, 8])
@pytest.mark.parametrize("name", SPECTRA)
def test_ranges_are_never_left(name: str, num_probes: int, sketch_size: int) -> None:
    matrix, other = Matrix.of(name), Matrix.of("power_law", seed=4)
    for seed in range(100):
        first = compression_of(matrix, num_probes, sketch_size=sketch_size, seed=seed)
        second = compression_of(other, num_probes, sketch_size=sketch_size, seed=seed)
        assert 1.0 <= first.effective_rank().value <= SIZE
        assert 0.0 <= first.alignment(second).value <= 1.0
        assert first.alignment(first).value == pytest.approx(1.0, abs=1e-12)
        assert first.frobenius_norm().value > 0
        if sketch_size:
            assert 0.0 <= first.trace_share(first.gram[1, 1].item()).value <= 1.0


@pytest.mark.parametrize("sketch_size", [0, 5])
@pytest.mark.parametrize("name", ["power_law", "exponential", "low_rank"])
def test_trace_and_squared_norm_are_unbiased(name: str, sketch_size: int) -> None:
    """The mean of 2000 estimates of 6 probes is within 4.5 of its standard errors; false alarm 7e-6
    for each of 12 comparisons.
    """
    matrix, seeds = Matrix.of(name), 2000
    traces, squares = torch.empty(2, seeds, dtype=torch.float64)
    for seed in range(seeds):
        compression = compression_of(matrix, 6, sketch_size=sketch_size, seed=seed)
        traces[seed] = compression.trace().value
        squares[seed] = compression.frobenius_norm().value ** 2
    for estimates, exact in (
        (traces, matrix.dense.trace()),
        (squares, matrix.dense.square().sum()),
    ):
        deviation = (estimates.mean() - exact).abs().item()
        assert deviation < 4.5 * estimates.std().item() / seeds**0.5
        assert estimates.std() > 0


def test_flat_spectrum_is_exact_from_any_two_probes() -> None:
    compression = compression_of(Matrix.of("flat"), 2)
    assert compression.trace().value == pytest.approx(2.5 * SIZE, rel=1e-12)
    assert compression.effective_rank().value == pytest.approx(SIZE, rel=1e-12)


def test_gram_and_plain_operators_compress_alike() -> None:
    matrix = Matrix.of("exponential")
    operator = DenseOperator(matrix.dense, SHAPE, SHAPE)
    frame = random_frame(operator, 9, generator=seeded(), sketch=sketch_of(2))
    plain, gram = (
        compress(each, frame, block_size=4).gram for each in (operator, matrix.operator())
    )
    torch.testing.assert_close(plain, gram, rtol=0, atol=1e-13)
    assert torch.equal(plain, plain.T)


@pytest.mark.parametrize("block_size", [1, 4, 1000])
def test_block_size_changes_no_estimate(block_size: int) -> None:
    matrix = Matrix.of("power_law")
    first = compression_of(matrix, 9, sketch_size=3, block_size=7).effective_rank()
    second = compression_of(matrix, 9, sketch_size=3, block_size=block_size).effective_rank()
    assert second.value == pytest.approx(first.value, rel=1e-12)
    assert second.standard_error == pytest.approx(first.standard_error, rel=1e-9)
    assert second.num_probes == 9


def test_dimension_counts_sketch_and_complement() -> None:
    assert compression_of(Matrix.of("flat"), 4, sketch_size=7).dimension == SIZE


def test_alignment_refuses_different_frames() -> None:
    first, second = (compression_of(Matrix.of("flat"), num_probes) for num_probes in (4, 5))
    with pytest.raises(ValueError, match=r"num_probes=4.*num_probes=5"):
        first.alignment(second)
