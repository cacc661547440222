"""Trace, Frobenius norm and effective rank of a positive semi-definite operator from what pairs of frame vectors contribute to them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.totals import Sampling, Total, pair_total, vector_total


@dataclass(frozen=True)
class PairStatistics:
    """What the vectors of a frame contribute to tr A and their pairs to ||A||_F^2.

    Attributes:
        contributions: to tr A by vector, ``(r + k,)`` float64.
        pairs: to ||A||_F^2 by pair of vectors, ``(r + k, r + k)`` float64.
        dimension: size of A.
        sampling: how the frame samples its basis.
    """

    contributions: Tensor
    pairs: Tensor
    dimension: int
    sampling: Sampling

    def trace_total(self) -> Total:
        """tr A with its replicates."""
        return vector_total(self.contributions, self.sampling)

    def trace(self) -> Estimate:
        """tr A; unbiased."""
        return self.trace_total().estimate()

    def trace_share(self, part: float) -> Estimate:
        """``part`` / tr A within [0, 1], of a part of the trace that lies in the frame's sketch, such as a Rayleigh quotient."""
        return (part / self.trace_total()).estimate(upper=1.0)

    def squared_norm_total(self) -> Total:
        """||A||_F^2 with its replicates."""
        return pair_total(self.pairs, self.sampling)

    def frobenius_norm(self) -> Estimate:
        """||A||_F, the square root of the unbiased estimate of ||A||_F^2."""
        return self.squared_norm_total().sqrt().estimate()

    def effective_rank(self) -> Estimate:
        """Participation ratio tr(A)^2 / ||A||_F^2, within [1, dimension].

        Numerator and denominator are totals over the same pairs of vectors, d_i d_j over P_ij, so the ratio is at least 1 by the
        Cauchy-Schwarz inequality.
        """
        squared_trace = pair_total(torch.outer(self.contributions, self.contributions), self.sampling)
        return (squared_trace / self.squared_norm_total()).estimate(lower=1.0, upper=self.dimension)
