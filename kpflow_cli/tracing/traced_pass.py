"""What watching one forward pass of a module has found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from kpflow_cli.tracing.linearized_pass import LinearizedPass
from kpflow_cli.tracing.site_call import SiteCall
from kpflow_cli.tracing.site_rows import Layouts, by_site, outside_of


@dataclass(frozen=True)
class TracedPass:
    """A forward pass with its weight sites.

    Attributes:
        state: the state, detached; where none was named, all site outputs one after the other,
            ``(N,)``.
        calls: every evaluation of a site that reaches the state, in order; parameters outside of
            linear maps, if they count, last, each as a site whose output it is itself.
        parameters: the trained parameters of these sites by name.
        dtype: of operators: the widest of the state and of all sites.
        site_places: where the state's numbers stand among the outputs of all calls, one after the
            other; None for a state that is not made of them.
        outside: the function by which each parameter outside of linear maps acts, by name.
        output: what forward returned.
        of_sites: whether the state is a ``SiteState``.
        mask: which trials and times of the state count, ``(B, T)`` bool; None where all do.
        linearized: d state / d(outputs of all calls), of a pass that was made when the network was
            traced.
    """

    state: Tensor
    calls: tuple[SiteCall, ...]
    parameters: dict[str, Tensor]
    dtype: torch.dtype
    site_places: Tensor | None
    outside: dict[str, str]
    output: Any
    of_sites: bool
    mask: Tensor | None
    linearized: LinearizedPass
    _run: Callable[[Sequence[Tensor]], Tensor]
    _output_of: Callable[[Tensor], Any]
    _find_layouts: Callable[[], Layouts]
    _reaching: tuple[Tensor, ...]

    def perturb_state(self, perturbations: Sequence[Tensor]) -> Tensor:
        """The state of a pass with a perturbation added to the output of each call, of its shape;
        differentiable in them.
        """
        return self._run(perturbations)

    def output_of(self, state: Tensor) -> Any:
        """What forward returns where the sites' outputs, or variables, are those of a
        ``SiteState``; differentiable in it.

        Nothing reaches the output from one site through another: of the output's derivatives these
        are the immediate ones. Raises ValueError for a state of another kind.
        """
        return self._output_of(state)

    @cached_property
    def layouts(self) -> Layouts:
        """Which rows of each site belong to which of the state's."""
        with torch.inference_mode(False), torch.enable_grad():
            return self._find_layouts()

    @cached_property
    def counted_rows(self) -> tuple[Tensor | None, ...]:
        """Of each call which of its rows K counts, bool: with a mask not those that reach no
        counted state; None where it is all of them.

        A row that is known to be of a counted trial and time counts though its units may be off.
        """
        if self.mask is None:
            return (None,) * len(self.calls)
        found: list[Tensor | None] = [None] * len(self.calls)
        sites = self.calls[: len(self._reaching)]
        for indices in by_site(sites):
            layout = self.layouts.of_sites.get(sites[indices[0]].site)
            reaching = [self._reaching[index] for index in indices]
            outside = outside_of(self.mask, layout, reaching)
            for index, reaches, padded in zip(indices, reaching, outside, strict=True):
                found[index] = reaches | ~padded
        return tuple(found)
