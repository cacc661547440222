"""Traces of square operators from products with random vectors: Hutchinson, Hutch++, XTrace and
XNysTrace.

Each takes ``num_probes``, the number of products with the operator A of dimension N, and returns an
Estimate that is exact where they span the space, ``num_probes >= N``. Fewer products than an error
needs raise ValueError, as does an operator that is not square. For an A = F F^* that has a
``gram_factor``, products that serve a quadratic form alone are one-sided, <z, A z> = ||F^* z||^2,
and count as one; the forward-mode form, ||F z||^2, is the same function at F^* F. Vectors come from
``generator`` alone, products are taken in whole blocks.

The error of Hutchinson's estimate falls as k^(-1/2) of k products; the others capture the leading
eigenvalues first and leave the rest alone to chance. ``num_probes`` of the Estimate is the number
of random vectors that are averaged over: k, k - 2 k // 3, k // 2 and k.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.probes import gaussian_block, range_sketch
from kpflow_cli.operators.base import LinearOperator


def hutchinson_trace(
    operator: LinearOperator, num_probes: int, *, generator: torch.Generator
) -> Estimate:
    """Mean of <z_i, A z_i> over k = ``num_probes`` standard normal vectors z_i; unbiased (Girard
    1989, Hutchinson 1990). Its variance is 2 ||A||_F^2 / k for a symmetric A.

    Args:
        operator: A, square.
        num_probes: products with A, at least 2.
        generator: source of the draws.

    Returns:
        The estimate with its standard error, exact where the products span the space.

    Raises:
        ValueError: for an operator that is not square, or too few products.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> a = kp.DenseOperator(torch.diag(torch.arange(1.0, 9.0)))
        >>> print(kp.hutchinson_trace(a, 8, generator=torch.Generator().manual_seed(0)))
        36 (exact)
    """
    if (exact := exact_trace(operator, num_probes, at_least=2)) is not None:
        return exact
    return mean_of_samples(
        operator,
        _quadratic_forms(operator, gaussian_block(operator, num_probes, generator)),
        "Hutchinson",
    )


def hutch_plus_plus_trace(
    operator: LinearOperator, num_probes: int, *, generator: torch.Generator
) -> Estimate:
    """tr(Q^* A Q) plus the mean of <z_i, A z_i> over vectors z_i orthogonal to Q; unbiased.

    Q is an orthonormal basis of A times a Gaussian block (Meyer, Musco, Musco and Woodruff 2021). A
    third of ``num_probes`` each goes into that product, into A Q and into the z_i, which are
    uniform on the sphere of squared radius N - rank Q.

    Args:
        operator: A, square.
        num_probes: products with A, at least 4.
        generator: source of the draws.

    Returns:
        The estimate with its standard error, exact where the products span the space.

    Raises:
        ValueError: for an operator that is not square, or too few products.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> a = kp.DenseOperator(torch.diag(torch.arange(1.0, 9.0)))
        >>> print(kp.hutch_plus_plus_trace(a, 8, generator=torch.Generator().manual_seed(0)))
        36 (exact)
    """
    if (exact := exact_trace(operator, num_probes, at_least=4)) is not None:
        return exact
    rank = num_probes // 3
    basis = range_sketch(operator, rank, generator=generator)
    flat = basis.flatten(1)
    rows = gaussian_block(operator, num_probes - 2 * rank, generator).flatten(1)
    rows -= (rows @ flat.T) @ flat
    rows *= math.sqrt(operator.in_size - rank) / rows.norm(dim=1, keepdim=True)
    known = _quadratic_forms(operator, basis).sum()
    return mean_of_samples(
        operator,
        known + _quadratic_forms(operator, rows.reshape(-1, *operator.in_shape)),
        "Hutch++",
    )


def exact_trace(operator: LinearOperator, num_probes: int, *, at_least: int) -> Estimate | None:
    """The exact trace if so many products span the space, None if they do not."""
    if operator.in_shape != operator.out_shape:
        raise ValueError(
            f"only a square operator has a trace; {operator} takes shape {operator.in_shape} to "
            f"{operator.out_shape}"
        )
    size = operator.in_size
    if num_probes >= size:
        identity = torch.eye(size, dtype=operator.dtype, device=operator.device)
        return Estimate(
            _quadratic_forms(operator, identity.reshape(size, *operator.in_shape)).sum().item()
        )
    if num_probes < at_least:
        raise ValueError(f"num_probes must be at least {at_least}, got {num_probes}")
    return None


def _quadratic_forms(operator: LinearOperator, block: Tensor) -> Tensor:
    """<z, A z> of each vector, ``(k,)`` float64."""
    factor = operator.gram_factor
    if factor is None:
        return (block * operator.matblock(block)).flatten(1).sum(1, dtype=torch.float64)
    return torch.linalg.vector_norm(
        factor.adjoint_matblock(block).flatten(1), dim=1, dtype=torch.float64
    ).square()


def mean_of_samples(operator: LinearOperator, samples: Tensor, method: str) -> Estimate:
    """Mean of k independent samples."""
    return estimate_from_samples(operator, samples, samples.var().item() / len(samples), method)


def estimate_from_samples(
    operator: LinearOperator, samples: Tensor, variance: float, method: str
) -> Estimate:
    """The mean of ``(k,)`` samples with its variance; of an A = F F^* it is not below 0."""
    value = samples.mean().item()
    return Estimate(
        value if operator.gram_factor is None else max(value, 0.0),
        math.sqrt(variance),
        len(samples),
        method,
    )
