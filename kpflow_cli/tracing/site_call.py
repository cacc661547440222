"""A site at work: one evaluation of a weight site, and the views of parameters in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from kpflow_cli.tracing.linear_maps import LinearMap


@dataclass(frozen=True)
class ParameterView:
    """A trained parameter as it stands at a site: itself, or what views and elementwise functions
    made of it.

    Attributes:
        name: of the parameter.
        steps: the views, in order.
        path: what they are called.
        slope: derivative of each number that stands here by the parameter's own, of the shape, and
            in the number format, of what was made; None where it is 1.
        functions: names of the elementwise functions.
        variant: tells apart what the same functions made with other constants, 0 of the first.
    """

    name: str
    steps: tuple[Callable[[Tensor], Tensor], ...] = ()
    path: str = ""
    slope: Tensor | None = None
    functions: tuple[str, ...] = ()
    variant: int = 0

    def of(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """What a change of the parameters is here, to first order."""
        tensor = self._select(parameters[self.name])
        return tensor if self.slope is None else tensor.to(self.slope) * self.slope

    def numbers(self, parameter: Tensor) -> Tensor:
        """Which of the parameter's numbers stands at each place here."""
        count = torch.arange(parameter.numel(), device=parameter.device)
        return self._select(count.reshape(parameter.shape))

    @property
    def made(self) -> str:
        """The parameter and all that was done with it, which tells sites apart."""
        if self.slope is None:
            return self.name + self.path
        variant = f"#{self.variant + 1}" if self.variant else ""
        return self.name + self.path + "".join(f".{each}" for each in self.functions) + variant

    def _select(self, tensor: Tensor) -> Tensor:
        for step in self.steps:
            tensor = step(tensor)
        return tensor


def weight_name(parameter: str) -> str:
    """What a module calls the weight that torch's parametrizations and prunings make of a
    parameter.
    """
    return re.sub(r"parametrizations\.(\w+)\.original$", r"\1", parameter).removesuffix("_orig")


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
            view.made for view in (self.weight, self.bias) if view is not None
        )

    @property
    def name(self) -> str:
        """Of the site, for people: that of its layer, or of its parameter where it is no layer's
        ``weight``.
        """
        view = self.weight or self.bias
        return (
            self.map.function
            if view is None
            else weight_name(view.name).removesuffix(".weight") + view.path
        )

    def output(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """u as a linear function of the parameters, ``shape``."""
        parts = [] if self.weight is None else [self.map.weight_part(self.weight.of(parameters))]
        if self.bias is not None:
            parts.append(self.map.bias_part(self.bias.of(parameters), self.shape))
        return sum(parts[1:], parts[0])


# a call, its map with the site variable as the graph has it, and its output
Visit = Callable[[SiteCall, LinearMap, Tensor], Tensor]
