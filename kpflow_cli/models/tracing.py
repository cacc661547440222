"""The weight sites of any module, found by watching one forward pass; no code of the module's own is needed.

A site is a product of a trained parameter with something else, u = W v + b: a call of one of torch's linear functions
(linear_maps.py) with a trained parameter, or a view of one, in the place of W or b. Fused recurrent layers are written out (unrolled.py).
The pass can be repeated with perturbations added to the sites' outputs, which is how derivatives with respect to them are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from kpflow_cli.errors import UserError
from kpflow_cli.models.linear_maps import LinearMap
from kpflow_cli.models.site_mode import ParameterView, SiteCall, SiteMode, Visit
from kpflow_cli.models.site_rows import apart, places, side_by_side


class SiteState(Enum):
    """A state that all weight sites make up, side by side along the unit axis, ``(B, T, m)``: their outputs u_s or their variables v_s."""

    OUTPUTS = "site_outputs"
    INPUTS = "site_inputs"


StateChoice = str | Callable[[Any], Tensor] | SiteState | None
OtherParameters = Literal["refuse", "autograd"]


@dataclass(frozen=True)
class ModuleTrajectory:
    """A forward pass with its weight sites.

    Attributes:
        state: the state, detached; where none was named, all site outputs one after the other, ``(N,)``.
        calls: every evaluation of a site that reaches the state, in order; parameters outside of linear maps, if they count, last, each
            as a site whose output it is itself.
        parameters: the trained parameters of these sites by name.
        site_places: where the state's numbers stand among the outputs of all calls, one after the other; None for a state that is not
            made of them.
        output: what forward returned.
        of_sites: whether the state is a ``SiteState``.
    """

    state: Tensor
    calls: tuple[SiteCall, ...]
    parameters: dict[str, Tensor]
    site_places: Tensor | None
    output: Any
    of_sites: bool
    _repeat: Callable[[Sequence[Tensor]], Tensor]
    _output_of: Callable[[Tensor], Any]

    def perturbed_state(self, perturbations: Sequence[Tensor]) -> Tensor:
        """The state of a pass with a perturbation added to the output of each call, of its shape; differentiable in them."""
        return self._repeat(perturbations)

    def output_of(self, state: Tensor) -> Any:
        """What forward returns where the sites' outputs, or variables, are those of a ``SiteState``; differentiable in it.

        Nothing reaches the output from one site through another: of the output's derivatives these are the immediate ones. Raises
        ValueError for a state of another kind.
        """
        return self._output_of(state)


def trace(module: nn.Module, *inputs: Any, state: StateChoice = None, others: OtherParameters = "refuse") -> ModuleTrajectory:
    """Watch ``module(*inputs)`` in evaluation mode and find its weight sites.

    ``state`` names the state: a submodule whose output it is (the first tensor, if it returns several; stacked over time along axis 1
    where it is called step by step), or a function of what forward returns. None makes all site outputs the state, one after the other,
    ``(N,)``; a ``SiteState`` has them, or the site variables, by trial and time, the first two axes of the first input. ``others`` says
    what becomes of trained parameters that reach the state otherwise than through a linear map: ``refuse``, or ``autograd`` to count them
    by differentiating through them. Raises UserError for such a parameter, for a state that cannot be found and for a module without sites.
    """
    watched = _Watched(module, inputs, state)
    shifts = {name: torch.zeros_like(parameter, requires_grad=True) for name, parameter in watched.trained.items()}
    perturbations: list[Tensor] = []
    calls: list[SiteCall] = []

    def visit(call: SiteCall, _: LinearMap, output: Tensor) -> Tensor:
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

        def perturb(_call: SiteCall, _map: LinearMap, result: Tensor) -> Tensor:
            perturbation = at_calls.get(next(position))
            return result if perturbation is None else result + perturbation

        return watched.run(dict(zip(direct, given[len(kept) :], strict=True)), perturb)[0]

    parameters = {name: parameter.detach() for name, parameter in watched.trained.items() if name in names}
    site_places = watched.site_places([calls[index] for index in kept])
    of_sites = isinstance(state, SiteState)
    return ModuleTrajectory(found.detach(), tuple(sites), parameters, site_places, output, of_sites, repeat, watched.output_of)


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
        calls: list[SiteCall] = []
        # of each call what stands in a state that sites make up
        of_calls: list[Tensor] = []

        def collect(call: SiteCall, live: LinearMap, output: Tensor) -> Tensor:
            output = visit(call, live, output)
            if self._of_sites:
                calls.append(call)
                of_calls.append(self._in_state(call, live, output))
            # the next function may work in place
            return output.clone() if self._of_sites else output

        mode = SiteMode(self.trained, shifts, collect)
        # torch's fused attention has no forward-mode derivative
        with _evaluating(self._module), sdpa_kernel(SDPBackend.MATH), self._recorded_outputs() as recorded, mode.watching(self._module):
            result = self._module(*self._inputs)
        return self._found_state(result, calls, of_calls, recorded), result, mode.outside

    def output_of(self, state: Tensor) -> Any:
        """As ``ModuleTrajectory.output_of`` says."""
        if not isinstance(self._state, SiteState):
            raise ValueError("only a state of site outputs or site inputs determines the output")
        calls: list[SiteCall] = []
        shapes: list[torch.Size] = []

        def look(call: SiteCall, live: LinearMap, output: Tensor) -> Tensor:
            calls.append(call)
            shapes.append(self._in_state(call, live, output).shape)
            return output

        with torch.no_grad():
            self.run({}, look)
        given = iter(apart(calls, shapes, state, self._rows))

        def replace_output(_: SiteCall, live: LinearMap, _output: Tensor) -> Tensor:
            value = next(given)
            if self._state is SiteState.OUTPUTS:
                return value
            assert live.of_variables is not None
            return live.of_variables(value)

        return self.run({}, replace_output)[1]

    def site_places(self, calls: list[SiteCall]) -> Tensor | None:
        """As ``ModuleTrajectory.site_places``."""
        shapes = [call.shape for call in calls]
        if self._state is None:
            return torch.arange(sum(shape.numel() for shape in shapes))
        return places(calls, shapes, self._rows) if self._state is SiteState.OUTPUTS else None

    def _in_state(self, call: SiteCall, live: LinearMap, output: Tensor) -> Tensor:
        """What of a call stands in a state of sites: u, or v by row. Raises UserError where v is not what the function is called with."""
        if self._state is not SiteState.INPUTS:
            return output
        variables = live.variables()
        if variables is None or live.of_variables is None:
            raise UserError(f"site {call.name}: a {call.map.function} has no inputs by trial and time; take the site outputs as the state")
        return variables

    @property
    def _of_sites(self) -> bool:
        return self._state is None or isinstance(self._state, SiteState)

    @property
    def _rows(self) -> torch.Size:
        """(B, T)."""
        shape: torch.Size = self._inputs[0].shape[:2]
        return shape

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

    def _found_state(self, result: Any, calls: list[SiteCall], of_calls: list[Tensor], recorded: list[Any]) -> Tensor:
        if self._of_sites and not calls:
            return torch.zeros(0)
        if self._state is None:
            return torch.cat([output.flatten() for output in of_calls])
        if isinstance(self._state, SiteState):
            return side_by_side(calls, of_calls, self._rows)
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
