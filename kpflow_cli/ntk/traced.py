"""P, K, the core and NTK_S of any module of linear maps, by automatic differentiation through
perturbed site outputs.

U stands for the outputs of all sites, one after the other: P = d state / dU, D = dU / d theta with
the site variables held fixed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vjp, vmap

from kpflow_cli.errors import UserError
from kpflow_cli.ntk.contract import GlobalNTK, Trajectory
from kpflow_cli.ntk.core import Core, KroneckerCore
from kpflow_cli.operators.base import LinearOperator
from kpflow_cli.operators.gram import GramOperator
from kpflow_cli.tracing.linearized_pass import PASS_BYTES
from kpflow_cli.tracing.site_mode import ParameterView, SiteCall
from kpflow_cli.tracing.site_rows import by_site
from kpflow_cli.tracing.site_search import OtherParameters, TracedPass, find_sites
from kpflow_cli.tracing.state_choice import StateChoice


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
        return torch.cat([part.flatten(1).to(self.dtype) for part in parts], dim=1)


class SiteDerivative(LinearOperator):
    """D from the parameters ``(p,)``, all of them one after the other, to site outputs ``(N_u,)``
    at fixed site variables.

    With ``separate``, each site has a weight of its own, as if nothing were shared, and no bias: D
    D^* is then the direct sum over the sites of V_s V_s^T (x) I.
    """

    symbol = "D"

    def __init__(self, traced: TracedPass, *, separate: bool = False) -> None:
        self._calls, self._separate = traced.calls, separate
        owners = [
            _own(call, name) if separate else name
            for call in self._calls
            for name in _names(call, biases=not separate)
        ]
        self.parameters = {
            owner: traced.parameters[owner.rpartition("\n")[2]] for owner in dict.fromkeys(owners)
        }
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
        outputs = []
        for call in self._calls:
            own = (
                {name: values[_own(call, name)] for name in _names(call, biases=False)}
                if self._separate
                else values
            )
            found = (
                call.output(own, biases=not self._separate) if own else flat.new_zeros(call.shape)
            )
            outputs.append(found.reshape(-1).to(self.dtype))
        return torch.cat(outputs)

    def _apply(self, block: Tensor) -> Tensor:
        return _over_block(self._outputs, block, self.out_shape)

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        pull_back = vjp(self._outputs, block.new_zeros(self.in_shape))[1]
        return _over_block(lambda cotangent: pull_back(cotangent)[0], block, self.in_shape)


def _names(call: SiteCall, *, biases: bool) -> list[str]:
    return [view.name for view in (call.weight, call.bias if biases else None) if view is not None]


def _own(call: SiteCall, name: str) -> str:
    """The name of a parameter as one site's own."""
    return f"{call.site}\n{name}"


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


class TracedParameterOperator(GramOperator):
    """K = D D^* on site outputs ``(N_u,)``."""

    symbol = "K"
    factor: SiteDerivative

    def __init__(self, traced: TracedPass) -> None:
        super().__init__(SiteDerivative(traced))
        self._traced = traced

    def eigenvalues(self) -> Tensor | None:
        """All eigenvalues that can differ from 0, descending, float64; None where a number of the
        parameters is used more than once, by several sites or within a view.

        Those of V_s V_s^T, a bias column included, once for each of the site's a_s outputs.
        """
        return _direct_sum_spectrum(self._traced) if _used_once(self._traced) else None


def _sites(traced: TracedPass) -> list[list[SiteCall]]:
    return [[traced.calls[index] for index in indices] for indices in by_site(traced.calls)]


def _used_once(traced: TracedPass) -> bool:
    """Whether every number of the parameters stands in one place of one site, which its calls have
    in common.
    """
    used: dict[str, list[Tensor]] = {}
    for calls in _sites(traced):
        for view in (calls[0].weight, calls[0].bias):
            if view is not None:
                used.setdefault(view.name, []).append(_numbers_of(view, traced))
        views = [[view for view in (call.weight, call.bias) if view is not None] for call in calls]
        if any(
            not torch.equal(_numbers_of(one, traced), _numbers_of(first, traced))
            for each in views[1:]
            for one, first in zip(each, views[0], strict=True)
        ):
            return False
    return all(len(numbers.unique()) == len(numbers) for numbers in map(torch.cat, used.values()))


