"""What a state can be: a submodule's output, a function of what forward returns, or what all weight
sites make up.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from kpflow_cli.errors import UserError
from kpflow_cli.tracing.linear_maps import LinearMap
from kpflow_cli.tracing.row_order import tensors_in
from kpflow_cli.tracing.row_search import find_layouts, inputs_in_order
from kpflow_cli.tracing.site_call import SiteCall
from kpflow_cli.tracing.site_rows import Layouts
from kpflow_cli.tracing.watched_module import StateFinder, WatchedModule


class SiteState(Enum):
    """A state that all weight sites make up, side by side along the unit axis, ``(B, T, m)``: their
    outputs u_s or their variables v_s.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> mlp = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
        >>> kp.linearize(mlp, torch.randn(5, 6, 3), state=kp.SiteState.OUTPUTS).state.shape
        torch.Size([5, 6, 6])
    """

    OUTPUTS = "site_outputs"
    INPUTS = "site_inputs"


StateChoice = str | Callable[[Any], Tensor] | SiteState | None


def find_state_of(choice: StateChoice, module: nn.Module, inputs: tuple[Any, ...]) -> StateFinder:
    """What finds the chosen state. Raises UserError for a choice that the module does not have."""
    if isinstance(choice, str):
        known = [name for name, _ in module.named_modules() if name]
        if choice not in known:
            raise UserError(
                f"state={choice}: {type(module).__name__} has no such submodule; it has "
                f"{', '.join(known)}"
            )
        return _SubmoduleState(choice)
    if choice is None:
        return AllSiteOutputs()
    return (
        SitesByRow(choice, module, inputs)
        if isinstance(choice, SiteState)
        else _FunctionState(choice)
    )


class _SubmoduleState(StateFinder):
    """The first tensor that a submodule returned, stacked along axis 1 where it was called step by
    step.
    """

    def __init__(self, name: str) -> None:
        self.submodule = name

    def find(
        self, result: Any, recorded: list[Any], calls: list[SiteCall], kept: list[Tensor]
    ) -> Tensor:
        del result, calls, kept
        return state_of_submodule(self.submodule or "", recorded)


def state_of_submodule(name: str, recorded: list[Any]) -> Tensor:
    """The first tensor of what the submodule of this name returned at each call. Raises UserError
    where there is none.
    """
    if not recorded:
        raise UserError(f"state={name}: the submodule was not called")
    found = [tensor for output in recorded for tensor in list(tensors_in(output))[:1]]
    if len(found) < len(recorded):
        raise UserError(f"state={name}: the submodule returned no tensor")
    return found[0] if len(found) == 1 else torch.stack(found, dim=1)


class _FunctionState(StateFinder):
    """A function of what forward returned."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def find(
        self, result: Any, recorded: list[Any], calls: list[SiteCall], kept: list[Tensor]
    ) -> Tensor:
        del recorded, calls, kept
        found = self._function(result)
        if not isinstance(found, Tensor):
            raise UserError(f"the state is a {type(found).__name__}, not a tensor")
        return found


class MaskedState(StateFinder):
    """A state ``(B, T, n)`` that is 0 wherever ``mask`` ``(B, T)``, of bool or of 0 and 1, is.

    Raises UserError for a mask of other numbers or shape, or of a state of all weight sites.
    """

    def __init__(self, finder: StateFinder, mask: Tensor) -> None:
        if finder.of_sites:
            raise UserError(
                "mask: only of a state that a submodule or a function of the result names, not of "
                "what all weight sites put out or take in"
            )
        if mask.ndim != 2:
            raise UserError(f"mask: of shape {tuple(mask.shape)}, not (B, T)")
        if not ((mask == 0) | (mask == 1)).all():
            raise UserError("mask: holds other numbers than 0 and 1")
        if not mask.any():
            raise UserError("mask: counts no trial at any time")
        self.mask, self._finder, self.submodule = mask.bool().clone(), finder, finder.submodule

    @property
    def unmasked(self) -> StateFinder:
        """As ``StateFinder.unmasked`` says."""
        return self._finder

    def find(
        self, result: Any, recorded: list[Any], calls: list[SiteCall], kept: list[Tensor]
    ) -> Tensor:
        """As ``StateFinder.find`` says. Raises UserError for a state of other trials and times."""
        assert self.mask is not None
        state = self._finder.find(result, recorded, calls, kept)
        if state.ndim != 3 or state.shape[:2] != self.mask.shape:
            raise UserError(
                f"mask: of shape {tuple(self.mask.shape)} = (B, T), but the state is of shape "
                f"{tuple(state.shape)}"
            )
        self.mask = self.mask.to(state.device)
        return state.masked_fill(~self.mask.unsqueeze(-1), 0)


