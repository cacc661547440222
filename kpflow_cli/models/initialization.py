"""Initial weights, drawn from an explicit generator."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn

from kpflow_cli.errors import UserError


class InitialWeights(TypedDict):
    """How a model's weights are drawn: the keywords that a recurrent model's constructor passes on to ``initialize``."""

    gain: float
    initialization: str
    generator: torch.Generator


def _uniform(tensor: Tensor, generator: torch.Generator, *, units: int) -> Tensor:
    """torch's default for recurrent layers: uniform within 1/sqrt(units), so a square matrix has spectral radius 0.58."""
    bound = 1 / math.sqrt(units)
    return nn.init.uniform_(tensor, -bound, bound, generator=generator)


def _matrix_initializer(initialization: str, units: int) -> Callable[..., Tensor]:
    initializers: dict[str, Callable[..., Tensor]] = {
        "xavier_normal": nn.init.xavier_normal_,
        "orthogonal": nn.init.orthogonal_,
        "torch_default": partial(_uniform, units=units),
    }
    if initialization not in initializers:
        raise UserError.unknown("model.initialization", initialization, initializers)
    return initializers[initialization]


@torch.no_grad()
def initialize(module: nn.Module, recurrent_weight: str | None, *, units: int, **initial_weights: Unpack[InitialWeights]) -> None:
    """Draw every parameter of ``module`` in place, in the order of ``named_parameters``.

    Each matrix is drawn as it is stored (a GRU's stacked ``(3n, n)`` recurrent weight gets s.d. 1/sqrt(2n) from ``xavier_normal``),
    the one named ``recurrent_weight``, if any, is then multiplied by ``gain``; biases are torch's default, uniform within 1/sqrt(units).
    Raises UserError on an unknown ``initialization``.
    """
    draw_matrix = _matrix_initializer(initial_weights["initialization"], units)
    for name, parameter in module.named_parameters():
        # drawn in double precision on the CPU, so that dtypes and devices start from the same network
        drawn = torch.empty(parameter.shape, dtype=torch.float64)
        if parameter.ndim == 2:
            draw_matrix(drawn, generator=initial_weights["generator"])
        else:
            _uniform(drawn, initial_weights["generator"], units=units)
        parameter.copy_(drawn * initial_weights["gain"] if name == recurrent_weight else drawn)
