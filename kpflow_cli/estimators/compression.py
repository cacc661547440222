"""Trace, Frobenius norm, effective rank and alignment of symmetric operators from their compression onto a shared frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.probes import Frame
from kpflow_cli.estimators.totals import Sampling, Total, pair_total, vector_total
from kpflow_cli.operators.base import LinearOperator


@dataclass(frozen=True)
class Compression:
    """<x_i, A x_j> of a symmetric positive semi-definite operator A on a frame x; ``(r + k, r + k)`` float64."""

    gram: Tensor
    sampling: Sampling

    @property
    def dimension(self) -> int:
        """Dimension of the operator's domain."""
        return self.sampling.sketch_size + self.sampling.complement_size


def compress(operator: LinearOperator, frame: Frame, *, block_size: int) -> Compression:
    """The compression of a symmetric operator onto a frame, ``block_size`` vectors at a time; one product a vector.

    A Gram operator F F^* is compressed by one-sided products F^* x alone.
    """
    sampling = Sampling(frame.sketch_size, frame.num_probes, frame.complement_size)
    gram = operator.compress(frame.vectors, block_size=block_size).double()
    return Compression((gram + gram.T) / 2, sampling)


def trace(compression: Compression) -> Estimate:
    """tr A; unbiased."""
    return trace_total(compression).estimate()


def trace_total(compression: Compression) -> Total:
    """tr A with its replicates."""
    return vector_total(compression.gram.diagonal(), compression.sampling)


def frobenius_norm(compression: Compression) -> Estimate:
    """||A||_F, the square root of the unbiased estimate of ||A||_F^2."""
    return _inner_product(compression, compression).sqrt().estimate()


def effective_rank(compression: Compression) -> Estimate:
    """Participation ratio tr(A)^2 / ||A||_F^2, within [1, dimension].

    Numerator and denominator are totals over the same pairs of probes, <x_i,A x_i><x_j,A x_j> over <x_i,A x_j>^2, so the ratio is at
    least 1 by the Cauchy-Schwarz inequality.
    """
    diagonal = compression.gram.diagonal()
    squared_trace = pair_total(torch.outer(diagonal, diagonal), compression.sampling)
    ratio = squared_trace / _inner_product(compression, compression)
    return ratio.estimate(lower=1.0, upper=compression.dimension)


def cosine_alignment(first: Compression, second: Compression) -> Estimate:
    """<A, C>_F / (||A||_F ||C||_F) of two operators compressed onto one frame, within [0, 1].

    All three inner products are totals over the same pairs, hence at most 1 by the Cauchy-Schwarz inequality. Raises ValueError if the two
    do not share a frame.
    """
    if first.sampling != second.sampling:
        raise ValueError(f"the operators were compressed onto different frames: {first.sampling}, {second.sampling}")
    norms = (_inner_product(first, first) * _inner_product(second, second)).sqrt()
    return (_inner_product(first, second) / norms).estimate(lower=0.0, upper=1.0)


def trace_fraction(compression: Compression, index: int) -> Estimate:
    """<q, A q> / tr A for the unit vector q that stands at ``index`` in the frame's sketch, within [0, 1].

    The Rayleigh quotient is exact; q being part of the sketch, it is also a part of the estimated trace.
    """
    return (compression.gram[index, index].item() / trace_total(compression)).estimate(upper=1.0)


def _inner_product(first: Compression, second: Compression) -> Total:
    """<A, C>_F; unbiased for operators on one frame."""
    return pair_total(first.gram * second.gram, first.sampling)
