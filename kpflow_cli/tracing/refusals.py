"""What is refused, or warned of, before a network is watched and after: which parameters reach its
state, and how.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from kpflow_cli.errors import UserError
from kpflow_cli.tracing.row_order import tensors_in
from kpflow_cli.tracing.watched_module import WatchedModule, WatchedPass

_COUNT_IT = "count it by model.others=autograd (others='autograd' in Python)"
# of a parameter's root mean square, to see whether the state moves with it
_NUDGE = 0.01
# names that are told of many
_MOST_NAMES = 8


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


def listed(names: Sequence[str]) -> str:
    """Names side by side, the last ones of many only counted."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def how_they_act(outside: Mapping[str, str]) -> str:
    """Parameters outside of linear maps, each with the function by which it acts."""
    return listed([f"{name} (in {function})" for name, function in outside.items()])


def refuse_outside(names: Sequence[str], outside: Mapping[str, str]) -> NoReturn:
    """Raise UserError for parameters outside of linear maps."""
    used = how_they_act({name: outside[name] for name in names})
    raise UserError(f"trained outside of linear maps: {used}; freeze it, or {_COUNT_IT}")


def refuse_unseen(names: Sequence[str], *, counted: bool) -> NoReturn:
    """Raise UserError for parameters that act unseen, where all that can be ``counted`` is."""
    if counted:
        raise UserError(
            f"{listed(names)}: reaches the state through a tensor that was made of it outside of "
            "forward, such as a view kept since __init__, or a backward pass that works with the "
            "parameter itself, such as an adjoint solver's; use it in forward, or freeze it"
        )
    raise UserError(
        f"{listed(names)}: part of what it does to the state cannot be watched (a scripted or "
        "compiled function, an autograd.Function, vmap, or a view of it made outside of "
        f"forward); use it in plain torch within forward, freeze it, or {_COUNT_IT}"
    )


def refuse_infinite_gradients(gradients: Mapping[str, Tensor | None]) -> None:
    """Raise UserError for parameters with a gradient of the state that is not finite."""
    names = [
        name
        for name, gradient in gradients.items()
        if gradient is not None and not gradient.isfinite().all()
    ]
    if names:
        raise UserError(
            f"the gradient of the state by {listed(names)} is not finite: it exceeds the range of "
            "its dtype, or a function has no derivative there (a root, a norm or a logarithm at 0)"
        )


def refuse_no_sites(watched: WatchedModule, found: WatchedPass) -> NoReturn:
    """Raise UserError for a state of site outputs where there are none."""
    _refuse_untrained(watched)
    acting = f": {how_they_act(found.outside)}" if found.outside else ""
    raise UserError(
        f"no trained parameter of {type(watched.module).__name__} acts through a linear map"
        f"{acting}; a state of site outputs or inputs is empty, name another (state=...)"
    )


def refuse_unreached(watched: WatchedModule, found: WatchedPass) -> NoReturn:
    """Raise UserError for a state without a gradient by any trained parameter, that says why."""
    _refuse_untrained(watched)
    network = type(watched.module).__name__
    moving = _moving_the_state(watched)
    if moving:
        raise UserError(
            f"no trained parameter of {network} reaches the state by a gradient: it moves with "
            f"{listed(moving)}, but is cut off from it (detach, torch.no_grad, a step function, or "
            "numbers that leave torch)"
        )
    after = _reaching(found.output, watched)
    why = f": {listed(after)} act after it, on the output alone" if after else ""
    raise UserError(f"no trained parameter of {network} reaches the state{why}")


def _refuse_untrained(watched: WatchedModule) -> None:
    if not watched.trained:
        network = type(watched.module).__name__
        frozen = [name for name, _ in watched.module.named_parameters()]
        why = f"all are frozen ({listed(frozen)})" if frozen else "it has no parameters"
        raise UserError(f"no parameter of {network} is trained: {why}")


@torch.no_grad()
def _moving_the_state(watched: WatchedModule) -> list[str]:
    """Trained parameters that the state moves with, whatever its gradient is."""
    state = watched.run({}, lambda _call, _map, output: output)[0]
    found = []
    for name, parameter in watched.trained.items():
        before = parameter.detach().clone()
        parameter.add_(_NUDGE * (before.square().mean().sqrt() + _NUDGE) * torch.ones_like(before))
        moved = watched.run({}, lambda _call, _map, output: output)[0]
        parameter.copy_(before)
        if not torch.equal(moved, state):
            found.append(name)
    return found


def _reaching(output: Any, watched: WatchedModule) -> list[str]:
    """Trained parameters that what forward returned has a gradient by."""
    parts = [tensor.real.sum() for tensor in tensors_in(output) if tensor.requires_grad]
    if not parts:
        return []
    gradients = torch.autograd.grad(
        sum(parts[1:], parts[0]), list(watched.trained.values()), allow_unused=True
    )
    return [
        name
        for name, gradient in zip(watched.trained, gradients, strict=True)
        if gradient is not None
    ]
