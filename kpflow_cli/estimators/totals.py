"""Totals over a whole orthonormal basis, estimated from a frame, with leave-one-probe-out replicates for their errors.

A trace is a sum over the vectors of any orthonormal basis, a squared Frobenius norm or inner product is a sum over the pairs of them. A
frame is a random part of such a basis (all of its sketch, ``num_probes`` of the rest), so sampling theory gives unbiased totals: each probe
stands for D'/k vectors and each pair of different probes for D'(D'-1)/(k(k-1)) pairs, D' the dimension of the sketch's complement. A frame
that is the whole basis gives the exact value. Standard errors are the jackknife's over the k probes, with the factor 1 - k/D' of sampling
without replacement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from kpflow_cli.estimators.estimate import Estimate


@dataclass(frozen=True)
class Sampling:
    """How a frame samples its basis: sketch size r, probes k, complement dimension D'."""

    sketch_size: int
    num_probes: int
    complement_size: int

    @property
    def exhaustive(self) -> bool:
        """Whether the frame is the whole basis."""
        return self.num_probes == self.complement_size

    def vector_weight(self, num_probes: int) -> float:
        """Basis vectors that each of ``num_probes`` probes stands for."""
        if self.complement_size == 0:
            return 0.0
        return self.complement_size / num_probes if num_probes else math.nan

    def pair_weight(self, num_probes: int) -> float:
        """Ordered pairs of different basis vectors that each such pair of probes stands for."""
        if self.complement_size < 2:
            return 0.0
        pairs = num_probes * (num_probes - 1)
        return self.complement_size * (self.complement_size - 1) / pairs if pairs else math.nan


@dataclass(frozen=True)
class Total:
    """A statistic of the whole basis: its value, and its values with each probe left out in turn, ``(k,)`` float64."""

    value: float
    replicates: Tensor
    sampling: Sampling

    def __truediv__(self, other: Total) -> Total:
        value = self.value / other.value if other.value else math.nan
        return Total(value, self.replicates / other.replicates, self.sampling)

    def __mul__(self, other: Total) -> Total:
        return Total(self.value * other.value, self.replicates * other.replicates, self.sampling)

    def __rtruediv__(self, numerator: float) -> Total:
        value = numerator / self.value if self.value else math.nan
        return Total(value, numerator / self.replicates, self.sampling)

    def sqrt(self) -> Total:
        """Square root."""
        return Total(math.sqrt(self.value), self.replicates.sqrt(), self.sampling)

    def estimate(self, *, lower: float = 0.0, upper: float = math.inf) -> Estimate:
        """The value with its jackknife standard error, moved to the nearest end of [lower, upper] if it lies outside; NaN stays NaN."""
        value = self.value if math.isnan(self.value) else min(max(self.value, lower), upper)
        if self.sampling.exhaustive:
            return Estimate(value)
        probes = self.sampling.num_probes
        spread = ((self.replicates - self.replicates.mean()) ** 2).sum().item() * (probes - 1) / probes
        error = math.sqrt(spread * (1 - probes / self.sampling.complement_size))
        return Estimate(value, error, probes, "jackknife over probes")


def vector_total(contributions: Tensor, sampling: Sampling) -> Total:
    """Total over the basis of a contribution a vector, ``(r + k,)``: sum_i d_i."""
    contributions = contributions.double()
    probes = sampling.num_probes
    known = contributions[: sampling.sketch_size].sum()
    drawn = contributions[sampling.sketch_size :]
    value = known + sampling.vector_weight(probes) * drawn.sum()
    replicates = known + sampling.vector_weight(probes - 1) * (drawn.sum() - drawn)
    return Total(value.item(), replicates, sampling)


def pair_total(contributions: Tensor, sampling: Sampling) -> Total:
    """Total over the basis of a symmetric contribution an ordered pair, ``(r + k, r + k)``: sum_ij P_ij."""
    contributions = contributions.double()
    probes, size = sampling.num_probes, sampling.sketch_size
    known = contributions[:size, :size].sum()
    mixed = 2 * contributions[:size, size:].sum(0)
    drawn = contributions[size:, size:]
    diagonal = drawn.diagonal()
    partners = drawn.sum(1) - diagonal

    def total(mixed_sum: Tensor, diagonal_sum: Tensor, pair_sum: Tensor, count: int) -> Tensor:
        single, pair = sampling.vector_weight(count), sampling.pair_weight(count)
        return known + single * (mixed_sum + diagonal_sum) + pair * pair_sum

    value = total(mixed.sum(), diagonal.sum(), partners.sum(), probes)
    replicates = total(mixed.sum() - mixed, diagonal.sum() - diagonal, partners.sum() - 2 * partners, probes - 1)
    return Total(value.item(), replicates, sampling)
