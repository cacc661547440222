"""The weight sites of a recurrent trajectory, u_s = W_s v_s (+ b_s), as its network tells them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class WeightSite:
    """One product u_s = W_s v_s along a trajectory.

    Attributes:
        name: of the site, such as ``recurrent`` or ``input``.
        weight: W_s, shape ``(g * n, d)``.
        inputs: site variable v_s at each trial and time, shape ``(B, T, d)``, without the bias
            column.
        output_slopes: df/du_s as g diagonals, each ``(B, T, n)``; what several sites or blocks
            share is one tensor.
        weight_trains: whether W_s is among the trained parameters.
        bias_trains: whether the site has a bias that is trained.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> inputs, slope = torch.randn(5, 6, 3), torch.ones(5, 6, 4)
        >>> kp.WeightSite("input", torch.randn(4, 3), inputs, (slope,)).regressors().shape
        torch.Size([5, 6, 3])
    """

    name: str
    weight: Tensor
    inputs: Tensor
    output_slopes: tuple[Tensor, ...]
    weight_trains: bool = True
    bias_trains: bool = False

    def regressors(self) -> Tensor:
        """V_s of the trained parameters, ``(B, T, d')``: v_s if the weight trains, then a column of
        1 if the bias trains.
        """
        columns = [self.inputs] if self.weight_trains else []
        if self.bias_trains:
            columns.append(torch.ones_like(self.inputs[..., :1]))
        return torch.cat(columns, dim=-1) if columns else self.inputs[..., :0]


def previous_states(states: Tensor) -> Tensor:
    """S h: states ``(B, T, n)`` shifted by one step, h_{t-1} at time t, zero at the first step."""
    return torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1)


def site_of(
    module: nn.Module,
    name: str,
    weight: str,
    bias: str,
    inputs: Tensor,
    output_slopes: tuple[Tensor, ...],
) -> WeightSite:
    """The site of ``module``'s parameters named ``weight`` and ``bias`` (which may be missing),
    with their trainability.
    """
    weight_parameter = module.get_parameter(weight)
    bias_parameter = dict(module.named_parameters()).get(bias)
    return WeightSite(
        name=name,
        weight=weight_parameter.detach(),
        inputs=inputs,
        output_slopes=output_slopes,
        weight_trains=weight_parameter.requires_grad,
        bias_trains=bias_parameter is not None and bias_parameter.requires_grad,
    )