class AllSiteOutputs(StateFinder):
    """All site outputs, one after the other, ``(N,)``."""

    of_sites = True

    def places(self, calls: list[SiteCall]) -> Tensor:
        """As ``StateFinder.places`` says: as they are."""
        return torch.arange(sum(call.shape.numel() for call in calls))

    def find(
        self, result: Any, recorded: list[Any], calls: list[SiteCall], kept: list[Tensor]
    ) -> Tensor:
        """As ``StateFinder.find`` says; empty without sites."""
        del result, recorded, calls
        return torch.cat([output.flatten() for output in kept]) if kept else torch.zeros(0)


class SitesByRow(StateFinder):
    """A ``SiteState``, by trial and time of the first input.

    Attributes:
        kind: which.
        rows: (B, T).
    """

    of_sites = True

    def __init__(self, kind: SiteState, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        first = inputs[0] if inputs else None
        if not isinstance(first, Tensor) or first.ndim < 2:
            raise UserError(f"state={kind.value}: the first input has no trial and time axes")
        self.kind, self.rows = kind, first.shape[:2]
        self._reference = WatchedModule(module, inputs, _FunctionState(_first_sequence))
        self._layouts: Layouts | None = None

    def of_call(self, call: SiteCall, live: LinearMap, output: Tensor) -> Tensor:
        """u, or v by row. Raises UserError where v is not what the function is called with."""
        if self.kind is SiteState.OUTPUTS:
            return output
        variables = live.variables()
        if variables is None or live.of_variables is None:
            raise UserError(
                f"site {call.name}: a {call.map.function} has no inputs by trial and time; take "
                "the site outputs as the state"
            )
        return variables

    def find(
        self, result: Any, recorded: list[Any], calls: list[SiteCall], kept: list[Tensor]
    ) -> Tensor:
        """As ``StateFinder.find`` says; empty without sites. Raises UserError for a site without
        rows of trials and times.
        """
        del result, recorded
        return self.layouts(calls).side_by_side(calls, kept, self.rows) if calls else torch.zeros(0)

    def places(self, calls: list[SiteCall]) -> Tensor | None:
        """As ``StateFinder.places`` says, of site outputs."""
        if self.kind is SiteState.INPUTS:
            return None
        return self.layouts(calls).places(calls, [call.shape for call in calls], self.rows)

    def layouts(self, calls: list[SiteCall]) -> Layouts:
        """Of all sites, by the network's own result."""
        if self._layouts is None:
            if self._reference.inputs[0].is_floating_point() and not inputs_in_order(
                self._reference
            ):
                raise UserError(
                    f"state={self.kind.value}: what forward returns does not have the trials and "
                    "times of the first input"
                )
            self._layouts = find_layouts(self._reference, calls, reaching=False)
        return self._layouts


def _first_sequence(result: Any) -> Tensor:
    found = next((tensor for tensor in tensors_in(result) if tensor.ndim > 2), None)
    if found is None:
        raise UserError(
            "a state of site outputs or inputs: forward returns nothing by trial and time"
        )
    return found
