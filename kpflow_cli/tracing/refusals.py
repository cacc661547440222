"""What is refused, or warned of, before a network is watched."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from kpflow_cli.errors import UserError
from kpflow_cli.tracing.row_order import tensors_in


def refuse_what_cannot_work(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Raise UserError for parameters and inputs that no measurement can be made with."""
    for name, parameter in module.named_parameters():
        if isinstance(parameter, nn.UninitializedParameter):
            raise UserError(
                f"the parameter {name} has no shape yet: call the lazy module once, or give its "
                "sizes, before it is measured"
            )
        if parameter.is_inference():
            raise UserError(
                f"the parameter {name} was made in inference mode and has no gradient; build the "
                "network outside of it"
            )
        if not parameter.requires_grad:
            continue
        if parameter.dtype not in (torch.float32, torch.float64):
            raise UserError(
                f"the parameter {name} is of {str(parameter.dtype).removeprefix('torch.')}: NTK_S "
                "is measured in float32 and float64; convert the network, or freeze the parameter"
            )
        if not parameter.isfinite().all():
            raise UserError(f"the parameter {name} holds numbers that are not finite")
    for tensor in tensors_in(inputs):
        # a mask may hold minus infinity
        if tensor.is_floating_point() and tensor.isnan().any():
            raise UserError("the inputs hold numbers that are not finite")


def warn_of_evaluation(module: nn.Module) -> None:
    """Warn where a module is in training mode and this makes a difference."""
    changing = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)
    names = sorted(
        {
            type(each).__name__
            for each in module.modules()
            if each.training and isinstance(each, changing)
        }
    )
    if names:
        warnings.warn(
            f"{type(module).__name__} is in training mode; it is measured in evaluation mode "
            f"({', '.join(names)})",
            stacklevel=3,
        )


def refuse_impossible_state(state: Tensor) -> None:
    """Raise UserError for a state that is empty, not finite or of a dtype that is not measured."""
    if state.numel() and state.dtype not in (torch.float32, torch.float64):
        raise UserError(
            f"the state is of {str(state.dtype).removeprefix('torch.')}: NTK_S is measured in "
            "float32 and float64"
        )
    if state.numel() == 0:
        raise UserError("the state is empty: no trials, times or units, or no weight site")
    if not state.isfinite().all():
        raise UserError("the state holds numbers that are not finite")
