"""Statistics of partial traces of J J^*: the ``trace`` reductions, basis independent (Fig. 7 of arXiv 2605.08746).

J maps parameter coordinates to states ``(B, T, n)``. With Y_i the image of a basis vector, as a matrix (kept axes, reduced axes), the
partial trace over the reduced axes is M = sum_i Y_i Y_i^T. So tr M is a sum over the basis vectors and tr(M)^2, ||M||_F^2 are sums over
their pairs, of ||Y_i||^2 ||Y_j||^2 and ||Y_i^T Y_j||_F^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.probes import Frame
from kpflow_cli.estimators.totals import Sampling, pair_total, vector_total
from kpflow_cli.operators.base import LinearOperator


@dataclass(frozen=True)
class PartialTrace:
    """What pairs of frame vectors contribute to the statistics of M.

    Attributes:
        squared_norms: ||Y_i||^2, ``(k,)`` float64.
        pairs: ||Y_i^T Y_j||_F^2, ``(k, k)`` float64.
        dimension: size of M.
    """

    squared_norms: Tensor
    pairs: Tensor
    dimension: int
    sampling: Sampling

    def trace(self) -> Estimate:
        """tr M = tr(J J^*)."""
        return vector_total(self.squared_norms, self.sampling).estimate()

    def frobenius_norm(self) -> Estimate:
        """||M||_F."""
        return pair_total(self.pairs, self.sampling).sqrt().estimate()

    def effective_rank(self) -> Estimate:
        """tr(M)^2 / ||M||_F^2, within [1, dimension]."""
        squared_trace = pair_total(torch.outer(self.squared_norms, self.squared_norms), self.sampling)
        ratio = squared_trace / pair_total(self.pairs, self.sampling)
        return ratio.estimate(lower=1.0, upper=self.dimension)


def partial_traces(
    factor: LinearOperator, frame: Frame, kept_axes: tuple[tuple[int, ...], ...], *, block_size: int
) -> tuple[PartialTrace, ...]:
    """The partial traces of J J^* that keep each of ``kept_axes`` in turn, from one forward product J x a frame vector.

    ``factor`` is J; axes are those of its ``out_shape``.
    """
    images = torch.cat([factor.matblock(part) for part in frame.vectors.split(block_size)])
    sampling = Sampling(frame.sketch_size, frame.num_probes, frame.complement_size)
    return tuple(_partial_trace(images, kept, sampling) for kept in kept_axes)


def _partial_trace(images: Tensor, kept: tuple[int, ...], sampling: Sampling) -> PartialTrace:
    reduced = [axis for axis in range(images.ndim - 1) if axis not in kept]
    rows = images.permute(0, *(axis + 1 for axis in (*kept, *reduced)))
    matrices = rows.flatten(1, len(kept)).flatten(2)
    pairs = _pair_products(matrices).double()
    return PartialTrace(matrices.double().square().sum((1, 2)), pairs, matrices.shape[1], sampling)


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
