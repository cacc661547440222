"""Site variables as the layers of a network of ours see them, and the core made of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from kpflow_cli.models.attention import SelfAttention
from kpflow_cli.models.base import Model, RecurrentModel
from kpflow_cli.ntk import previous_states


def direct_sum_core(model: SelfAttention, variables: dict[str, Tensor]) -> Tensor:
    """sum_s V_s V_s^T (x) E_s of all layers, E_s the identity on the units that are the site's
    outputs, zero on all others.
    """
    sizes = [
        model.get_parameter(f"{site}.weight").shape[1 if site == "positions" else 0]
        for site in variables
    ]
    owner = torch.repeat_interleave(torch.tensor(sizes))
    return torch.stack(
        [
            torch.kron(each @ each.T, (owner == index).to(each).diag())
            for index, each in enumerate(variables.values())
        ]
    ).sum(0)


@torch.no_grad()
def layer_inputs(model: Model, inputs: Tensor) -> dict[str, Tensor]:
    """v_s ``(BT, d)`` as the layers of a network of ours see it: what goes into each linear layer
    that trains, step by step; of torch's recurrent layers h_{t-1} and x_t, each if its weight
    trains. Nothing of any other network.
    """
    if not isinstance(model, RecurrentModel | SelfAttention):
        return {}
    recorded: dict[str, list[Tensor]] = {}
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Embedding) and name != "readout"
    }
    hooks = [
        layer.register_forward_hook(_recorder(recorded, name))
        for name, layer in layers.items()
        if layer.weight.requires_grad
    ]
    states = model(inputs)[1]
    for hook in hooks:
        hook.remove()
    if not layers:
        assert isinstance(model, RecurrentModel)
        parameters = {"recurrent": model.recurrent_weight, "input": model.input_weight}
        variables = {"recurrent": previous_states(states), "input": inputs}
        return {
            name: variables[name].flatten(0, 1)
            for name, weight in parameters.items()
            if model.get_parameter(weight).requires_grad
        }
    # a layer called once takes all times at once, one called at each time takes (B, d)
    whole = {
        name: calls[0] if len(calls) == 1 and calls[0].ndim == 3 else torch.stack(calls, dim=1)
        for name, calls in recorded.items()
    }
    return {name: each.flatten(0, 1) for name, each in whole.items()}


def _recorder(
    recorded: dict[str, list[Tensor]], name: str
) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
    def record(layer: nn.Module, given: tuple[Tensor], output: Tensor) -> None:
        variables = given[0]
        if isinstance(layer, nn.Embedding):
            variables = nn.functional.one_hot(variables, layer.num_embeddings).to(output.dtype)
        recorded.setdefault(name, []).append(variables)

    return record
