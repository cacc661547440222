"""XTrace and XNysTrace: traces from products with random vectors, each vector left out in turn
(Epperly, Tropp and Webber 2024).

Conventions are those of ``trace_methods``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.probes import gaussian_block
from kpflow_cli.estimators.trace_methods import estimate_from_samples, exact_trace, mean_of_samples
from kpflow_cli.operators.base import LinearOperator


def xtrace(operator: LinearOperator, num_probes: int, *, generator: torch.Generator) -> Estimate:
    """Mean over i of t_i = tr(Q_i^* A Q_i) + c_i <r_i, A r_i>, with Q_i an orthonormal basis of A
    times all vectors but z_i; unbiased.

    r_i = (I - Q_i Q_i^*) z_i of a Gaussian z_i, and c_i sets its squared length to N - rank Q_i
    (Epperly, Tropp and Webber 2024). ``num_probes`` products serve k = ``num_probes // 2``
    vectors.

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
        >>> print(kp.xtrace(a, 8, generator=torch.Generator().manual_seed(0)))
        36 (exact)
    """
    if (exact := exact_trace(operator, num_probes, at_least=4)) is not None:
        return exact
    block = gaussian_block(operator, num_probes // 2, generator)
    probes = block.flatten(1)
    basis, images = torch.linalg.qr(operator.matblock(block).flatten(1).T)
    rows = basis.T.reshape(-1, *operator.in_shape)
    factor = operator.gram_factor
    if factor is None:
        products = operator.matblock(rows).flatten(1)
        compressed, crossed = (products @ basis).T, (products @ probes.T).double()
    else:
        products = factor.adjoint_matblock(rows).flatten(1)
        compressed, crossed = products @ products.T, images.double()
    squares = probes.double().square().sum(1)
    coordinates = (basis.T @ probes.T).double()
    samples, without = _xtrace_samples(
        compressed.double(), images.double(), crossed, coordinates, squares, operator.in_size
    )
    return _exchangeable_mean(operator, samples, without, "XTrace")


def xnystrace(operator: LinearOperator, num_probes: int, *, generator: torch.Generator) -> Estimate:
    """Mean over i of t_i = tr(A_i) + c_i <z_i, (A - A_i) z_i> for a positive semi-definite A;
    unbiased.

    A_i = Y (Z^* Y)^(-1) Y^*, Y = A Z, is the Nystrom approximation from all of k = ``num_probes``
    Gaussian vectors but z_i, and c_i sets the squared length of the part of z_i orthogonal to
    the others to N - k + 1 (Epperly, Tropp and Webber 2024). All of it for A + s I of a shift s at
    rounding level, whose trace s N is taken off. Where the products show that A is not positive
    semi-definite, ValueError is raised.

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
        >>> print(kp.xnystrace(a, 8, generator=torch.Generator().manual_seed(0)))
        36 (exact)
    """
    if (exact := exact_trace(operator, num_probes, at_least=2)) is not None:
        return exact
    block = gaussian_block(operator, num_probes, generator)
    probes = block.flatten(1)
    images = operator.matblock(block).flatten(1)
    precision = torch.finfo(operator.dtype).eps
    shift = precision * images.norm().item() / math.sqrt(operator.in_size)
    if shift == 0:
        return mean_of_samples(operator, torch.zeros(num_probes, dtype=torch.float64), "XNysTrace")
    images = images + shift * probes
    forms = (probes @ images.T).double()
    values, vectors = torch.linalg.eigh((forms + forms.T) / 2)
    if values[0] < -math.sqrt(precision) * values[-1].abs():
        raise ValueError(
            f"XNysTrace takes a positive semi-definite operator; {operator} has a quadratic form "
            f"of {values[0].item():.3g}"
        )
    roots = vectors / values.clamp_min(shift).sqrt()
    # through QR, for B^(1/2) Y^* Y B^(1/2) would square the condition of Y
    half = torch.linalg.qr(images.T, mode="r").R.double() @ roots
    lengths = torch.linalg.inv((probes @ probes.T).double())
    samples, without = _xnystrace_samples(half, roots, lengths, operator.in_size)
    known = half.square().sum() - shift * operator.in_size
    return _exchangeable_mean(operator, known + samples, known + without, "XNysTrace")


def _xtrace_samples(
    compressed: Tensor,
    images: Tensor,
    crossed: Tensor,
    coordinates: Tensor,
    squares: Tensor,
    dimension: int,
) -> tuple[Tensor, Tensor]:
    """XTrace's t_i, ``(k,)``, and what they are without z_j, ``(k, k)``; from Q^* A Q, Q^* A Z, Q^*
    A^* Z, Q^* Z and ||z_i||^2.

    Q_i spans what Q does but for a unit vector Q s_i; without z_j as well, also but for Q u_ij, the
    unit vector that s_j adds to s_i.
    """
    dropped = _dropped_directions(images)
    along = (dropped * coordinates).sum(0)
    # r_i = z_i - Q kept_i
    kept = coordinates - dropped * along
    squares = squares - kept.square().sum(0)
    forms = (
        along * (dropped * images).sum(0)
        - (crossed * kept).sum(0)
        + (kept * (compressed @ kept)).sum(0)
    )
    quotients = dropped.T @ compressed @ dropped
    first = quotients.diagonal()
    known = compressed.trace() - first
    free = dimension - len(compressed) + 1

    cosines = dropped.T @ dropped
    sines = (1 - cosines.square()).clamp_min(torch.finfo(torch.float64).eps).sqrt()

    def along_second(columns: Tensor) -> Tensor:
        products = columns.T @ dropped
        return (products - cosines * products.diagonal().unsqueeze(1)) / sines

    second = (
        first - cosines * (quotients + quotients.T) + cosines.square() * first.unsqueeze(1)
    ) / sines.square()
    lost = along_second(coordinates)
    slopes = along_second(images + crossed - (compressed + compressed.T) @ kept)
    forms_without = forms.unsqueeze(1) + lost * slopes + lost.square() * second
    squares_without = squares.unsqueeze(1) + lost.square()
    return known + free * forms / squares, known.unsqueeze(1) - second + (
        free + 1
    ) * forms_without / squares_without


def _dropped_directions(images: Tensor) -> Tensor:
    """Columns s_i, unit vectors orthogonal to every column of an upper triangular matrix but the
    i-th, ``(k, k)``.

    Where a column depends on the others there are many; a change of the matrix by rounding error
    alone singles one out.
    """
    scaled = images / (images.abs().max().item() or 1.0)
    diagonal = scaled.diagonal()
    smallest = torch.finfo(scaled.dtype).eps
    diagonal.copy_(torch.where(diagonal.abs() < smallest, smallest, diagonal))
    identity = torch.eye(len(scaled), dtype=scaled.dtype, device=scaled.device)
    return torch.nn.functional.normalize(
        torch.linalg.solve_triangular(scaled, identity, upper=True).T, dim=0
    )


def _xnystrace_samples(
    half: Tensor, roots: Tensor, lengths: Tensor, dimension: int
) -> tuple[Tensor, Tensor]:
    """XNysTrace's t_i, ``(k,)``, and what they are without z_j, ``(k, k)``, both less the trace of
    the whole Nystrom approximation.

    With B = (Z^* Y)^(-1) = R R^*, C = B Y^* Y B and D = (Z^* Z)^(-1), leaving out z_i takes C_ii /
    B_ii off the trace and leaves a form of 1 / B_ii, on a part of z_i of squared length 1 / D_ii.
    Leaving out z_j as well is the same with blocks of rows and columns i, j.
    """
    inverse, product = roots @ roots.T, half @ roots.T
    taken = product.T @ product
    free = dimension - len(lengths) + 1
    one, off, far = inverse.diagonal(), taken.diagonal(), lengths.diagonal()
    squares = one * one.unsqueeze(1)
    determinants = torch.maximum(
        squares - inverse.square(), torch.finfo(torch.float64).eps * squares
    )
    off_both = (
        one * off.unsqueeze(1) + one.unsqueeze(1) * off - 2 * inverse * taken
    ) / determinants
    forms_without = (far.unsqueeze(1) - lengths.square() / far) * one / determinants
    return (free * far - off) / one, (free + 1) * forms_without - off_both


def _exchangeable_mean(
    operator: LinearOperator, samples: Tensor, without: Tensor, method: str
) -> Estimate:
    """Mean of k samples t_i that share their vectors; ``without[i, j]`` is t_i without z_j.

    Its variance is E s^2 / k + Cov(t_i, t_j), s^2 the sample variance, and Cov(t_i, t_j) = E d_ij
    d_ji of d_ij = t_i - ``without[i, j]``, because t_i, with z_j or without, is unbiased given all
    vectors but its own z_i. The published error, s / sqrt(k), leaves out the covariance, which is
    several times as large where eigenvalues decay fast.
    """
    count, spread = len(samples), samples.var().item()
    differences = samples.unsqueeze(1) - without
    differences.fill_diagonal_(0)
    covariance = (differences * differences.T).sum().item() / (count * (count - 1))
    # what joins fewer than k vectors stays below k s^2; beyond is noise, as on a rank of k - 1,
    # where every t_i is exact and no d_ij is 0
    covariance = min(max(covariance, 0.0), count * spread)
    return estimate_from_samples(operator, samples, spread / count + covariance, method)
