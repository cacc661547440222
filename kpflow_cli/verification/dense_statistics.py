"""Every row of measurements.csv and spectra.csv from dense operators."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def dense_spectrum(matrix: Tensor, operator: str) -> Tensor:
    """Eigenvalues of NTK_S and K, singular values of P and V, descending."""
    if operator in ("ntk", "k"):
        return torch.linalg.eigvalsh(matrix).flip(0).clamp_min(0)
    return torch.linalg.svdvals(matrix)


def dense_statistics(
    exact: dict[str, Tensor], directions: Tensor, shape: tuple[int, int, int]
) -> Iterator[tuple[tuple[str, str, str], Tensor]]:
    """Every row of measurements.csv from the dense operators, by its (operator, quantity,
    reduction).
    """
    for operator in ("ntk", "k", "p", "core", "v"):
        if operator not in exact:
            continue
        matrix = exact[operator]
        yield (operator, "operator_norm", "full"), torch.linalg.matrix_norm(matrix, 2)
        squared = matrix if operator in ("ntk", "k", "core") else matrix @ matrix.T
        yield (operator, "frobenius_norm", "full"), matrix.norm()
        yield (operator, "trace", "full"), matrix.diagonal().sum()
        yield (operator, "effective_rank", "full"), squared.trace() ** 2 / squared.norm() ** 2
    for operator in exact.keys() - {"ntk", "k", "p", "p_inverse", "core", "v"}:
        gram = exact[operator] @ exact[operator].T
        yield (
            (operator, "effective_rank", "full"),
            (gram.trace() ** 2 / gram.norm() ** 2).nan_to_num(nan=0.0),
        )
    ntk = exact["ntk"]
    if (core := exact.get("core")) is not None:
        norms = ntk.norm() * core.norm()
        yield ("ntk", "alignment", "full"), (ntk * core).sum() / norms
        yield (
            ("ntk", "random_core_alignment", "full"),
            ntk.trace() * core.trace() / (len(ntk) * norms),
        )
    for index, direction in enumerate(directions.flatten(1), start=1):
        yield ("ntk", f"rayleigh_quotient_{index}", "full"), direction @ ntk @ direction
        yield ("ntk", f"target_overlap_{index}", "full"), direction @ ntk @ direction / ntk.trace()
    trials, steps, units = shape
    blocks = ntk.reshape(trials * steps, units, trials * steps, units)
    reductions = {
        "temporal_mean": blocks.sum((1, 3)) / units,
        "temporal_trace": torch.einsum("aibi->ab", blocks),
        "spatial_mean": blocks.sum((0, 2)) / (trials * steps),
        "spatial_trace": torch.einsum("aiaj->ij", blocks),
    }
    for name, matrix in reductions.items():
        yield ("ntk", "trace", name), matrix.trace()
        yield ("ntk", "frobenius_norm", name), matrix.norm()
        yield ("ntk", "effective_rank", name), matrix.trace() ** 2 / matrix.norm() ** 2
