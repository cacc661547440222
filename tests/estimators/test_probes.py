from __future__ import annotations

import pytest
import torch
from oracles import normal, relative_error, rotation, seeded
from torch import Tensor

from kpflow_cli.estimators.probes import (
    extend,
    gaussian_block,
    orthonormalize,
    probe_block_size,
    random_frame,
    range_sketch,
)
from kpflow_cli.operators import DenseOperator, GramOperator


def identity_operator(*shape: int, dtype: torch.dtype = torch.float64) -> DenseOperator:
    return DenseOperator(torch.eye(torch.Size(shape).numel(), dtype=dtype), shape, shape)


def assert_orthonormal(vectors: Tensor, tolerance: float = 1e-13) -> None:
    flat = vectors.flatten(1)
    torch.testing.assert_close(
        flat @ flat.T, torch.eye(len(flat), dtype=flat.dtype), rtol=0, atol=tolerance
    )


@pytest.mark.parametrize(
    ("out_size", "in_size", "dtype", "block_size"),
    [
        (2**20, 2**20, torch.float64, 8),
        (2**20, 2**20, torch.float32, 16),
        (2**20, 3 * 2**20, torch.float64, 4),
        (2, 2**26, torch.float64, 1),
        (3, 2, torch.float64, 64),
    ],
)
def test_a_block_and_its_image_take_at_most_128_mib(
    out_size: int, in_size: int, dtype: torch.dtype, block_size: int
) -> None:
    # one number, seen as a matrix
    matrix = torch.zeros(1, dtype=dtype).expand(out_size, in_size)
    assert probe_block_size(DenseOperator(matrix)) == block_size


# 60 dimensions: Cholesky QR up to 15 vectors, Householder QR beyond
@pytest.mark.parametrize("sketch_size", [0, 1, 4])
@pytest.mark.parametrize("num_probes", [1, 2, 11, 15, 16, 40])
def test_random_frame_is_orthonormal_and_keeps_the_sketch(
    num_probes: int, sketch_size: int
) -> None:
    sketch = orthonormalize(normal(sketch_size, 3, 4, 5, seed=1)) if sketch_size else None
    frame = random_frame(identity_operator(3, 4, 5), num_probes, generator=seeded(), sketch=sketch)
    assert frame.vectors.shape == (sketch_size + num_probes, 3, 4, 5)
    assert (frame.sketch_size, frame.num_probes) == (sketch_size, num_probes)
    assert frame.complement_size == 60 - sketch_size
    assert_orthonormal(frame.vectors)
    if sketch is not None:
        signs = (frame.vectors[:sketch_size] * sketch).sum((1, 2, 3)).sign().reshape(-1, 1, 1, 1)
        assert relative_error(signs * frame.vectors[:sketch_size], sketch) < 1e-13


@pytest.mark.parametrize("shape", [(1,), (1, 1, 1), (1, 3), (5, 1, 2)])
@pytest.mark.parametrize("sketch_size", [0, 1])
def test_frame_stops_where_the_space_ends(shape: tuple[int, ...], sketch_size: int) -> None:
    operator = identity_operator(*shape)
    sketch = orthonormalize(normal(1, *shape, seed=1)) if sketch_size else None
    frame = random_frame(operator, 100, generator=seeded(), sketch=sketch)
    assert len(frame.vectors) == operator.in_size
    assert frame.num_probes == frame.complement_size
    assert_orthonormal(frame.vectors)


@pytest.mark.parametrize("num_probes", [3, 40])
def test_float32_frame_is_orthonormal_to_its_precision(num_probes: int) -> None:
    frame = random_frame(identity_operator(60, dtype=torch.float32), num_probes, generator=seeded())
    assert frame.vectors.dtype == torch.float32
    assert_orthonormal(frame.vectors, 2e-6)


