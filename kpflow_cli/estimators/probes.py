"""Random probe vectors: frames, part of a uniformly random orthonormal basis."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kpflow_cli.estimators.totals import Sampling
from kpflow_cli.operators.base import LinearOperator

_BLOCK_BYTES = 2**27


@dataclass(frozen=True)
class Frame:
    """Orthonormal vectors of a space: first a chosen sketch, then random probes, uniform in the
    sketch's complement.

    Attributes:
        vectors: ``(sketch_size + num_probes, *shape)``.
        sketch_size: how many leading vectors were chosen, not drawn.
    """

    vectors: Tensor
    sketch_size: int

    @property
    def num_probes(self) -> int:
        """Number of random vectors."""
        return len(self.vectors) - self.sketch_size

    @property
    def sampling(self) -> Sampling:
        """How the frame samples its basis."""
        return Sampling(self.sketch_size, self.num_probes, self.complement_size)

    @property
    def complement_size(self) -> int:
        """Dimension of the sketch's orthogonal complement, which the probes sample."""
        return math.prod(self.vectors.shape[1:]) - self.sketch_size


def orthonormalize(block: Tensor) -> Tensor:
    """Orthonormal basis, ``(m, *shape)``, of the span of a block of m vectors of at least m
    dimensions (Householder QR).
    """
    basis = torch.linalg.qr(block.flatten(1).T).Q
    return basis.T.contiguous().reshape(block.shape)


def _orthonormalize_random(block: Tensor) -> Tensor:
    """``orthonormalize`` for orthonormal vectors followed by Gaussian ones; may work in place.

    Few of them in many dimensions are nearly orthogonal already (condition number below 3), so that
    one Cholesky QR is as accurate and several times faster.
    """
    if block[0].numel() < 4 * len(block):
        return orthonormalize(block)
    columns = block.flatten(1).T
    triangle = torch.linalg.cholesky((columns.T @ columns).double(), upper=True).to(block.dtype)
    torch.linalg.solve_triangular(triangle, columns, upper=True, left=False, out=columns)
    return block


def gaussian_block(operator: LinearOperator, count: int, generator: torch.Generator) -> Tensor:
    """``(count, *in_shape)`` standard normal vectors; drawn on the CPU, so that devices agree."""
    drawn = torch.randn(count, *operator.in_shape, dtype=operator.dtype, generator=generator)
    return drawn.to(operator.device)


def random_frame(
    operator: LinearOperator,
    num_probes: int,
    *,
    generator: torch.Generator,
    sketch: Tensor | None = None,
) -> Frame:
    """A frame of the operator's domain with ``num_probes`` random vectors, or as many as there are
    dimensions left.

    ``sketch``, ``(r, *in_shape)``, holds orthonormal vectors to put first (their signs may change).
    A frame that fills the space makes every estimate exact.
    """
    sketch_size = 0 if sketch is None else len(sketch)
    block = gaussian_block(operator, min(sketch_size + num_probes, operator.in_size), generator)
    if sketch is not None:
        block[:sketch_size] = sketch
    return Frame(_orthonormalize_random(block), sketch_size)


def grow(frame: Frame, num_probes: int, *, generator: torch.Generator) -> Frame:
    """The frame with ``num_probes`` more random vectors, or as many as there are dimensions left,
    orthogonal to those it has.
    """
    known = frame.vectors.flatten(1)
    count = min(num_probes, known.shape[1] - len(known))
    if count == 0:
        return frame
    drawn = torch.randn(count, known.shape[1], dtype=known.dtype, generator=generator).to(
        known.device
    )
    # twice is enough: what rounding leaves of the known directions is removed by the second pass
    for _ in range(2):
        drawn = drawn.addmm(drawn @ known.T, known, alpha=-1)
        drawn = _orthonormalize_random(drawn)
    return Frame(
        torch.cat([frame.vectors, drawn.reshape(count, *frame.vectors.shape[1:])]),
        frame.sketch_size,
    )


def probe_block_size(operator: LinearOperator) -> int:
    """Vectors to multiply at once: as many as make a block of them and its image 128 MiB, from 1 to
    64.
    """
    vector_bytes = (operator.in_size + operator.out_size) * torch.empty(
        0, dtype=operator.dtype
    ).element_size()
    return max(1, min(_BLOCK_BYTES // max(vector_bytes, 1), 64))


def range_sketch(operator: LinearOperator, size: int, *, generator: torch.Generator) -> Tensor:
    """Orthonormal vectors ``(min(size, dimension), *shape)`` near the leading eigenspace of a
    symmetric operator A: the span of A times a Gaussian block (Hutch++; Meyer, Musco, Musco and
    Woodruff 2021).
    """
    drawn = gaussian_block(operator, min(size, operator.in_size), generator)
    return orthonormalize(operator.matblock(drawn))


def extend(basis: Tensor, vectors: Tensor) -> Tensor:
    """Orthonormal ``basis`` ``(r, *shape)`` followed by an orthonormal basis of what ``vectors``
    ``(m, *shape)`` add to its span.

    Directions less than 1e-3 of a unit vector out of the span are left out.
    """
    known, rows = basis.flatten(1), vectors.flatten(1)
    rows = rows - (rows @ known.T) @ known
    squared_lengths, rotation = torch.linalg.eigh((rows @ rows.T).double())
    kept = squared_lengths > 1e-6
    added = (rotation[:, kept] / squared_lengths[kept].sqrt()).T.to(rows.dtype) @ rows
    return orthonormalize(torch.cat([known, added])).reshape(-1, *basis.shape[1:])
