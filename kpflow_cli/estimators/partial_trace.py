"""Statistics of partial traces of J J^*: the ``trace`` reductions, basis independent (Fig. 7 of arXiv 2605.08746).

J maps parameter coordinates to states ``(B, T, n)``. With Y_i the image of a basis vector, as a matrix (kept axes, reduced axes), the
partial trace over the reduced axes is M = sum_i Y_i Y_i^T. So tr M is a sum over the basis vectors and tr(M)^2, ||M||_F^2 are sums over
their pairs, of ||Y_i||^2 ||Y_j||^2 and ||Y_i^T Y_j||_F^2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kpflow_cli.estimators.pairs import PairStatistics
from kpflow_cli.estimators.probes import Frame, probe_block_size
from kpflow_cli.estimators.totals import Sampling
from kpflow_cli.operators.base import LinearOperator


def partial_traces(
    factor: LinearOperator, frame: Frame, kept_axes: tuple[tuple[int, ...], ...], *, block_size: int | None = None
) -> tuple[PairStatistics, ...]:
    """The partial traces of J J^* that keep each of ``kept_axes`` in turn, from one forward product J x a frame vector.

    ``factor`` is J; axes are those of its ``out_shape``.
    """
    size = block_size or probe_block_size(factor)
    images = torch.cat([factor.matblock(part) for part in frame.vectors.split(size)])
    return tuple(partial_trace_of(images, kept, frame) for kept in kept_axes)


def partial_trace_of(images: Tensor, kept: tuple[int, ...], frame: Frame) -> PairStatistics:
    """One partial trace from the images ``(k, *shape)`` of a frame's vectors."""
    reduced = [axis for axis in range(images.ndim - 1) if axis not in kept]
    rows = images.permute(0, *(axis + 1 for axis in (*kept, *reduced)))
    matrices = rows.reshape(len(images), -1, *(images.shape[axis + 1] for axis in reduced)).flatten(2)
    sampling = Sampling(frame.sketch_size, frame.num_probes, frame.complement_size)
    return PairStatistics(matrices.double().square().sum((1, 2)), _pair_products(matrices).double(), matrices.shape[1], sampling)


def _pair_products(matrices: Tensor) -> Tensor:
    """||Y_i^T Y_j||_F^2 = <Y_i Y_i^T, Y_j Y_j^T> for matrices ``(k, a, c)``, by whichever of the two forms is smaller."""
    count, kept, reduced = matrices.shape
    if kept <= reduced:
        grams = (matrices @ matrices.mT).flatten(1)
        return grams @ grams.T
    products = torch.empty(count, count, dtype=matrices.dtype, device=matrices.device)
    for index in range(count):
        later = matrices[index:].mT @ matrices[index]
        products[index, index:] = products[index:, index] = later.square().sum((1, 2))
    return products
