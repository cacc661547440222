"""A module with its inputs and the choice of its state, to be run again and again under the eyes of
a ``SiteMode``.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from kpflow_cli.tracing.kept_state import KeptState
from kpflow_cli.tracing.linear_maps import LinearMap
from kpflow_cli.tracing.linearized_pass import LinearizedPass
from kpflow_cli.tracing.site_call import SiteCall, Visit
from kpflow_cli.tracing.site_mode import SiteMode


@dataclass(frozen=True)
class WatchedPass:
    """One pass whose state is differentiable in a perturbation of each call's output.

    Attributes:
        state: the state, in the graph.
        output: what forward returned.
        calls: every evaluation of a site, in order.
        perturbations: of each call, 0 and of its shape.
        shifts: of each parameter outside of linear maps, 0 and of its shape, by name.
        outside: the function by which each of these was used.
        reorders: whether something was called that may put the rows of a tensor in another order.
    """

    state: Tensor
    output: Any
    calls: list[SiteCall]
    perturbations: list[Tensor]
    shifts: dict[str, Tensor]
    outside: dict[str, str]
    reorders: bool

    def linearize(self, indices: Sequence[int], names: Sequence[str] = ()) -> LinearizedPass:
        """With respect to the perturbations of some calls and the shifts of some parameters."""
        return LinearizedPass(
            self.state,
            [
                *(self.perturbations[index] for index in indices),
                *(self.shifts[name] for name in names),
            ],
        )


class StateFinder(ABC):
    """What the state of a pass is.

    Attributes:
        submodule: the submodule whose outputs are recorded for it, None if there is none.
        of_sites: whether it is made of what weight sites put out or take in.
        mask: which trials and times of it count, ``(B, T)`` bool; None where all do.
    """

    submodule: str | None = None
    of_sites: bool = False
    mask: Tensor | None = None

    @property
    def unmasked(self) -> StateFinder:
        """What finds the state with all trials and times."""
        return self

    def of_call(self, call: SiteCall, live: LinearMap, output: Tensor) -> Tensor:
        """What of a call is kept for the state; ``live`` is its map with the site variable in the
        graph.
        """
        del call, live
        return output

    def places(self, calls: list[SiteCall]) -> Tensor | None:
        """Where the state's numbers stand among the outputs of all calls, one after the other; None
        of a state that is not made of them.
        """
        del calls
        return None

    @abstractmethod
    def find(
        self, result: Any, recorded: list[Any], calls: list[SiteCall], kept: list[Tensor]
    ) -> Tensor:
        """From what forward returned, what the submodule returned, and what was kept of each call.
        Raises UserError where there is none.
        """


class WatchedModule:
    """Runs in evaluation mode, each time from the same inputs, buffers and attributes.

    ``opaque`` names trained parameters whose uses cannot be seen; they are exchanged as a whole, by
    ``torch.func.functional_call``.

    Attributes:
        trained: the trained parameters by name.
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: tuple[Any, ...],
        finder: StateFinder,
        opaque: Collection[str] = (),
    ) -> None:
        self.module, self._finder, self._opaque = module, finder, frozenset(opaque)
        # what the caller does to them later is not ours
        self.inputs: tuple[Any, ...] = tuple(_copy(each) for each in inputs)
        self.trained = {
            name: parameter
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }
        self._kept = KeptState(module)

    def on(self, inputs: tuple[Any, ...]) -> WatchedModule:
        """The same with other inputs, all of whose trials and times count."""
        return WatchedModule(self.module, inputs, self._finder.unmasked, self._opaque)

    def run_perturbed(self) -> WatchedPass:
        """A pass with a perturbation, of 0, at the output of every call and in every parameter
        outside of linear maps.
        """
        shifts = {
            name: torch.zeros_like(parameter, requires_grad=True)
            for name, parameter in self.trained.items()
        }
        perturbations: list[Tensor] = []
        calls: list[SiteCall] = []

        def visit(call: SiteCall, _: LinearMap, output: Tensor) -> Tensor:
            calls.append(call)
            perturbations.append(torch.zeros_like(output, requires_grad=True))
            return output + perturbations[-1]

        state, output, mode = self.run(shifts, visit)
        return WatchedPass(state, output, calls, perturbations, shifts, mode.outside, mode.reorders)

    def run(self, shifts: Mapping[str, Tensor], visit: Visit) -> tuple[Tensor, Any, SiteMode]:
        """The state, forward's result, and the mode that saw it."""
        calls: list[SiteCall] = []
        kept: list[Tensor] = []

        def collect(call: SiteCall, live: LinearMap, output: Tensor) -> Tensor:
            output = visit(call, live, output)
            calls.append(call)
            kept.append(self._finder.of_call(call, live, output))
            # the next function may work in place
            return output.clone()

        watched = {
            name: parameter for name, parameter in self.trained.items() if name not in self._opaque
        }
        mode = SiteMode(watched, shifts, collect)
        exchanged = {
            name: parameter + shifts[name]
            for name, parameter in self.trained.items()
            if name in self._opaque and name in shifts
        }
        state, result = self._call(mode, exchanged, calls, kept)
        mode.outside.update(dict.fromkeys(self._opaque, "code that cannot be watched"))
        return state, result, mode

    def run_unwatched(self) -> Tensor:
        """The state of an ordinary call, by torch's own fused layers; only of a state that does not
        consist of site outputs.
        """
        # with gradients: without, some of torch's layers take another way
        with torch.enable_grad():
            return self._call(None, {}, [], [])[0].detach()

    def _call(
        self,
        mode: SiteMode | None,
        exchanged: dict[str, Tensor],
        calls: list[SiteCall],
        kept: list[Tensor],
    ) -> tuple[Tensor, Any]:
        """The state and forward's result."""
        inputs = tuple(_copy(each) for each in self.inputs)
        self._kept.restore()
        try:
            with self._recorded_outputs() as recorded:
                # torch's fused attention has no second derivative
                with evaluating(self.module), sdpa_kernel(SDPBackend.MATH), mode or nullcontext():
                    result = (
                        torch.func.functional_call(self.module, exchanged, inputs)
                        if exchanged
                        else self.module(*inputs)
                    )
                # which the state may be among
                return self._finder.find(result, recorded, calls, kept), result
        finally:
            self._kept.restore()

    @contextmanager
    def _recorded_outputs(self) -> Iterator[list[Any]]:
        """What the submodule that the state is named after returns, call by call."""
        recorded: list[Any] = []
        if self._finder.submodule is None:
            yield recorded
            return
        with recording(self.module.get_submodule(self._finder.submodule), recorded):
            yield recorded


@contextmanager
def recording(submodule: nn.Module, recorded: list[Any]) -> Iterator[None]:
    """Append what a submodule returns, call by call; the network goes on with a copy, so that
    nothing works on it in place.
    """

    def record(_module: nn.Module, _given: Any, returned: Any) -> Any:
        recorded.append(returned)
        return _copy(returned)

    hook = submodule.register_forward_hook(record)
    try:
        yield
    finally:
        hook.remove()


def over_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The same tuples, lists and dicts with a function applied to each tensor."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(over_tensors(function, each) for each in value))
    if isinstance(value, tuple | list):
        return type(value)(over_tensors(function, each) for each in value)
    if isinstance(value, dict):
        # of a class of its own, perhaps, with attributes
        changed = copy.copy(value)
        changed.update({key: over_tensors(function, each) for key, each in value.items()})
        return changed
    return value


def _copy(value: Any) -> Any:
    return over_tensors(Tensor.clone, value)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module and all within it in evaluation mode."""
    training = [each for each in module.modules() if each.training]
    module.eval()
    try:
        yield
    finally:
        for each in training:
            each.training = True
