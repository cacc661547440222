"""Trace, Frobenius norm, effective rank and alignment of positive semi-definite operators from what
the vectors of a frame contribute.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.totals import Sampling, Total, pair_total, vector_total


@dataclass(frozen=True)
class FrameStatistics(ABC):
    """Statistics of one operator A, all from one frame.

    Attributes:
        contributions: of each vector x to tr A, <x, A x>, ``(r + k,)`` float64.
        dimension: size of A.
        sampling: how the frame samples its basis.
    """

    contributions: Tensor
    dimension: int
    sampling: Sampling

    @abstractmethod
    def squared_norm_total(self) -> Total:
        """||A||_F^2 with its replicates."""

    def trace_total(self) -> Total:
        """tr A with its replicates."""
        return vector_total(self.contributions, self.sampling)

    def trace(self) -> Estimate:
        """tr A; unbiased."""
        return self.trace_total().estimate()

    def trace_share(self, part: float) -> Estimate:
        """``part`` / tr A within [0, 1], of a part of the trace that lies in the frame's sketch,
        such as a Rayleigh quotient.
        """
        return (part / self.trace_total()).estimate(upper=1.0)

    def frobenius_norm(self) -> Estimate:
        """||A||_F, the square root of the unbiased estimate of ||A||_F^2."""
        return self.squared_norm_total().sqrt().estimate()

    def effective_rank(self) -> Estimate:
        """Participation ratio tr(A)^2 / ||A||_F^2, within [1, dimension]; tr(A)^2 is the unbiased
        total of products of contributions.
        """
        squared_trace = pair_total(
            torch.outer(self.contributions, self.contributions), self.sampling
        )
        return (squared_trace / self.squared_norm_total()).estimate(lower=1.0, upper=self.dimension)


@dataclass(frozen=True)
class VectorStatistics(FrameStatistics):
    """From the images A x of the frame's vectors: ``squares`` are ||A x||^2, ``(r +
    k,)`` float64.
    """

    squares: Tensor

    def squared_norm_total(self) -> Total:
        """||A||_F^2 = sum ||A x||^2 with its replicates."""
        return vector_total(self.squares, self.sampling)

    def alignment(self, other: VectorStatistics, products: Tensor) -> Estimate:
        """cos(A, C) = <A, C>_F / (||A||_F ||C||_F), from ``products`` <A x, C x>, ``(r + k,)``, on
        the frame of both.

        All three are totals over the same vectors, that is the cosine of two stacks of images: at
        most 1 by the Cauchy-Schwarz inequality. Raises ValueError if the two do not share a frame.
        """
        if self.sampling != other.sampling:
            raise ValueError(
                f"the operators were multiplied with different frames: {self.sampling}, "
                f"{other.sampling}"
            )
        norms = (self.squared_norm_total() * other.squared_norm_total()).sqrt()
        return (vector_total(products, self.sampling) / norms).estimate(lower=0.0, upper=1.0)

    def random_alignment(self, other: VectorStatistics) -> Estimate:
        """cos(A, U C U^T) on average over all rotations U: tr(A) tr(C) / (N ||A||_F ||C||_F), what
        an operator of C's spectrum but with an unrelated basis gives.
        """
        traces = self.trace_total() * other.trace_total()
        norms = (self.squared_norm_total() * other.squared_norm_total()).sqrt()
        return (traces / norms / self.dimension).estimate(upper=1.0)


@dataclass(frozen=True)
class PairStatistics(FrameStatistics):
    """From pairs of the frame's vectors: ``pairs`` holds what each contributes to ||A||_F^2, ``(r +
    k, r + k)`` float64.

    All that one-sided products F^* x of A = F F^* can tell; several times less certain than images
    A x for the same work.
    """

    pairs: Tensor

    def squared_norm_total(self) -> Total:
        """||A||_F^2 with its replicates."""
        return pair_total(self.pairs, self.sampling)
