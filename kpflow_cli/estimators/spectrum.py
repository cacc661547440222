"""Leading eigenpairs of large symmetric operators by randomized block Krylov iteration."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kpflow_cli.estimators.probes import gaussian_block
from kpflow_cli.operators.gram import GramOperator


@dataclass(frozen=True)
class LeadingEigenpairs:
    """Ritz pairs of F F^*, descending: every value is a lower bound of the eigenvalue of its index.

    Attributes:
        values: ``(count,)`` float64.
        vectors: orthonormal, ``(count, *shape)``.
        residual: ||A q - value q|| of the first pair; some eigenvalue lies within it of the first value.
    """

    values: Tensor
    vectors: Tensor
    residual: float


def leading_eigenpairs(
    operator: GramOperator,
    count: int,
    *,
    krylov_block: int,
    krylov_depth: int,
    generator: torch.Generator,
    summands: int = 1,
) -> LeadingEigenpairs:
    """The ``count`` leading eigenpairs of A = F F^* from the Krylov space of a Gaussian block, span(G, A G, ..., A^(depth-1) G).

    Rayleigh-Ritz on the whole space, fully reorthogonalized (Musco and Musco 2015). Costs ``krylov_block * krylov_depth`` two-sided
    products and as many state vectors of memory. Where A is block diagonal over its leading axis, ``summands`` (the size of that axis)
    lets one product serve a Krylov space of each summand. Fewer pairs come back where the spaces are smaller than ``count``.
    """
    dimension = operator.in_size // summands
    factor = operator.factor

    def by_summand(block: Tensor) -> Tensor:
        return block.reshape(len(block), summands, -1).transpose(0, 1)

    def as_block(rows: Tensor) -> Tensor:
        return rows.transpose(0, 1).reshape(-1, *operator.in_shape)

    start = min(krylov_block, dimension)
    basis_size = min(start * krylov_depth, dimension)
    basis = torch.empty(summands, basis_size, dimension, dtype=operator.dtype, device=operator.device)
    images = torch.empty(summands, basis_size, factor.in_size // summands, dtype=operator.dtype, device=operator.device)
    rows = by_summand(gaussian_block(operator, start, generator))
    for size in range(0, basis_size, start):
        added = slice(size, min(size + start, basis_size))
        basis[:, added] = _orthonormalize_against(basis[:, :size], rows[:, : basis_size - size])
        image = factor.adjoint_matblock(as_block(basis[:, added]))
        images[:, added] = by_summand(image)
        if added.stop < basis_size:
            rows = by_summand(factor.matblock(image))
    return _rayleigh_ritz(operator, basis, images, count)


def _orthonormalize_against(basis: Tensor, rows: Tensor) -> Tensor:
    """Orthonormal rows ``(S, m, N)``, orthogonal to the basis ``(S, k, N)`` as well, that span what ``rows`` add to it; works in place.

    Where they add nothing, as past the rank of the operator, the place is filled with other directions.
    """
    precision = torch.finfo(rows.dtype).eps ** 0.5
    smallest = precision * rows.norm(dim=-1).max()
    for _ in range(3):
        # twice is enough (Parlett): what rounding leaves in the first pass is removed by the second
        for _ in range(2):
            rows.baddbmm_(rows @ basis.mT, basis, alpha=-1)
        orthonormal, triangle = torch.linalg.qr(rows.mT)
        rows = orthonormal.mT
        if triangle.diagonal(dim1=-2, dim2=-1).abs().min() > smallest:
            break
        # QR filled the place with vectors that may lie in the span of the basis: once more
        smallest = torch.full_like(smallest, precision)
    return rows


def _rayleigh_ritz(operator: GramOperator, basis: Tensor, images: Tensor, count: int) -> LeadingEigenpairs:
    """Ritz pairs from bases ``(S, m, N)`` and their images F^* ``(S, m, p)``, the leading ones of all summands together."""
    gram = (images @ images.mT).double()
    ritz_values, rotations = torch.linalg.eigh((gram + gram.mT) / 2)
    values, order = ritz_values.flatten().sort(descending=True, stable=True)
    values, order = values[:count].clamp_min(0), order[:count]
    vectors = basis.new_zeros(len(order), *basis.shape[::2])
    for summand in range(len(basis)):
        rank = (order // len(gram[0]) == summand).nonzero().squeeze(1)
        rotation = rotations[summand][:, order[rank] % len(gram[0])].to(basis.dtype)
        vectors[rank, summand] = rotation.T @ basis[summand]
    vectors = vectors.reshape(-1, *operator.in_shape)
    residual = (operator.matblock(vectors[:1]) - values[0].item() * vectors[:1]).double().norm().item()
    return LeadingEigenpairs(values, vectors, residual)
