"""P, K, the core and NTK_S of any module of linear maps, by automatic differentiation through perturbed site outputs.

U stands for the outputs of all sites, one after the other: P = d state / dU, D = dU / d theta with the site variables held fixed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from kpflow_cli.errors import UserError
from kpflow_cli.models.site_mode import SiteCall
from kpflow_cli.models.site_rows import by_site, rows_of_site
from kpflow_cli.models.tracing import ModuleTrajectory
from kpflow_cli.operators.base import LinearOperator
from kpflow_cli.operators.gram import GramOperator
from kpflow_cli.operators.kronecker import Core, KroneckerCore

# vectors and their images of one pass: larger ones leave the processor's cache and are slower
_PASS_BYTES = 2**24


class SitePropagator(LinearOperator):
    """P from site outputs ``(N_u,)`` to the state, d state / dU through the rest of the graph; without an inverse.

    Products are forward-mode derivatives, adjoint ones reverse-mode derivatives of one stored pass.
    """

    symbol = "P"

    def __init__(self, trajectory: ModuleTrajectory) -> None:
        self._trajectory = trajectory
        self._shapes = [call.shape for call in trajectory.calls]
        self.in_shape, self.out_shape = (sum(shape.numel() for shape in self._shapes),), tuple(trajectory.state.shape)
        self.dtype, self.device = trajectory.state.dtype, trajectory.state.device
        self._origin = tuple(torch.zeros(shape, dtype=self.dtype, device=self.device) for shape in self._shapes)
        self._pull_back: Callable[[Tensor], tuple[Tensor, ...]] | None = None

    # one argument a call: the derivative of a slice of a single one would fill all of it with zeros, call by call
    def _state(self, *perturbations: Tensor) -> Tensor:
        return self._trajectory.perturbed_state(perturbations)

    def _apply(self, block: Tensor) -> Tensor:
        def push_forward(tangent: Tensor) -> Tensor:
            parts = tangent.split([shape.numel() for shape in self._shapes])
            tangents = tuple(part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True))
            return jvp(self._state, self._origin, tangents)[1]

        return _over_block(push_forward, block, self.out_shape)

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        if self._pull_back is None:
            self._pull_back = vjp(self._state, *self._origin)[1]
        pull_back = self._pull_back

        def flat(cotangent: Tensor) -> Tensor:
            return torch.cat([part.reshape(-1) for part in pull_back(cotangent)])

        return _over_block(flat, block, self.in_shape)


class SiteDerivative(LinearOperator):
    """D from the parameters ``(p,)``, all of them one after the other, to site outputs ``(N_u,)`` at fixed site variables.

    With ``separate``, each site has a weight of its own, as if nothing were shared, and no bias: D D^* is then the direct sum over the
    sites of V_s V_s^T (x) I.
    """

    symbol = "D"

    def __init__(self, trajectory: ModuleTrajectory, *, separate: bool = False) -> None:
        self._calls, self._separate = trajectory.calls, separate
        owners = [_own(call, name) if separate else name for call in self._calls for name in _names(call, biases=not separate)]
        self._parameters = {owner: trajectory.parameters[owner.rpartition("\n")[2]] for owner in dict.fromkeys(owners)}
        self.in_shape = (sum(parameter.numel() for parameter in self._parameters.values()),)
        self.out_shape = (sum(call.shape.numel() for call in self._calls),)
        self.dtype, self.device = trajectory.state.dtype, trajectory.state.device

    def _outputs(self, flat: Tensor) -> Tensor:
        parts = flat.split([parameter.numel() for parameter in self._parameters.values()])
        values = {owner: part.reshape(self._parameters[owner].shape) for owner, part in zip(self._parameters, parts, strict=True)}
        outputs = []
        for call in self._calls:
            own = {name: values[_own(call, name)] for name in _names(call, biases=False)} if self._separate else values
            found = call.output(own, biases=not self._separate) if own else flat.new_zeros(call.shape)
            outputs.append(found.reshape(-1))
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


def _over_block(function: Callable[[Tensor], Tensor], block: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A function of one vector over a block, several at once where torch can: a pass keeps many tensors of each."""
    images = block.new_empty(len(block), *shape)
    at_once = max(1, _PASS_BYTES // max((images[:1].nbytes + block[:1].nbytes), 1))
    for start in range(0, len(block), at_once):
        part = slice(start, start + at_once)
        try:
            images[part] = vmap(function)(block[part]).detach()
        except RuntimeError:
            # code that works in place on tensors of its own cannot be batched
            images[part] = torch.stack([function(vector) for vector in block[part]]).detach()
    return images


class ModuleParameterOperator(GramOperator):
    """K = D D^* on site outputs ``(N_u,)``."""

    symbol = "K"
    factor: SiteDerivative

    def __init__(self, trajectory: ModuleTrajectory) -> None:
        super().__init__(SiteDerivative(trajectory))
        self._trajectory = trajectory

    def eigenvalues(self) -> Tensor | None:
        """All eigenvalues that can differ from 0, descending, float64; None where parameters are shared between different sites.

        Those of V_s V_s^T, a bias column included, once for each of the site's a_s outputs.
        """
        used = [name for calls in _sites(self._trajectory) for name in set(_names(calls[0], biases=True))]
        return None if len(set(used)) < len(used) else _direct_sum_spectrum(self._trajectory)


def _sites(trajectory: ModuleTrajectory) -> list[list[SiteCall]]:
    return [[trajectory.calls[index] for index in indices] for indices in by_site(trajectory.calls)]


def _direct_sum_spectrum(trajectory: ModuleTrajectory, *, biases: bool = True) -> Tensor | None:
    """Eigenvalues of the direct sum of all sites' parts, descending, float64; None where those of one are not known."""
    spectra = [_site_spectrum(calls, trajectory.parameters, biases=biases) for calls in _sites(trajectory)]
    known = [spectrum for spectrum in spectra if spectrum is not None]
    return torch.cat(known).clamp_min(0).sort(descending=True).values if len(known) == len(spectra) else None


def _site_spectrum(calls: list[SiteCall], parameters: dict[str, Tensor], *, biases: bool) -> Tensor | None:
    """Eigenvalues of one site's part of K, each as often as it occurs; None where the site is no product with one matrix."""
    first = calls[0]
    rows = sum(call.shape.numel() for call in calls)
    if first.weight is None:
        outputs = first.bias.of(parameters).numel() if first.bias is not None else rows
        regressors = torch.zeros(1, rows // outputs, 0, dtype=torch.float64)
    elif all(call.map.variables() is not None for call in calls):
        regressors = torch.cat([call.map.variables().flatten(0, -2) for call in calls]).double().unsqueeze(0)  # type: ignore[union-attr]
        outputs = rows // regressors.shape[1]
    elif all(call.map.elementwise() is not None for call in calls):
        # every output is a site of its own, with one variable
        columns = torch.cat([call.map.elementwise().flatten(0, -2) for call in calls])  # type: ignore[union-attr]
        regressors, outputs = columns.double().T.unsqueeze(-1), 1
    else:
        return None
    if first.bias is not None and biases:
        if first.bias.of(parameters).numel() != outputs * len(regressors):
            return None
        regressors = torch.cat([regressors, regressors.new_ones(*regressors.shape[:2], 1)], dim=-1)
    return torch.linalg.svdvals(regressors).square().flatten().repeat_interleave(outputs)


class SiteArrangement(LinearOperator):
    """The numbers of all site outputs ``(N_u,)`` in the order of a state; ``places`` ``(*shape)`` says which of them stands where."""

    symbol = "S"

    def __init__(self, places: Tensor, size: int, *, dtype: torch.dtype, device: torch.device) -> None:
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
    """The core of a state of all site outputs: the direct sum over the sites of V_s V_s^T (x) I, block diagonal in the units."""

    symbol = "V_s V_s^T (x) I"

    def __init__(self, trajectory: ModuleTrajectory, places: Tensor, variables_by_site: dict[str, Tensor]) -> None:
        derivative = SiteDerivative(trajectory, separate=True)
        arrangement = SiteArrangement(places, derivative.out_shape[0], dtype=derivative.dtype, device=derivative.device)
        super().__init__(arrangement @ derivative, variables_by_site)
        self._trajectory = trajectory

    def eigenvalues(self) -> Tensor | None:
        """Those of V_s V_s^T, once for each of the site's a_s outputs; None where a site is no product with one matrix."""
        return _direct_sum_spectrum(self._trajectory, biases=False)


class ModuleNTK(GramOperator):
    """NTK_S = P K P^* of a module's named state, of all its site inputs or of all its site outputs.

    Attributes:
        propagator: P, rectangular.
        parameter_operator: K, on the site outputs.
        factor: J = P D.

    The core is, for a state ``(*rows, m)``, (sum_s V_s V_s^T) (x) I_m over the uses of weights that have one row for each of the
    state's, such as (trial, time); for all site outputs the direct sum over the sites of V_s V_s^T (x) I. Biases are left out of both.
    """

    symbol = "P K P^*"

    def __init__(self, trajectory: ModuleTrajectory) -> None:
        self.propagator = SitePropagator(trajectory)
        self.parameter_operator = ModuleParameterOperator(trajectory)
        super().__init__(self.propagator @ self.parameter_operator.factor)
        self._trajectory = trajectory

    @cached_property
    def core(self) -> Core:
        """The operator that NTK_S is compared with. Raises UserError where no site has a row for each of the state's."""
        state, places = self._trajectory.state, self._trajectory.site_places
        rows = state.shape[:-1]
        variables = _site_variables(self._trajectory, rows)
        # site outputs one after the other have no rows, and need none
        if rows and not variables:
            raise UserError(f"no weight site has one row for each of the state's {tuple(rows)}: there is no Kronecker core on this state")
        return KroneckerCore(variables, state.shape[-1]) if places is None else SiteCore(self._trajectory, places, variables)


def _site_variables(trajectory: ModuleTrajectory, rows: torch.Size) -> dict[str, Tensor]:
    """v_s ``(*rows, d_s)`` of the sites that have these rows, by name; of two uses of one weight the second by all that tells it apart."""
    found: dict[str, Tensor] = {}
    for calls in _sites(trajectory):
        variables = [call.map.variables() for call in calls] if calls[0].weight is not None else []
        known = [each for each in variables if each is not None]
        fitting = rows_of_site(calls, known, rows) if known and len(known) == len(calls) else None
        if fitting is not None:
            found[calls[0].site if calls[0].name in found else calls[0].name] = fitting
    return found