def _numbers_of(view: ParameterView, traced: TracedPass) -> Tensor:
    """Which numbers of the parameter stand in a view of it, flat."""
    parameter = traced.parameters[view.name]
    return view.of(
        {
            view.name: torch.arange(parameter.numel(), device=parameter.device).reshape(
                parameter.shape
            )
        }
    ).flatten()


def _direct_sum_spectrum(traced: TracedPass, *, biases: bool = True) -> Tensor | None:
    """Eigenvalues of the direct sum of all sites' parts, descending, float64; None where those of
    one are not known.
    """
    spectra = [_site_spectrum(calls, traced.parameters, biases=biases) for calls in _sites(traced)]
    known = [spectrum for spectrum in spectra if spectrum is not None]
    return (
        torch.cat(known).clamp_min(0).sort(descending=True).values
        if len(known) == len(spectra)
        else None
    )


def _site_spectrum(
    calls: list[SiteCall], parameters: dict[str, Tensor], *, biases: bool
) -> Tensor | None:
    """Eigenvalues of one site's part of K, each as often as it occurs; None where the site is no
    product with one matrix.
    """
    first = calls[0]
    rows = sum(call.shape.numel() for call in calls)
    if first.weight is None:
        outputs = first.bias.of(parameters).numel() if first.bias is not None else rows
        regressors = torch.zeros(1, rows // outputs, 0, dtype=torch.float64)
    elif all(call.map.variables() is not None for call in calls):
        regressors = torch.cat([_by_row(call.map.variables()) for call in calls]).unsqueeze(0)
        outputs = rows // regressors.shape[1]
    elif all(call.map.elementwise() is not None for call in calls):
        # every output is a site of its own, with one variable
        regressors, outputs = (
            torch.cat([_by_row(call.map.elementwise()) for call in calls]).T.unsqueeze(-1),
            1,
        )
    else:
        return None
    if first.bias is not None and biases:
        bias = first.bias.of(parameters)
        if bias.numel() != outputs * len(regressors) or (
            first.weight is not None and bias.ndim != 1
        ):
            return None
        if any(call.map.bias_factor != 1 for call in calls):
            return None
        regressors = torch.cat([regressors, regressors.new_ones(*regressors.shape[:2], 1)], dim=-1)
    return torch.linalg.svdvals(regressors).square().flatten().repeat_interleave(outputs)


def _by_row(values: Tensor | None) -> Tensor:
    """``(rows, d)`` float64."""
    assert values is not None
    return values.reshape(-1, values.shape[-1]).double()


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


class SiteCore(Core):
    """The core of a state of all site outputs: the direct sum over the sites of V_s V_s^T (x) I,
    block diagonal in the units.
    """

    symbol = "V_s V_s^T (x) I"

    def __init__(
        self, traced: TracedPass, places: Tensor, variables_by_site: dict[str, Tensor]
    ) -> None:
        derivative = SiteDerivative(traced, separate=True)
        arrangement = SiteArrangement(
            places, derivative.out_shape[0], dtype=derivative.dtype, device=derivative.device
        )
        super().__init__(arrangement @ derivative, variables_by_site)
        self._traced = traced

    def eigenvalues(self) -> Tensor | None:
        """Those of V_s V_s^T, once for each of the site's a_s outputs; None where a site is no
        product with one matrix.
        """
        return _direct_sum_spectrum(self._traced, biases=False)


@dataclass(frozen=True)
class TracedTrajectory(Trajectory):
    """A forward pass of any module, its weight sites found by watching it."""

    traced: TracedPass

    @property
    def state(self) -> Tensor:  # type: ignore[override]
        """That of the pass; where none was named, all site outputs one after the other,
        ``(N,)``.
        """
        return self.traced.state

    def ntk(self, *, compressed: bool = False) -> TracedNTK:
        """As ``Trajectory.ntk`` says, by automatic differentiation."""
        del compressed
        return TracedNTK(self.traced)


def linearize(
    module: nn.Module, *inputs: Any, state: StateChoice = None, others: OtherParameters = "refuse"
) -> TracedTrajectory:
    """Run ``module(*inputs)`` in evaluation mode, find its weight sites and linearize it around
    them.

    What is found is checked against the module's own gradient; the module and its parameters stay
    as they are. Warns where the module is in training mode and this makes a difference.

    Args:
        module: any network whose trained parameters act through linear maps.
        inputs: what it is called with; trials and times are the first two axes of the first.
        state: what NTK_S acts on. A submodule's name: its output (the first tensor, if it returns
            several; stacked over time along axis 1 where it is called step by step). A function
            of what forward returns. A ``SiteState``: the outputs or the variables of all weight
            sites side by side, ``(B, T, m)``. None: all site outputs one after the other,
            ``(N,)``.
        others: what becomes of trained parameters that reach the state otherwise: ``"refuse"``,
            or ``"autograd"`` to count them by differentiating through them.

    Returns:
        The trajectory, of which ``global_ntk`` makes NTK_S.

    Raises:
        UserError: for a parameter that reaches the state otherwise or unseen, a forward that is
            no function, a state that cannot be found, a module without weight sites, numbers that
            are not finite or not of single or double precision.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> gru = torch.nn.GRU(3, 4, num_layers=2, batch_first=True)
        >>> trajectory = kp.linearize(gru, torch.randn(5, 6, 3), state=lambda result: result[0])
        >>> trajectory.state.shape
        torch.Size([5, 6, 4])
    """
    return TracedTrajectory(find_sites(module, *inputs, state=state, others=others))


class TracedNTK(GlobalNTK):
    """NTK_S = P K P^* of a module's named state, of all its site inputs or of all its site outputs.

    P is rectangular, K acts on the site outputs, J = P D.

    The core is, for a state ``(*rows, m)``, (sum_s V_s V_s^T) (x) I_m over the uses of weights that
    have one row for each of the state's, such as (trial, time); for all site outputs the direct sum
    over the sites of V_s V_s^T (x) I. Biases are left out of both.
    """

    parameter_operator: TracedParameterOperator

    def __init__(self, traced: TracedPass) -> None:
        self.propagator = SitePropagator(traced)
        self.parameter_operator = TracedParameterOperator(traced)
        self._derivative = self.parameter_operator.factor
        super().__init__(self.propagator @ self._derivative)
        self._traced = traced

    @cached_property
    def core(self) -> Core:
        """The operator that NTK_S is compared with. Raises UserError where no site has a row for
        each of the state's, or where it is not known which belongs to which.
        """
        state, places = self._traced.state, self._traced.site_places
        # site outputs one after the other have no rows, and need none
        if places is not None and state.ndim == 1:
            return SiteCore(self._traced, places, {})
        if state.ndim == 0:
            raise UserError("the state is a single number: there is no Kronecker core on it")
        variables = _site_variables(self._traced)
        if not variables:
            rows = tuple(state.shape[:-1])
            raise UserError(
                f"no weight site has one row for each of the state's {rows}: there is no "
                "Kronecker core on this state"
            )
        return (
            KroneckerCore(variables, state.shape[-1])
            if places is None
            else SiteCore(self._traced, places, variables)
        )

    def forms_by_layer(self, block: Tensor) -> dict[str, Tensor]:
        """As ``GlobalNTK.forms_by_layer`` says; a layer is the module that holds the parameters, of
        torch's recurrent ones one of its layers, such as ``lstm.l0``.
        """
        gradients = self.factor.adjoint_matblock(block).double().square()
        parameters = self._derivative.parameters
        parts = gradients.split([parameter.numel() for parameter in parameters.values()], dim=1)
        found: dict[str, Tensor] = {}
        for name, part in zip(parameters, parts, strict=True):
            layer = _layer_of(name)
            found[layer] = found.get(layer, 0.0) + part.sum(1)
        return found


def _layer_of(parameter: str) -> str:
    """The module that holds a parameter; one of several layers that share a module by its suffix;
    the parameter itself where none does.
    """
    holder, _, own = parameter.rpartition(".")
    suffix = re.fullmatch(r"(?:weight|bias)_(?:ih|hh|hr)_(l\d+(?:_reverse)?)", own)
    return ".".join(part for part in (holder, suffix[1] if suffix else "") if part) or parameter


def _site_variables(traced: TracedPass) -> dict[str, Tensor]:
    """v_s ``(*rows, d_s)`` of the sites that have the state's rows, by name; of two uses of one
    weight the second by all that tells it apart. Raises UserError where the rows of a site are not
    known.
    """
    calls = [call for call in traced.calls if call.map.function != "value"]
    variables = [call.map.variables() if call.weight is not None else None for call in calls]
    found: dict[str, Tensor] = {}
    for indices, joined in traced.layouts.joined(calls, variables, traced.state.shape[:-1]):
        first = calls[indices[0]]
        found[first.site if first.name in found else first.name] = joined.to(traced.dtype)
    return found
