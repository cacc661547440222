"""Leading eigenpairs and singular triplets of large operators by randomized block Krylov iteration,
certified by their residuals.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kpflow_cli.estimators.probes import gaussian_block
from kpflow_cli.operators.base import LinearOperator
from kpflow_cli.operators.gram import GramOperator


@dataclass(frozen=True)
class LeadingEigenpairs:
    """Ritz pairs of a symmetric operator A, descending: every value is a lower bound of the
    eigenvalue of its index.

    Attributes:
        values: ``(count,)`` float64.
        vectors: orthonormal, ``(count, *shape)``.
        residuals: ||A q - value q|| of each pair, ``(count,)`` float64; some eigenvalue lies within
            it of the value.
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor


@dataclass(frozen=True)
class LeadingTriplets:
    """Singular triplets A v = s u, A^* u = s v, descending: every value is a lower bound of the
    singular value of its index.

    Attributes:
        values: s, ``(count,)`` float64.
        left: u, orthonormal, ``(count, *out_shape)``.
        right: v = A^* u / s, ``(count, *in_shape)``; 0 where s is 0.
        residuals: ||A v - s u|| / sqrt(2) of each, ``(count,)`` float64; some singular value lies
            within it of the value.
    """

    values: Tensor
    left: Tensor
    right: Tensor
    residuals: Tensor


def leading_singular_triplets(
    operator: LinearOperator,
    count: int,
    *,
    krylov_block: int | None = None,
    krylov_depth: int = 10,
    generator: torch.Generator | None = None,
) -> LeadingTriplets:
    """The ``count`` leading singular triplets of any operator A, from the leading eigenpairs of
    A A^*.

    Args:
        operator: A, of any shape.
        count, krylov_block, krylov_depth, generator: as for ``leading_eigenpairs``.

    Returns:
        Values, descending, each a lower bound; orthonormal ``left`` vectors, ``right`` vectors;
        ``residuals`` that bound the error of the values.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> triplets = kp.leading_singular_triplets(kp.DenseOperator(torch.ones(4, 9)), 1)
        >>> triplets.values.round(decimals=5).tolist()
        [6.0]
    """
    pairs = leading_eigenpairs(
        GramOperator(operator),
        count,
        krylov_block=krylov_block,
        krylov_depth=krylov_depth,
        generator=generator,
    )
    values = pairs.values.sqrt()
    images = operator.adjoint_matblock(pairs.vectors)
    scale = torch.where(values > 0, 1 / values, 0.0).to(images.dtype)
    # A v - s u = (A A^* u - s^2 u) / s
    residuals = torch.where(values > 0, pairs.residuals / values, 0.0) / 2**0.5
    return LeadingTriplets(
        values, pairs.vectors, images * scale.reshape(-1, *(1,) * len(operator.in_shape)), residuals
    )


def leading_eigenpairs(
    operator: LinearOperator,
    count: int,
    *,
    krylov_block: int | None = None,
    krylov_depth: int = 10,
    generator: torch.Generator | None = None,
) -> LeadingEigenpairs:
    """The ``count`` leading eigenpairs of a symmetric A from the Krylov space of a Gaussian block,
    span(G, A G, ..., A^(depth-1) G).

    Rayleigh-Ritz on the whole space, fully reorthogonalized (Musco and Musco 2015). Costs
    ``krylov_block * krylov_depth + count`` products and as many state vectors of memory. Where A is
    block diagonal over its leading axis, one product serves a Krylov space of each block.

    Args:
        operator: A, symmetric.
        count: pairs wanted; fewer come back where the spaces are smaller.
        krylov_block: vectors of G, None for two more than ``count``.
        krylov_depth: products of each.
        generator: source of the draws, None for a fresh one of seed 0.

    Returns:
        Values, descending, each a lower bound; orthonormal ``vectors``; ``residuals`` that bound
        the error of the values.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> pairs = kp.leading_eigenpairs(kp.DenseOperator(torch.diag(torch.arange(9.0))), 2)
        >>> pairs.values.round(decimals=3).tolist(), pairs.vectors.shape
        ([8.0, 7.0], torch.Size([2, 9]))
    """
    generator = generator or torch.Generator().manual_seed(0)
    summands = operator.in_shape[0] if operator.block_diagonal else 1
    dimension = operator.in_size // summands
    factor = operator.gram_factor
    image_size = dimension if factor is None else factor.in_size // summands

    def by_summand(block: Tensor) -> Tensor:
        return block.reshape(len(block), summands, -1).transpose(0, 1)

    def as_block(rows: Tensor) -> Tensor:
        return rows.transpose(0, 1).reshape(-1, *operator.in_shape)

    start = min(krylov_block or count + 2, dimension)
    basis_size = min(start * krylov_depth, dimension)
    basis = torch.empty(
        summands, basis_size, dimension, dtype=operator.dtype, device=operator.device
    )
    # F^* of the basis where A = F F^*: the projection of A is then positive semi-definite; else A
    # of it
    images = torch.empty(
        summands, basis_size, image_size, dtype=operator.dtype, device=operator.device
    )
    rows = by_summand(gaussian_block(operator, start, generator))
    for size in range(0, basis_size, start):
        added = slice(size, min(size + start, basis_size))
        basis[:, added] = _orthonormalize_against(basis[:, :size], rows[:, : basis_size - size])
        block = as_block(basis[:, added])
        image = operator.matblock(block) if factor is None else factor.adjoint_matblock(block)
        images[:, added] = by_summand(image)
        if added.stop < basis_size:
            rows = by_summand(image if factor is None else factor.matblock(image)).contiguous()
    gram = (images if factor is not None else basis) @ images.mT
    return _rayleigh_ritz(operator, basis, gram.double(), count)


def _orthonormalize_against(basis: Tensor, rows: Tensor) -> Tensor:
    """Orthonormal rows ``(S, m, N)``, orthogonal to the basis ``(S, k, N)`` as well, that span what
    ``rows`` add to it; works in place.

    Where they add nothing, as past the rank of the operator, the place is filled with other
    directions.
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


def _rayleigh_ritz(
    operator: LinearOperator, basis: Tensor, gram: Tensor, count: int
) -> LeadingEigenpairs:
    """Ritz pairs from bases ``(S, m, N)`` and the projections of A onto them ``(S, m, m)``, the
    leading ones of all summands together.
    """
    ritz_values, rotations = torch.linalg.eigh((gram + gram.mT) / 2)
    values, order = ritz_values.flatten().sort(descending=True, stable=True)
    values, order = values[:count], order[:count]
    if operator.gram_factor is not None:
        values = values.clamp_min(0)
    vectors = basis.new_zeros(len(order), *basis.shape[::2])
    for summand in range(len(basis)):
        rank = (order // len(gram[0]) == summand).nonzero().squeeze(1)
        rotation = rotations[summand][:, order[rank] % len(gram[0])].to(basis.dtype)
        vectors[rank, summand] = rotation.T @ basis[summand]
    vectors = vectors.reshape(-1, *operator.in_shape)
    differences = (
        operator.matblock(vectors).flatten(1).double()
        - values.unsqueeze(1) * vectors.flatten(1).double()
    )
    return LeadingEigenpairs(values, vectors, differences.norm(dim=1))
