"""What a traced network is held against before anything is made of it: its own gradient, and itself
a second time.

D^* P^* s must be the gradient of <s, state> that torch gives for the real parameters; P and P^*
must be adjoint; and forward must be a function that changes no parameter. Costs a few passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from kpflow_cli.errors import UserError
from kpflow_cli.tracing.linear_maps import LinearMap
from kpflow_cli.tracing.linearized_pass import ChangedPassError, LinearizedPass
from kpflow_cli.tracing.row_order import tensors_in
from kpflow_cli.tracing.site_call import SiteCall
from kpflow_cli.tracing.watched_module import WatchedModule, WatchedPass

# a perturbation at rounding level moves the state by this much less than another order of
# operations may
_REORDERED = 100.0


def check_direction(state: Tensor) -> Tensor:
    """The s of the check: standard normal, of the state's shape, the same for the same shape."""
    drawn = torch.randn(
        state.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    return drawn.to(state.device, state.dtype)


def precision(state: Tensor, calls: Sequence[SiteCall]) -> float:
    """Of the coarsest numbers that a network with single and double precision parts works with."""
    return max(torch.finfo(dtype).eps for dtype in (state.dtype, *(call.dtype for call in calls)))


@contextmanager
def refuse_changed_parameters(module: nn.Module) -> Iterator[None]:
    """Put back parameters that change within, and raise UserError that names them."""
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    try:
        yield
    finally:
        changed = [
            name
            for name, parameter in module.named_parameters()
            if not torch.equal(parameter.detach(), before[name])
        ]
        with torch.no_grad():
            for name in changed:
                module.get_parameter(name).copy_(before[name])
        if changed:
            raise UserError(
                f"forward changes the parameter {', '.join(changed)} in place, so that each call "
                "is one of another network; change it outside of forward"
            )


def find_unseen_parameters(
    watched: WatchedPass,
    of_calls: Sequence[Tensor | None],
    of_shifts: Mapping[str, Tensor | None],
    real: Mapping[str, Tensor | None],
) -> list[str]:
    """Parameters whose real gradient of <s, state> is not D^* P^* s, from the gradients in the
    calls' outputs and in the shifts.

    Two ways to one number agree to the square root of the precision: 3e-4 in single, 1.5e-8 in
    double precision.
    """
    relative = precision(watched.state, watched.calls) ** 0.5
    found = {name: shift for name, shift in of_shifts.items() if shift is not None}
    for call, gradient in zip(watched.calls, of_calls, strict=True):
        if gradient is not None:
            for name, part in _pull_to_parameters(call, gradient, watched.shifts).items():
                found[name] = found[name] + part if name in found else part
    scale = max(
        (each.norm().item() / each.numel() ** 0.5 for each in real.values() if each is not None),
        default=0.0,
    )
    unseen = []
    for name, gradient in real.items():
        wanted = torch.zeros_like(watched.shifts[name]) if gradient is None else gradient
        difference = (found.get(name, torch.zeros_like(wanted)) - wanted).norm().item()
        allowed = relative * (wanted.norm().item() + 1e-3 * scale * wanted.numel() ** 0.5)
        if not difference <= allowed:
            unseen.append(name)
    return unseen


def _pull_to_parameters(
    call: SiteCall, gradient: Tensor, like: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """D^* of one call."""
    names = list(dict.fromkeys(view.name for view in (call.weight, call.bias) if view is not None))
    values = {name: torch.zeros_like(like[name], requires_grad=True) for name in names}
    output = call.output(values)
    return dict(
        zip(
            names,
            torch.autograd.grad(output, list(values.values()), gradient.to(output.dtype)),
            strict=True,
        )
    )


def _same(first: Tensor, second: Tensor, relative: float) -> bool:
    return (
        first.shape == second.shape
        and (first - second).norm().item() <= relative * first.norm().item()
    )


def refuse_unless_adjoint(linearized: LinearizedPass, epsilon: float) -> None:
    """Raise UserError unless <P u, w> = <u, P^* w>, for a network's own derivatives need not be
    derivatives of anything.
    """
    w = check_direction(linearized.state)
    try:
        pulled = linearized.pull_back(w.unsqueeze(0))
        pushed = linearized.push_forward(pulled)
    except ChangedPassError as error:
        raise UserError(
            "the network has a derivative of its own (an autograd.Function) that works in place on "
            "what it keeps and can be taken only once; let it work on copies"
        ) from error
    through, squared = (
        (pushed[0] * w).sum().item(),
        sum(part.square().sum().item() for part in pulled),
    )
    if not (math.isfinite(through) and math.isfinite(squared)):
        raise UserError(
            f"a derivative of the network is not finite (<P P^* w, w> = {through:.6g}, ||P^* "
            f"w||^2 = {squared:.6g}): it exceeds the range of its dtype, or a function that is "
            "called has no second derivative there"
        )
    if not abs(through - squared) <= epsilon**0.5 * squared:
        raise UserError(
            "the network has a derivative of its own (an autograd.Function) whose backward pass "
            f"is not differentiable: <P P^* w, w> = {through:.6g}, ||P^* w||^2 = {squared:.6g}; "
            "write its backward in torch, without once_differentiable"
        )


def refuse_unless_function(
    watched: WatchedModule, state: Tensor, again: Tensor, epsilon: float
) -> None:
    """Raise UserError that names the submodule where two passes part."""
    # not bit for bit: on a GPU sums may be added in another order
    if _same(state, again, 100 * epsilon):
        return
    raise UserError(
        "two calls of forward with the same inputs give different states, from "
        f"{_parting_module(watched)} on: noise, dropout that stays on in evaluation mode or a "
        "random generator of its own; make it a function of its inputs"
    )


def refuse_state_of_another(watched: WatchedModule, state: Tensor, epsilon: float) -> None:
    """Raise UserError where an ordinary call gives another state than the watched one, by more than
    rounding errors explain.
    """
    ordinary = watched.run_unwatched()
    if _same(state, ordinary, epsilon**0.5):
        return
    # of a chaotic network rounding errors grow: as far as these do, an ordinary call may be away
    moved = (_with_rounding_errors(watched) - state).norm().item()
    if ordinary.shape != state.shape or (ordinary - state).norm().item() > _REORDERED * moved:
        raise UserError(
            "watched, the network has another state than in an ordinary call: it acts otherwise "
            "under a torch function mode"
        )


@torch.no_grad()
def _with_rounding_errors(watched: WatchedModule) -> Tensor:
    """The state after a relative change of every site's output at rounding level."""
    generator = torch.Generator().manual_seed(0)

    def rounded(_call: SiteCall, _map: LinearMap, output: Tensor) -> Tensor:
        drawn = torch.randn(output.shape, generator=generator, dtype=torch.float64).to(
            output.device, output.dtype
        )
        return output * (1 + torch.finfo(output.dtype).eps * drawn)

    return watched.run({}, rounded)[0]


def _parting_module(watched: WatchedModule) -> str:
    """The first submodule, in the order of returns, that gives something else the second time
    though it was given the same.
    """
    first, second = (_returns(watched) for _ in range(2))
    for (name, given, returned), (_, given_again, returned_again) in zip(
        first, second, strict=False
    ):
        if _equal(given, given_again) and not _equal(returned, returned_again):
            return name
    return "forward itself"


def _returns(watched: WatchedModule) -> list[tuple[str, list[Tensor], list[Tensor]]]:
    found: list[tuple[str, list[Tensor], list[Tensor]]] = []

    def note(name: str) -> Any:
        def hook(_module: nn.Module, given: Any, returned: Any) -> None:
            copies = [
                [tensor.detach().clone() for tensor in tensors_in(each)]
                for each in (given, returned)
            ]
            found.append((name, copies[0], copies[1]))

        return hook

    hooks = [
        each.register_forward_hook(note(name))
        for name, each in watched.module.named_modules()
        if name
    ]
    try:
        with torch.no_grad():
            watched.run({}, _unchanged)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _unchanged(_call: SiteCall, _map: LinearMap, output: Tensor) -> Tensor:
    return output


def _equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(one, other) for one, other in zip(first, second, strict=True)
    )
