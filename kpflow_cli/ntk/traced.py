"""P, K, the core and NTK_S of any module of linear maps, by automatic differentiation through
perturbed site outputs.

U stands for the outputs of all sites, one after the other: P = d state / dU, D = dU / d theta with
the site variables held fixed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from kpflow_cli.errors import UserError
from kpflow_cli.ntk.contract import GlobalNTK, Trajectory
from kpflow_cli.ntk.core import Core, KroneckerCore
from kpflow_cli.ntk.traced_factors import SiteArrangement, SiteDerivative, SitePropagator
from kpflow_cli.ntk.traced_spectra import direct_sum_spectrum, is_used_once
from kpflow_cli.operators.gram import GramOperator
from kpflow_cli.tracing.refusals import how_they_act
from kpflow_cli.tracing.site_search import OtherParameters, TracedPass, find_sites
from kpflow_cli.tracing.state_choice import StateChoice


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

        Those of V_s V_s^T, a bias column included, once for each of the site's a_s outputs; of a
        weight made by an elementwise f those of V_s diag(f'_a^2) V_s^T for each output a.
        """
        return direct_sum_spectrum(self._traced) if is_used_once(self._traced) else None


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
        return direct_sum_spectrum(self._traced, of_core=True)


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

    def ntk(self, *, compressed: bool = True) -> TracedNTK:
        """As ``Trajectory.ntk`` says, by automatic differentiation."""
        del compressed
        return TracedNTK(self.traced)


def linearize(
    module: nn.Module,
    *inputs: Any,
    state: StateChoice = None,
    others: OtherParameters = "autograd",
    mask: Tensor | None = None,
) -> TracedTrajectory:
    """Run ``module(*inputs)`` in evaluation mode, find its weight sites and linearize it around
    them.

    What is found is checked against the module's own gradient; the module and its parameters stay
    as they are. Warns where the module is in training mode and this makes a difference.

    Args:
        module: any network; those whose trained parameters act through linear maps have a core.
        inputs: what it is called with; trials and times are the first two axes of the first.
        state: what NTK_S acts on. A submodule's name: its output (the first tensor, if it returns
            several; stacked over time along axis 1 where it is called step by step). A function
            of what forward returns. A ``SiteState``: the outputs or the variables of all weight
            sites side by side, ``(B, T, m)``. None: all site outputs one after the other,
            ``(N,)``.
        others: what becomes of trained parameters that reach the state otherwise: ``"autograd"``
            counts them by differentiating through them; ``"refuse"`` raises UserError that names
            them.

        mask: which trials and times count where trials are padded, ``(B, T)``, of bool or of 0 and
            1, of a state ``(B, T, n)``: it is 0 elsewhere, so that NTK_S is M NTK_S M; the core has
            no rows there, and K none that reach no counted state.

    Returns:
        The trajectory, of which ``global_ntk`` makes NTK_S.

    Raises:
        UserError: for a state that no trained parameter reaches or that cannot be found, a mask of
            another shape, a parameter that reaches the state unseen, a forward that is no function,
            numbers that are not finite or not of single or double precision.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> gru = torch.nn.GRU(3, 4, num_layers=2, batch_first=True)
        >>> trajectory = kp.linearize(gru, torch.randn(5, 6, 3), state=lambda result: result[0])
        >>> trajectory.state.shape
        torch.Size([5, 6, 4])
    """
    return TracedTrajectory(find_sites(module, *inputs, state=state, others=others, mask=mask))


class TracedNTK(GlobalNTK):
    """NTK_S = P K P^* of a module's named state, of all its site inputs or of all its site outputs.

    P is rectangular, K acts on the site outputs, J = P D.

    The core is, for a state ``(*rows, m)``, (sum_s V_s V_s^T) (x) I_m over the uses of weights that
    have one row for each of the state's, such as (trial, time); for all site outputs the direct sum
    over the sites of V_s V_s^T (x) I. Biases are left out of both, and so are other vectors that
    act outside of linear maps, such as gains and rates (``beside_core``); with a matrix outside of
    linear maps there is no core.
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
        each of the state's, where it is not known which belongs to which, or where a matrix acts
        outside of linear maps.
        """
        state, places = self._traced.state, self._traced.site_places
        # site outputs one after the other have no rows, and need none
        if places is not None and state.ndim == 1:
            self._refuse_matrices_outside()
            return SiteCore(self._traced, places, {})
        if state.ndim == 0:
            raise UserError("the state is a single number: there is no Kronecker core on it")
        variables = _site_variables(self._traced)
        if not variables:
            rows, outside = tuple(state.shape[:-1]), self._traced.outside
            acting = f"; outside of linear maps act {how_they_act(outside)}" if outside else ""
            raise UserError(
                f"no weight site has one row for each of the state's {rows}: there is no "
                f"Kronecker core on this state{acting}"
            )
        self._refuse_matrices_outside()
        return (
            KroneckerCore(variables, state.shape[-1])
            if places is None
            else SiteCore(self._traced, places, variables)
        )

    @property
    def beside_core(self) -> str | None:
        """As ``GlobalNTK.beside_core`` says."""
        outside = self._traced.outside
        return how_they_act(outside) if outside and not self.why_no_core else None

    def _refuse_matrices_outside(self) -> None:
        matrices = {
            name: function
            for name, function in self._traced.outside.items()
            if sum(size > 1 for size in self._traced.parameters[name].shape) > 1
        }
        if matrices:
            raise UserError(
                f"outside of linear maps act {how_they_act(matrices)}: a Kronecker core would lack "
                "what they are multiplied with"
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
    for indices, joined in traced.layouts.join(calls, variables, traced.state.shape[:-1]):
        first = calls[indices[0]]
        if traced.mask is not None:
            joined = joined * traced.mask.unsqueeze(-1)
        found[first.site if first.name in found else first.name] = joined.to(traced.dtype)
    return found
