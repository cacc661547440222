"""Trace, Frobenius norm, effective rank and alignment of an operator, as many probes as an error
asks for.

Each function takes an operator and returns an ``Estimate``. An operator whose spectrum is known in
closed form gives exact values, one with as few dimensions as probes does too. ``generator`` is the
source of all draws, None a fresh one of seed 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from kpflow_cli.estimators.compression import images
from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.frame_statistics import FrameStatistics
from kpflow_cli.estimators.probes import range_sketch
from kpflow_cli.estimators.samplers import PartialTraceSampler, Sampler
from kpflow_cli.operators.base import LinearOperator
from kpflow_cli.operators.reductions import PartialTrace

PROBES, MOST_PROBES = 40, 640
# vectors near the leading eigenspace that every estimate counts exactly: they carry most of the
# variance of a plain one
SKETCH = 8

# errors so many times too large are all as far from a tolerance: probes at most double at a time
_FAR = 1e3


def trace(
    operator: LinearOperator,
    num_probes: int = PROBES,
    *,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
    most_probes: int = MOST_PROBES,
) -> Estimate:
    """tr A.

    Args:
        operator: symmetric positive semi-definite.
        num_probes: random vectors; as many as there are dimensions make the value exact.
        generator: source of the draws, None for a fresh one of seed 0.
        tolerance: relative standard error that probes are added for.
        most_probes: where that ends.

    Returns:
        The estimate with its standard error; exact where the spectrum is known in closed form.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> flat = kp.GramOperator(kp.DenseOperator(torch.eye(24), out_shape=(2, 3, 4)))
        >>> print(kp.trace(flat))
        24 (exact)
    """
    if (known := operator.trace()) is not None:
        return Estimate(known)
    eigenvalues = operator.eigenvalues()
    if eigenvalues is not None:
        return Estimate(eigenvalues.sum().item())
    return _estimate(operator, FrameStatistics.trace, num_probes, generator, tolerance, most_probes)


def frobenius_norm(
    operator: LinearOperator,
    num_probes: int = PROBES,
    *,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
    most_probes: int = MOST_PROBES,
) -> Estimate:
    """||A||_F, the root of the sum of the squares of the eigenvalues.

    Args:
        operator: symmetric positive semi-definite.
        num_probes: random vectors; as many as there are dimensions make the value exact.
        generator: source of the draws, None for a fresh one of seed 0.
        tolerance: relative standard error that probes are added for.
        most_probes: where that ends.

    Returns:
        The estimate with its standard error; exact where the spectrum is known in closed form.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> flat = kp.GramOperator(kp.DenseOperator(torch.eye(24), out_shape=(2, 3, 4)))
        >>> print(kp.frobenius_norm(flat))
        4.89898 (exact)
    """
    norm = operator.frobenius_norm()
    if norm is not None:
        return Estimate(norm)
    return _estimate(
        operator, FrameStatistics.frobenius_norm, num_probes, generator, tolerance, most_probes
    )


def effective_rank(
    operator: LinearOperator,
    num_probes: int = PROBES,
    *,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
    most_probes: int = MOST_PROBES,
) -> Estimate:
    """Participation ratio tr(A)^2 / ||A||_F^2 (arXiv 2605.08746, Figs. 3 and 5).

    Of a partial trace of J J^*, such as ``trace_over(ntk, "unit")``, it costs forward products J w
    only.

    Args:
        operator: symmetric positive semi-definite.
        num_probes: random vectors; as many as there are dimensions make the value exact.
        generator: source of the draws, None for a fresh one of seed 0.
        tolerance: relative standard error that probes are added for.
        most_probes: where that ends.

    Returns:
        The estimate with its standard error; exact where the spectrum is known in closed form.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> flat = kp.GramOperator(kp.DenseOperator(torch.eye(24), out_shape=(2, 3, 4)))
        >>> print(kp.effective_rank(flat))
        24 (exact)
    """
    eigenvalues = operator.eigenvalues()
    if eigenvalues is not None:
        return Estimate((eigenvalues.sum().square() / eigenvalues.square().sum()).item())
    return _estimate(
        operator, FrameStatistics.effective_rank, num_probes, generator, tolerance, most_probes
    )


def cosine_alignment(
    first: LinearOperator,
    second: LinearOperator,
    num_probes: int = PROBES,
    *,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
    most_probes: int = MOST_PROBES,
) -> Estimate:
    """<A, C>_F / (||A||_F ||C||_F) of two operators on one space, within [0, 1].

    Two partial traces of operators F F^* are sampled by products with each F, on probes of its own.

    Args:
        first, second: symmetric positive semi-definite.
        num_probes, generator, tolerance, most_probes: as for ``trace``.

    Returns:
        The estimate with its standard error.

    Raises:
        ValueError: for operators on different spaces.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> gru = torch.nn.GRU(3, 4, batch_first=True)
        >>> ntk = kp.global_ntk(kp.linearize(gru, torch.randn(5, 6, 3), state=lambda y: y[0]))
        >>> 0 < kp.cosine_alignment(ntk, ntk.core).value < 1
        True
    """
    generator = generator or torch.Generator().manual_seed(0)
    one, two = (_sample_partial_trace(operator, generator) for operator in (first, second))
    if one is not None and two is not None and first.in_shape == second.in_shape:
        samplers = one[0], two[0]

        def add(probes: int) -> None:
            for sampler in samplers:
                sampler.add(probes)

        align = partial(samplers[0].alignment, one[1], samplers[1], two[1])
        return until(tolerance, align, add, num_probes, most_probes)
    sketch = range_sketch(first, SKETCH, generator=generator)
    both = Sampler(first, second, generator=generator, sketch=sketch)
    return until(tolerance, both.alignment, both.add, num_probes, most_probes)


def rayleigh_quotient(operator: LinearOperator, vector: Tensor) -> Estimate:
    """<q, A q> / <q, q>, exact.

    Args:
        operator: A, on one space.
        vector: q, of shape ``operator.in_shape``.

    Returns:
        The value, without error.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> doubling = kp.DenseOperator(2 * torch.eye(3))
        >>> print(kp.rayleigh_quotient(doubling, torch.ones(3)))
        2 (exact)
    """
    image = images(operator, vector.unsqueeze(0))[0].double()
    flat = vector.flatten().double()
    quadratic = image.square().sum() if operator.gram_factor is not None else flat @ image
    return Estimate((quadratic / flat.square().sum()).item())


def until(
    tolerance: float | None,
    found: Callable[[], Estimate],
    add: Callable[[int], None],
    num_probes: int,
    most_probes: int,
    *,
    drawn: int = 0,
) -> Estimate:
    """The estimate from ``num_probes``, ``drawn`` of which are there already, then from more until
    its relative standard error is at most ``tolerance``.

    The number is raised by what the error so far says is missing, to at most twice as many at a
    time. An estimate that stops at ``most_probes`` above the tolerance says so in its method.
    Raises ValueError for a tolerance that is not positive.
    """
    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"tolerance must be above 0, got {tolerance}")
    probes = max(num_probes, drawn)
    if probes > drawn:
        add(probes - drawn)
    estimate = found()
    while tolerance is not None and not estimate.relative_error <= tolerance:
        missing = (
            probes * (min(estimate.relative_error / tolerance, _FAR) ** 2 - 1)
            if math.isfinite(estimate.relative_error)
            else probes
        )
        more = min(max(math.ceil(missing), 4), probes, most_probes - probes)
        if more <= 0:
            reached = (
                f"{estimate.method}; {tolerance:.2%} not met at the limit of {most_probes} probes"
            )
            return replace(estimate, method=reached)
        add(more)
        probes += more
        estimate = found()
    return estimate


def _estimate(
    operator: LinearOperator,
    statistic: Callable[[FrameStatistics], Estimate],
    num_probes: int,
    generator: torch.Generator | None,
    tolerance: float | None,
    most_probes: int,
) -> Estimate:
    generator = generator or torch.Generator().manual_seed(0)
    partial_trace = _sample_partial_trace(operator, generator)
    if partial_trace is not None:
        traced, kept = partial_trace
        return until(
            tolerance, lambda: statistic(traced.keeping(kept)), traced.add, num_probes, most_probes
        )
    sketch = range_sketch(operator, SKETCH, generator=generator)
    sampler = Sampler(operator, generator=generator, sketch=sketch)
    return until(
        tolerance, lambda: statistic(sampler.statistics()), sampler.add, num_probes, most_probes
    )


def _sample_partial_trace(
    operator: LinearOperator, generator: torch.Generator
) -> tuple[PartialTraceSampler, tuple[int, ...]] | None:
    """A sampler of J for a partial trace of J J^*, and the axes it keeps; None of anything else."""
    if not isinstance(operator, PartialTrace):
        return None
    factor = operator.operator.gram_factor
    return (
        None
        if factor is None
        else (PartialTraceSampler(factor, generator=generator), operator.kept)
    )
