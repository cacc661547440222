"""Statistics of partial traces of J J^*: the ``trace`` reductions, basis independent (Fig. 7 of
arXiv 2605.08746).

J maps parameter coordinates to states ``(B, T, n)``. With Y_i the image of a basis vector, as a
matrix (kept axes, reduced axes), the partial trace over the reduced axes is M = sum_i Y_i Y_i^T. So
tr M is a sum over the basis vectors and tr(M)^2, ||M||_F^2 are sums over their pairs, of ||Y_i||^2
||Y_j||^2 and ||Y_i^T Y_j||_F^2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.frame_statistics import PairStatistics
from kpflow_cli.estimators.probes import Frame, probe_block_size
from kpflow_cli.estimators.totals import pair_total, vector_total
from kpflow_cli.operators.base import LinearOperator

# of the rows of Gram matrices that are formed at a time
_GRAM_BYTES = 2**25


def partial_traces(
    factor: LinearOperator,
    frame: Frame,
    kept_axes: tuple[tuple[int, ...], ...],
    *,
    block_size: int | None = None,
) -> tuple[PairStatistics, ...]:
    """The partial traces of J J^* that keep each of ``kept_axes`` in turn, from one forward product
    J x a frame vector.

    ``factor`` is J; axes are those of its ``out_shape``.
    """
    blocks = frame.vectors.split(block_size or probe_block_size(factor))
    images = torch.cat([factor.matblock(block) for block in blocks])
    return tuple(partial_trace_of(images, kept, frame) for kept in kept_axes)


def partial_trace_matrices(
    factor: LinearOperator,
    frame: Frame,
    kept_axes: tuple[tuple[int, ...], ...],
    *,
    block_size: int | None = None,
) -> tuple[tuple[Tensor, Estimate], ...]:
    """The partial traces of J J^* that keep each of ``kept_axes``, as matrices, each with its
    trace; unbiased, entry by entry.

    Exact from a frame of all of J's domain.
    """
    size = block_size or probe_block_size(factor)
    weights = torch.full(
        (len(frame.vectors),),
        frame.sampling.vector_weight(frame.num_probes),
        dtype=factor.dtype,
        device=factor.device,
    )
    weights[: frame.sketch_size] = 1
    sums: list[Tensor | float] = [0.0] * len(kept_axes)
    contributions = []
    for part, weight in zip(frame.vectors.split(size), weights.split(size), strict=True):
        images = factor.matblock(part)
        contributions.append(images.flatten(1).double().square().sum(1))
        scaled = images * weight.sqrt().reshape(-1, *(1 for _ in factor.out_shape))
        for index, kept in enumerate(kept_axes):
            by_kept = _matrices(scaled, kept).transpose(0, 1).flatten(1)
            sums[index] = sums[index] + by_kept @ by_kept.T
    trace = vector_total(torch.cat(contributions), frame.sampling).estimate()
    return tuple((matrix, trace) for matrix in sums if isinstance(matrix, Tensor))


def partial_trace_of(images: Tensor, kept: tuple[int, ...], frame: Frame) -> PairStatistics:
    """One partial trace from the images ``(k, *shape)`` of a frame's vectors."""
    matrices = _matrices(images, kept)
    contributions = matrices.double().square().sum((1, 2))
    return PairStatistics(
        contributions, matrices.shape[1], frame.sampling, pair_products(matrices, matrices).double()
    )


def partial_trace_alignment(
    first: Tensor,
    first_frame: Frame,
    second: Tensor,
    second_frame: Frame,
    *,
    first_kept: tuple[int, ...],
    second_kept: tuple[int, ...],
) -> Estimate:
    """cos(M, M') of two partial traces from images of independent frames, ``(k, *shape)`` and
    ``(k', *shape')``, within [0, 1].

    <M, M'> is the sum of ||Y_i^T Y'_j||_F^2 over both bases. The error is that of both frames, each
    by its own jackknife.
    """
    matrices = _matrices(first, first_kept), _matrices(second, second_kept)
    cross = pair_products(*matrices).double()
    norms = [
        pair_total(pair_products(each, each), frame.sampling).sqrt()
        for each, frame in zip(matrices, (first_frame, second_frame), strict=True)
    ]
    variance = 0.0
    for by_vector, frame, other, norm, other_norm in (
        (cross, first_frame, second_frame, norms[0], norms[1].value),
        (cross.T, second_frame, first_frame, norms[1], norms[0].value),
    ):
        weights = torch.full(
            (len(other.vectors),),
            other.sampling.vector_weight(other.num_probes),
            dtype=torch.float64,
        )
        weights[: other.sketch_size] = 1
        cosine = vector_total(by_vector @ weights, frame.sampling) / norm
        variance += 0.0 if frame.sampling.exhaustive else cosine.variance() / other_norm**2
        value = min(max(cosine.value / other_norm, 0.0), 1.0)
    if first_frame.sampling.exhaustive and second_frame.sampling.exhaustive:
        return Estimate(value)
    return Estimate(
        value,
        math.sqrt(variance),
        min(first_frame.num_probes, second_frame.num_probes),
        "jackknife over both sets of probes",
    )


def _matrices(images: Tensor, kept: tuple[int, ...]) -> Tensor:
    """Images ``(k, *shape)`` as matrices (kept axes, reduced axes)."""
    reduced = [axis for axis in range(images.ndim - 1) if axis not in kept]
    rows = images.permute(0, *(axis + 1 for axis in (*kept, *reduced)))
    return rows.reshape(len(images), -1, *(images.shape[axis + 1] for axis in reduced)).flatten(2)


def pair_products(first: Tensor, second: Tensor) -> Tensor:
    """||Y_i^T Z_j||_F^2 = <Y_i Y_i^T, Z_j Z_j^T> for matrices ``(k, a, c)`` and ``(k', a, c')``, by
    the form of fewer operations.
    """
    (count, kept, reduced), (others, _, others_reduced) = first.shape, second.shape
    symmetric = first is second
    by_pairs = count * others * kept * reduced * others_reduced / (2 if symmetric else 1)
    by_grams = kept**2 * (
        count * reduced + (0 if symmetric else others * others_reduced) + count * others
    )
    return (
        _products_of_grams(first, second)
        if by_grams <= by_pairs
        else _products_of_pairs(first, second)
    )


def _products_of_grams(first: Tensor, second: Tensor) -> Tensor:
    """From Y_i Y_i^T and Z_j Z_j^T, some of their rows at a time: all of them may be more numbers
    than the matrices themselves.
    """
    products = first.new_zeros(len(first), len(second))
    rows = max(
        1, _GRAM_BYTES // (max(first[:, :1, :1].nbytes, second[:, :1, :1].nbytes) * first.shape[1])
    )
    for start in range(0, first.shape[1], rows):
        part = slice(start, start + rows)
        grams = (first[:, part] @ first.mT).flatten(1)
        products.addmm_(
            grams, (grams if first is second else (second[:, part] @ second.mT).flatten(1)).T
        )
    return products


def _products_of_pairs(first: Tensor, second: Tensor) -> Tensor:
    products = first.new_empty(len(first), len(second))
    symmetric = first is second
    for index in range(len(first)):
        start = index if symmetric else 0
        squares = (second[start:].mT @ first[index]).square().sum((1, 2))
        products[index, start:] = squares
        if symmetric:
            products[start:, index] = squares
    return products
