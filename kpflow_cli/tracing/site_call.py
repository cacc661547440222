"""A site at work: one evaluation of a weight site, and the views of parameters in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from kpflow_cli.tracing.linear_maps import LinearMap


@dataclass(frozen=True)
class ParameterView:
    """A trained parameter as it stands at a site: itself, or what views made of it."""

    name: str
    steps: tuple[Callable[[Tensor], Tensor], ...] = ()
    path: str = ""

    def of(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """The same view of other values of the parameters."""
        tensor = parameters[self.name]
        for step in self.steps:
            tensor = step(tensor)
        return tensor


@dataclass(frozen=True)
class SiteCall:
    """One evaluation of a site.

    Attributes:
        map: the linear map, which holds the site variable as it was.
        weight: the trained parameter in the place of W, None if there is none or it does not train.
        bias: likewise for b.
        shape, dtype: of the output u.
        time_step: of a recurrent layer's own products, None for others.
    """

    map: LinearMap
    weight: ParameterView | None
    bias: ParameterView | None
    shape: torch.Size
    dtype: torch.dtype
    time_step: int | None = None

    @property
    def site(self) -> str:
        """What all calls of one site have in common: a function, and the parameters in the places
        of W and b.
        """
        return f"{self.map.function} of " + ", ".join(
            view.name + view.path for view in (self.weight, self.bias) if view is not None
        )

    @property
    def name(self) -> str:
        """Of the site, for people: that of its layer, or of its parameter where it is no layer's
        ``weight``.
        """
        view = self.weight or self.bias
        return self.map.function if view is None else view.name.removesuffix(".weight") + view.path

    def output(self, parameters: Mapping[str, Tensor], *, biases: bool = True) -> Tensor:
        """u as a linear function of the parameters, ``shape``; without ``biases`` of the weight
        only.
        """
        parts = [] if self.weight is None else [self.map.weight_part(self.weight.of(parameters))]
        if self.bias is not None and biases:
            parts.append(self.map.bias_part(self.bias.of(parameters), self.shape))
        return (
            sum(parts[1:], parts[0])
            if parts
            else next(iter(parameters.values())).new_zeros(self.shape, dtype=self.dtype)
        )


# a call, its map with the site variable as the graph has it, and its output
Visit = Callable[[SiteCall, LinearMap, Tensor], Tensor]
