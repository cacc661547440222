"""Initial weights, drawn from an explicit generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypedDict, Unpack

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear as _AttentionOutput

from kpflow_cli.config.keys import Key
from kpflow_cli.errors import UserError


def _torch_default(layer: nn.Module, tensor: Tensor, generator: torch.Generator) -> Tensor:
    """As the layer's own ``reset_parameters`` draws weights and biases, from an explicit generator.

    Uniform within 1/sqrt(units) in a recurrent layer, so that its square matrix has spectral radius
    0.58, and within 1/sqrt(inputs) in a linear one; standard normal in an embedding; in attention
    Xavier's uniform, all biases 0. Raises ValueError for a layer of another kind.
    """
    if isinstance(layer, nn.Embedding):
        return nn.init.normal_(tensor, generator=generator)
    if tensor.ndim == 1 and isinstance(layer, nn.MultiheadAttention | _AttentionOutput):
        return nn.init.zeros_(tensor)
    if isinstance(layer, nn.MultiheadAttention):
        return nn.init.xavier_uniform_(tensor, generator=generator)
    if isinstance(layer, nn.RNNBase):
        bound = layer.hidden_size**-0.5
    elif isinstance(layer, nn.Linear):
        bound = layer.in_features**-0.5
    else:
        raise ValueError(f"no default initialization of a {type(layer).__name__}")
    return nn.init.uniform_(tensor, -bound, bound, generator=generator)


_MATRIX_INITIALIZERS: dict[str, Callable[[nn.Module, Tensor, torch.Generator], Tensor]] = {
    "xavier_normal": lambda _, tensor, generator: nn.init.xavier_normal_(
        tensor, generator=generator
    ),
    "orthogonal": lambda _, tensor, generator: nn.init.orthogonal_(tensor, generator=generator),
    "torch_default": _torch_default,
}
Initialization = Annotated[
    str, Key("how weight matrices are drawn", choices=tuple(_MATRIX_INITIALIZERS))
]


class InitialWeights(TypedDict):
    """How a model's weights are drawn: the keywords that a recurrent model's constructor passes on
    to ``initialize``.
    """

    gain: Annotated[float, Key("factor g on the initial recurrent weights", at_least=0)]
    initialization: Initialization
    generator: torch.Generator


@torch.no_grad()
def initialize(
    module: nn.Module, *recurrent_weights: str, **initial_weights: Unpack[InitialWeights]
) -> None:
    """Draw every parameter of ``module`` in place, in the order of ``named_parameters``.

    Each matrix is drawn as it is stored (a GRU's stacked ``(3n, n)`` recurrent weight gets s.d.
    1/sqrt(2n) from ``xavier_normal``), those named ``recurrent_weights`` are then multiplied by
    ``gain``; biases are torch's default for their layer. What LayerNorm multiplies by and adds is
    no draw: it stays 1 and 0. Raises UserError on an unknown ``initialization``.
    """
    initialization, generator = initial_weights["initialization"], initial_weights["generator"]
    if initialization not in _MATRIX_INITIALIZERS:
        raise UserError.unknown("model.initialization", initialization, _MATRIX_INITIALIZERS)
    for name, parameter in module.named_parameters():
        layer = module.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, nn.LayerNorm):
            continue
        draw = _MATRIX_INITIALIZERS[initialization] if parameter.ndim == 2 else _torch_default
        # in double precision on the CPU, so that dtypes and devices start from the same network
        drawn = draw(layer, torch.empty(parameter.shape, dtype=torch.float64), generator)
        parameter.copy_(drawn * initial_weights["gain"] if name in recurrent_weights else drawn)
