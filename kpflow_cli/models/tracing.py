"""The weight sites of any module, found by watching one forward pass; no code of the module's own is needed.

A site is a product of a trained parameter with something else, u = W v + b: a call of one of torch's linear functions
(linear_maps.py) with a trained parameter, or a view of one, in the place of W or b. Fused recurrent layers are written out (unrolled.py).
The pass can be repeated with perturbations added to the sites' outputs, which is how derivatives with respect to them are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from kpflow_cli.errors import UserError
from kpflow_cli.models.linear_maps import LinearMap
from kpflow_cli.models.site_mode import ParameterView, SiteCall, SiteMode, Visit

StateChoice = str | Callable[[Any], Tensor] | None
OtherParameters = Literal["refuse", "autograd"]


@dataclass(frozen=True)
class ModuleTrajectory:
    """A forward pass with its weight sites.

    Attributes:
        state: the state, detached; where none was named, all site outputs one after the other, ``(N,)``.
        calls: every evaluation of a site that reaches the state, in order; parameters outside of linear maps, if they count, last, each
            as a site whose output it is itself.
        parameters: the trained parameters of these sites by name.
        named: whether the state was named.
        output: what forward returned.
    """

    state: Tensor
    calls: tuple[SiteCall, ...]
    parameters: dict[str, Tensor]
    named: bool
    output: Any
    _repeat: Callable[[Sequence[Tensor]], Tensor]

    def perturbed_state(self, perturbations: Sequence[Tensor]) -> Tensor:
        """The state of a pass with a perturbation added to the output of each call, of its shape; differentiable in them."""
        return self._repeat(perturbations)


def trace(module: nn.Module, *inputs: Any, state: StateChoice = None, others: OtherParameters = "refuse") -> ModuleTrajectory:
    """Watch ``module(*inputs)`` in evaluation mode and find its weight sites.

    ``state`` names the state: a submodule whose output it is (the first tensor, if it returns several; stacked over time along axis 1
    where it is called step by step), or a function of what forward returns. None makes all site outputs the state. ``others`` says what
    becomes of trained parameters that reach the state otherwise than through a linear map: ``refuse``, or ``autograd`` to count them by
    differentiating through them. Raises UserError for such a parameter, for a state that cannot be found and for a module without sites.
    """
    watched = _Watched(module, inputs, state)
    shifts = {name: torch.zeros_like(parameter, requires_grad=True) for name, parameter in watched.trained.items()}
    perturbations: list[Tensor] = []
    calls: list[SiteCall] = []

    def visit(call: SiteCall, output: Tensor) -> Tensor:
        calls.append(call)
        perturbations.append(torch.zeros_like(output, requires_grad=True))
        return output + perturbations[-1]

    with torch.enable_grad():
        found, output, outside = watched.run(shifts, visit)
    reached = _reaching(found, [*perturbations, *shifts.values()])
    kept = [index for index in range(len(calls)) if reached[index]]
    direct = [name for name, reaches in zip(shifts, reached[len(calls) :], strict=True) if reaches]
    if direct and others == "refuse":
        used = ", ".join(f"{name} (in {outside[name]})" for name in direct)
        raise UserError(f"trained outside of linear maps: {used}; freeze it, or count it with others=autograd")
    sites = [calls[index] for index in kept] + [_direct_site(name, shifts[name].shape) for name in direct]
    if not sites:
        raise UserError(f"no trained parameter of {type(module).__name__} reaches the state")
    names = {view.name for call in sites for view in (call.weight, call.bias) if view is not None}

    def repeat(given: Sequence[Tensor]) -> Tensor:
        at_calls = dict(zip(kept, given[: len(kept)], strict=True))
        position = iter(range(len(calls)))

        def perturb(_: SiteCall, result: Tensor) -> Tensor:
            perturbation = at_calls.get(next(position))
            return result if perturbation is None else result + perturbation

        return watched.run(dict(zip(direct, given[len(kept) :], strict=True)), perturb)[0]

    parameters = {name: parameter.detach() for name, parameter in watched.trained.items() if name in names}
    return ModuleTrajectory(found.detach(), tuple(sites), parameters, state is not None, output, repeat)


def _direct_site(name: str, shape: torch.Size) -> SiteCall:
    """A parameter outside of linear maps: it is itself what is perturbed."""
    return SiteCall(LinearMap("value", None, None, lambda w: w), ParameterView(name), None, shape)


def _reaching(state: Tensor, variables: list[Tensor]) -> list[bool]:
    """Which of the variables the state depends on."""
    if not state.requires_grad:
        return [False] * len(variables)
    gradients = torch.autograd.grad(state.sum(), variables, allow_unused=True)
    return [gradient is not None for gradient in gradients]


class _Watched:
    """A module with its inputs and the choice of its state, to be run again and again."""

    def __init__(self, module: nn.Module, inputs: tuple[Any, ...], state: StateChoice) -> None:
        self.trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
        self._module, self._inputs, self._state = module, inputs, state
        if isinstance(state, str) and state not in dict(module.named_modules()):
            known = ", ".join(name for name, _ in module.named_modules() if name)
            raise UserError(f"state={state}: {type(module).__name__} has no such submodule; it has {known}")

    def run(self, shifts: Mapping[str, Tensor], visit: Visit) -> tuple[Tensor, Any, dict[str, str]]:
        """The state, forward's result, and where each parameter was used outside of linear maps."""
        outputs: list[Tensor] = []

        def collect(call: SiteCall, output: Tensor) -> Tensor:
            outputs.append(visit(call, output))
            # the next function may work in place
            return outputs[-1].clone() if self._state is None else outputs[-1]

        mode = SiteMode(self.trained, shifts, collect)
        # torch's fused attention has no forward-mode derivative
        with _evaluating(self._module), sdpa_kernel(SDPBackend.MATH), self._recorded_outputs() as recorded, mode.watching(self._module):
            result = self._module(*self._inputs)
        return self._found_state(result, outputs, recorded), result, mode.outside

    @contextmanager
    def _recorded_outputs(self) -> Iterator[list[Any]]:
        """What the submodule that the state is named after returns, call by call."""
        recorded: list[Any] = []
        if not isinstance(self._state, str):
            yield recorded
            return
        submodule = self._module.get_submodule(self._state)
        hook = submodule.register_forward_hook(lambda _module, _inputs, output: recorded.append(output))
        try:
            yield recorded
        finally:
            hook.remove()

    def _found_state(self, result: Any, outputs: list[Tensor], recorded: list[Any]) -> Tensor:
        if self._state is None:
            return torch.cat([output.flatten() for output in outputs]) if outputs else torch.zeros(0)
        if isinstance(self._state, str):
            tensors = [output if isinstance(output, Tensor) else output[0] for output in recorded]
            if not tensors:
                raise UserError(f"state={self._state}: the submodule was not called")
            return tensors[0] if len(tensors) == 1 else torch.stack(tensors, dim=1)
        found = self._state(result)
        if not isinstance(found, Tensor):
            raise UserError(f"the state is a {type(found).__name__}, not a tensor")
        return found


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """The module and all within it in evaluation mode."""
    training = [each for each in module.modules() if each.training]
    module.eval()
    try:
        yield
    finally:
        for each in training:
            each.training = True