@pytest.mark.parametrize("num_probes", [5, 40])
def test_probes_depend_on_the_generator_alone(num_probes: int) -> None:
    operator = identity_operator(60)
    global_state = torch.get_rng_state()
    try:
        torch.manual_seed(1)
        first = random_frame(operator, num_probes, generator=seeded(3)).vectors
        torch.manual_seed(2)
        again = random_frame(operator, num_probes, generator=seeded(3)).vectors
    finally:
        torch.set_rng_state(global_state)
    assert torch.equal(first, again)
    assert not torch.allclose(
        first, random_frame(operator, num_probes, generator=seeded(4)).vectors
    )


def test_drawing_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    random_frame(identity_operator(60), 5, generator=seeded())
    assert torch.equal(torch.get_rng_state(), before)


def test_probes_lean_to_no_direction() -> None:
    """Probes average to a projection: sum_i x_i x_i^T over 3000 frames of 2 in 8 dimensions is I/4
    a frame.

    Each diagonal entry (s.d. below 0.004, from x_j^2 of variance below 0.02 twice) within 5 s.d.:
    false alarm below 1e-5.
    """
    frames = torch.cat(
        [
            random_frame(identity_operator(8), 2, generator=seeded(seed)).vectors
            for seed in range(3000)
        ]
    )
    mean = frames.T @ frames / 3000
    assert (mean - torch.eye(8, dtype=torch.float64) / 4).abs().max() < 0.02


def test_gaussian_block_has_the_operator_shape_and_dtype() -> None:
    operator = DenseOperator(torch.zeros(2, 6), (3, 2), (2,))
    drawn = gaussian_block(operator, 7, seeded())
    assert drawn.shape == (7, 3, 2)
    assert drawn.dtype == torch.float32
    assert torch.equal(drawn, torch.randn(7, 3, 2, generator=seeded()))


@pytest.mark.parametrize("size", [4, 9, 100])
def test_range_sketch_spans_a_low_rank_range(size: int) -> None:
    factor = normal(30, 4)
    operator = GramOperator(DenseOperator(factor, out_shape=(5, 6)))
    sketch = range_sketch(operator, size, generator=seeded())
    assert sketch.shape == (min(size, 30), 5, 6)
    assert_orthonormal(sketch)
    flat = sketch.flatten(1)
    assert relative_error(flat.T @ (flat @ factor), factor) < 1e-12


def test_range_sketch_is_near_the_leading_eigenspace() -> None:
    values = torch.cat([torch.tensor([100.0, 50.0, 30.0]), torch.full((27,), 0.01)]).double()
    eigenvectors = rotation(30)
    operator = DenseOperator(eigenvectors * values @ eigenvectors.T)
    flat = range_sketch(operator, 5, generator=seeded())
    leading = eigenvectors[:, :3]
    assert relative_error(flat.T @ (flat @ leading), leading) < 1e-2


def test_extend_adds_what_is_new_and_leaves_out_what_is_not() -> None:
    basis = orthonormalize(normal(2, 3, 4, seed=1))
    fresh = orthonormalize(torch.cat([basis, normal(2, 3, 4, seed=2)]))[2:]
    known = (0.6 * basis[0] + 0.8 * basis[1]).unsqueeze(0)
    nearly_known = known + 1e-4 * fresh[:1]
    mixed = (known + fresh[:1]) / 2**0.5
    extended = extend(basis, torch.cat([mixed, known, nearly_known, fresh[1:]]))
    assert extended.shape == (4, 3, 4)
    assert_orthonormal(extended)
    flat, target = extended.flatten(1), torch.cat([basis, fresh]).flatten(1)
    assert relative_error(target @ flat.T @ flat, target) < 1e-12
    first = (extended[:2] * basis).sum((1, 2)).abs()
    torch.testing.assert_close(first, torch.ones_like(first), rtol=0, atol=1e-13)


def test_extend_by_what_is_known_already_adds_nothing() -> None:
    basis = orthonormalize(normal(3, 12, seed=1))
    assert extend(basis, basis[1:]).shape == basis.shape
