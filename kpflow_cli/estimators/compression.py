"""Symmetric operators compressed onto a shared frame: what products F^* x alone tell of
A = F F^*.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.frame_statistics import PairStatistics
from kpflow_cli.estimators.probes import Frame, probe_block_size
from kpflow_cli.estimators.totals import pair_total
from kpflow_cli.operators.base import LinearOperator


@dataclass(frozen=True)
class Compression(PairStatistics):
    """<x_i, A x_j> of a symmetric positive semi-definite operator A on a frame x: ``gram``, ``(r +
    k, r + k)`` float64.
    """

    gram: Tensor

    def alignment(self, other: Compression) -> Estimate:
        """cos(A, C) = <A, C>_F / (||A||_F ||C||_F) with an operator compressed onto the same frame,
        within [0, 1].

        All three inner products are totals over the same pairs, hence at most 1 by the
        Cauchy-Schwarz inequality. Raises ValueError if the two do not share a frame.
        """
        if self.sampling != other.sampling:
            raise ValueError(
                f"the operators were compressed onto different frames: {self.sampling}, "
                f"{other.sampling}"
            )
        norms = (self.squared_norm_total() * other.squared_norm_total()).sqrt()
        return (pair_total(self.gram * other.gram, self.sampling) / norms).estimate(
            lower=0.0, upper=1.0
        )


def compress(
    operator: LinearOperator, frame: Frame, *, block_size: int | None = None
) -> Compression:
    """The compression of a symmetric operator onto a frame, ``block_size`` vectors at a time; one
    product a vector.

    An operator with a ``gram_factor`` F is compressed by one-sided products F^* x alone.
    """
    return compression_of(operator, frame, images(operator, frame.vectors, block_size=block_size))


def images(operator: LinearOperator, vectors: Tensor, *, block_size: int | None = None) -> Tensor:
    """F^* x of each vector where A = F F^*, else A x, ``(m, ...)`` flattened."""
    factor = operator.gram_factor
    size = block_size or probe_block_size(factor or operator)
    product = operator.matblock if factor is None else factor.adjoint_matblock
    return torch.cat([product(part).flatten(1) for part in vectors.split(size)])


def compression_of(operator: LinearOperator, frame: Frame, of_vectors: Tensor) -> Compression:
    """The compression from the ``images`` of a frame's vectors."""
    others = of_vectors if operator.gram_factor is not None else frame.vectors.flatten(1)
    gram = (others @ of_vectors.T).double()
    gram = (gram + gram.T) / 2
    return Compression(gram.diagonal(), operator.in_size, frame.sampling, gram.square(), gram)
