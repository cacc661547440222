"""P and D of any module of linear maps, by automatic differentiation through perturbed outputs.

U stands for the outputs of all sites, one after the other: P = d state / dU, D = dU / d theta with
the site variables held fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import vjp, vmap
from torch.nn import functional

from kpflow_cli.operators.base import LinearOperator
from kpflow_cli.tracing.linearized_pass import PASS_BYTES
from kpflow_cli.tracing.site_call import SiteCall
from kpflow_cli.tracing.site_rows import by_site
from kpflow_cli.tracing.site_search import TracedPass


class SitePropagator(LinearOperator):
    """P from site outputs ``(N_u,)`` to the state, d state / dU through the rest of the graph;
    without an inverse.

    Adjoint products are reverse-mode derivatives of one stored pass, products those of this
    derivative in turn.
    """

    symbol = "P"

    def __init__(self, traced: TracedPass) -> None:
        self._traced = traced
        self._shapes = [call.shape for call in traced.calls]
        self.in_shape, self.out_shape = (
            (sum(shape.numel() for shape in self._shapes),),
            tuple(traced.state.shape),
        )
        self.dtype, self.device = traced.dtype, traced.state.device

    def _apply(self, block: Tensor) -> Tensor:
        calls = zip(
            self._traced.calls,
            block.split([shape.numel() for shape in self._shapes], dim=1),
            strict=True,
        )
        tangents = [part.reshape(-1, *call.shape).to(call.dtype) for call, part in calls]
        return self._traced.linearized.push_forward(tangents).to(self.dtype)

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        parts = self._traced.linearized.pull_back(block.to(self._traced.state.dtype))
        return torch.cat(
            [part.reshape(len(part), part.shape[1:].numel()).to(self.dtype) for part in parts],
            dim=1,
        )


class SiteDerivative(LinearOperator):
    """D from the parameters ``(p,)``, all of them one after the other, to site outputs ``(N_u,)``
    at fixed site variables; 0 in rows that a mask of the state leaves out.

    With ``separate``, each site has a weight of its own, as it stands there and as if nothing were
    shared, and no bias: D D^* is then the direct sum over the sites of V_s V_s^T (x) I.
    """

    symbol = "D"

    def __init__(self, traced: TracedPass, *, separate: bool = False) -> None:
        self._calls, self._separate = traced.calls, separate
        self._counted = [
            None if rows is None else _spread(call, rows)
            for call, rows in zip(traced.calls, traced.counted_rows, strict=True)
        ]
        self.parameters = (
            {
                call.site: call.weight.of(traced.parameters)
                for call in self._calls
                if call.weight is not None
            }
            if separate
            else {name: traced.parameters[name] for name in _names(self._calls)}
        )
        self._groups = [
            (indices, _join_variables([self._calls[index] for index in indices], traced))
            for indices in by_site(self._calls)
        ]
        self.in_shape = (sum(parameter.numel() for parameter in self.parameters.values()),)
        self.out_shape = (sum(call.shape.numel() for call in self._calls),)
        self.dtype, self.device = traced.dtype, traced.state.device

    def _outputs(self, flat: Tensor) -> Tensor:
        parts = zip(
            self.parameters.items(),
            flat.split([parameter.numel() for parameter in self.parameters.values()]),
            strict=True,
        )
        values = {
            owner: part.reshape(parameter.shape).to(parameter.dtype)
            for (owner, parameter), part in parts
        }
        outputs = [flat] * len(self._calls)
        for indices, variables in self._groups:
            calls = [self._calls[index] for index in indices]
            for index, found in zip(indices, self._of_site(calls, variables, values), strict=True):
                counted = self._counted[index]
                counting = found if counted is None else found * counted
                outputs[index] = counting.reshape(-1).to(self.dtype)
        return torch.cat(outputs)

    def _of_site(
        self, calls: Sequence[SiteCall], variables: Tensor | None, values: dict[str, Tensor]
    ) -> list[Tensor]:
        """u of each call of a site; by one product where all their ``variables`` are joined."""
        first = calls[0]
        if variables is not None and first.weight is not None:
            weight = values[first.site] if self._separate else first.weight.of(values)
            bias = None if self._separate or first.bias is None else first.bias.of(values)
            joined = functional.linear(variables, weight, bias)
            return list(joined.split([call.shape[:-1].numel() for call in calls]))
        if not self._separate:
            return [call.output(values) for call in calls]
        if first.site in values:
            return [call.map.weight_part(values[first.site]) for call in calls]
        return [next(iter(values.values())).new_zeros(call.shape) for call in calls]

    def _apply(self, block: Tensor) -> Tensor:
        return _over_block(self._outputs, block, self.out_shape)

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        # in inference mode the vjp of torch 2.6 is 0
        with torch.inference_mode(False):
            pull_back = vjp(self._outputs, block.new_zeros(self.in_shape))[1]
            return _over_block(lambda cotangent: pull_back(cotangent)[0], block, self.in_shape)


def _join_variables(calls: Sequence[SiteCall], traced: TracedPass) -> Tensor | None:
    """v of all calls of a site row by row, ``(rows, d)``, where it is called several times, as by
    the loop of a recurrence, and they are all products with one matrix; None otherwise.
    """
    first = calls[0]
    several = len(calls) > 1 and all(call.map.function == "linear" for call in calls)
    if not several or first.weight is None or first.weight.of(traced.parameters).ndim != 2:
        return None
    variables = [call.map.variables() for call in calls]
    known = [each.reshape(-1, each.shape[-1]) for each in variables if each is not None]
    return torch.cat(known) if len(known) == len(calls) else None


def _spread(call: SiteCall, rows: Tensor) -> Tensor:
    """Values of a call's rows for each number of its output."""
    spread = torch.zeros(call.shape, dtype=rows.dtype, device=rows.device)
    call.map.by_row(spread).copy_(rows.unsqueeze(-1).expand_as(call.map.by_row(spread)))
    return spread


def _names(calls: Sequence[SiteCall]) -> list[str]:
    """Of the parameters, as they first occur."""
    views = (view for call in calls for view in (call.weight, call.bias) if view is not None)
    return list(dict.fromkeys(view.name for view in views))


def _over_block(
    function: Callable[[Tensor], Tensor], block: Tensor, shape: tuple[int, ...]
) -> Tensor:
    """A function of one vector over a block, several at once where torch can: a pass keeps many
    tensors of each.
    """
    images = block.new_empty(len(block), *shape)
    at_once = max(1, PASS_BYTES // max((images[:1].nbytes + block[:1].nbytes), 1))
    for start in range(0, len(block), at_once):
        part = slice(start, start + at_once)
        try:
            images[part] = vmap(function)(block[part]).detach()
        except RuntimeError:
            # code that works in place on tensors of its own cannot be batched
            images[part] = torch.stack([function(vector) for vector in block[part]]).detach()
    return images


class SiteArrangement(LinearOperator):
    """The numbers of all site outputs ``(N_u,)`` in the order of a state; ``places`` ``(*shape)``
    says which of them stands where.
    """

    symbol = "S"

    def __init__(
        self, places: Tensor, size: int, *, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._places = places.to(device)
        self.in_shape, self.out_shape = (size,), tuple(places.shape)
        self.dtype, self.device = dtype, device

    def _apply(self, block: Tensor) -> Tensor:
        return block[:, self._places]

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        flat = block.new_zeros(len(block), *self.in_shape)
        flat[:, self._places.flatten()] = block.flatten(1)
        return flat
