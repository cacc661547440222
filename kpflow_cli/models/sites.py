"""What a recurrent model owes the operators: its trajectory linearized around the weight sites (paper.md's Theorem 1).

A weight-based recurrent model updates its state by ``h_t = f(h_{t-1}, x_t)`` where parameters enter only through site outputs
``u_s = W_s v_s (+ b_s)``. For elementwise nonlinearities every derivative but W itself is diagonal in the units:

    df_t/du_s      = [diag(B_1), ..., diag(B_g)]            (g blocks of n outputs, a_s = g n)
    df_t/dh_{t-1}  = diag(carry) + (df_t/du_rec) W_rec diag(input_slope)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from kpflow_cli.models.tracing import ModuleTrajectory, OtherParameters, SiteState, trace
from kpflow_cli.models.watched_module import evaluating


@dataclass(frozen=True)
class WeightSite:
    """One product u_s = W_s v_s along a trajectory.

    Attributes:
        name: of the site, such as ``recurrent`` or ``input``.
        weight: W_s, shape ``(g * n, d)``.
        inputs: site variable v_s at each trial and time, shape ``(B, T, d)``, without the bias column.
        output_slopes: df/du_s as g diagonals, each ``(B, T, n)``; what several sites or blocks share is one tensor.
        weight_trains: whether W_s is among the trained parameters.
        bias_trains: whether the site has a bias that is trained.
    """

    name: str
    weight: Tensor
    inputs: Tensor
    output_slopes: tuple[Tensor, ...]
    weight_trains: bool = True
    bias_trains: bool = False

    def regressors(self) -> Tensor:
        """V_s of the trained parameters, ``(B, T, d')``: v_s if the weight trains, then a column of 1 if the bias trains."""
        columns = [self.inputs] if self.weight_trains else []
        if self.bias_trains:
            columns.append(torch.ones_like(self.inputs[..., :1]))
        return torch.cat(columns, dim=-1) if columns else self.inputs[..., :0]


@dataclass(frozen=True)
class Linearization:
    """A trajectory and its derivatives: all that P, K, the core and NTK_S are made of.

    Attributes:
        states: h, shape ``(B, T, n)``.
        sites: every weight site that reaches the state.
        recurrent: the site whose variable is a function of h_{t-1}.
        carry: direct elementwise derivative of h_t with respect to h_{t-1}, shape ``(B, T, n)``.
        input_slope: derivative of the recurrent site variable with respect to h_{t-1}, elementwise, shape ``(B, T, n)``.
    """

    states: Tensor
    sites: tuple[WeightSite, ...]
    recurrent: WeightSite
    carry: Tensor
    input_slope: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, T, n): trials, time steps, units."""
        trials, steps, units = self.states.shape
        return trials, steps, units

    def to(self, dtype: torch.dtype) -> Linearization:
        """The same rounded to another precision; what was one tensor still is."""
        known: dict[int, Tensor] = {}

        def rounded(tensor: Tensor) -> Tensor:
            return known.setdefault(id(tensor), tensor.to(dtype))

        def site(of: WeightSite) -> WeightSite:
            slopes = tuple(rounded(slope) for slope in of.output_slopes)
            return replace(of, weight=rounded(of.weight), inputs=rounded(of.inputs), output_slopes=slopes)

        return Linearization(
            states=rounded(self.states),
            sites=tuple(site(each) for each in self.sites),
            recurrent=site(self.recurrent),
            carry=rounded(self.carry),
            input_slope=rounded(self.input_slope),
        )

    def variables_by_site(self) -> dict[str, Tensor]:
        """v_s ``(B, T, d_s)`` of all sites whose weight trains, by name, without bias columns; of none a site without variables."""
        trained = {site.name: site.inputs for site in self.sites if site.weight_trains}
        return trained or {"none": self.states[..., :0]}


class Model(nn.Module, ABC):
    """A network that kpflow trains and measures.

    Attributes:
        others: what becomes of trained parameters outside of linear maps.
    """

    others: OtherParameters = "refuse"

    @abstractmethod
    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs ``(B, T, n_in)`` to outputs ``(B, T, n_out)`` and states ``(B, T, n)``."""

    def training_outputs(self, inputs: Tensor) -> Tensor:
        """The outputs of ``forward`` up to rounding, for a loss that is differentiated once, in reverse, with respect to the parameters.

        A network with a faster way to these than torch's automatic differentiation through ``forward`` has it here, so that ``forward``
        itself is what torch.func, hooks and second derivatives can go through, and what measurements are held against.
        """
        return self(inputs)[0]

    @abstractmethod
    def linearize(self, inputs: Tensor) -> Linearization | ModuleTrajectory:
        """The trajectory on inputs ``(B, T, n_in)`` with its weight sites, which operators are made of."""

    def trajectory(self, inputs: Tensor, state: SiteState | None = None) -> Linearization | ModuleTrajectory:
        """That of ``linearize`` on the network's own state, or with all its weight sites' outputs or inputs as the state."""
        if state is None:
            return self.linearize(inputs)
        with evaluating(self):
            return trace(self, inputs, state=state, others=self.others)


class RecurrentModel(Model):
    """A recurrent network with a linear readout that can say what its weight sites are.

    Attributes:
        input_size: n_in.
        readout: from states to outputs.
        fixed_points: states planted at initialization that zero input leaves where they are, ``(k, n)``.
        recurrent_weight, input_weight: names of the parameters that act on the state and on the input.
    """

    recurrent_weight: ClassVar[str]
    input_weight: ClassVar[str]
    input_size: int
    readout: nn.Linear
    fixed_points: Tensor

    @abstractmethod
    def forward(self, inputs: Tensor, initial_state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Inputs ``(B, T, n_in)`` and an initial state ``(B, n)``, by default 0, to outputs ``(B, T, n_out)`` and states ``(B, T, n)``."""

    @abstractmethod
    def linearize(self, inputs: Tensor) -> Linearization:
        """The trajectory from zero initial state on inputs ``(B, T, n_in)``, with its weight sites and derivatives."""


def previous_states(states: Tensor) -> Tensor:
    """S h: states ``(B, T, n)`` shifted by one step, h_{t-1} at time t, zero at the first step."""
    return torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1)


def site_of(module: nn.Module, name: str, weight: str, bias: str, inputs: Tensor, output_slopes: tuple[Tensor, ...]) -> WeightSite:
    """The site of ``module``'s parameters named ``weight`` and ``bias`` (which may be missing), with their trainability."""
    weight_parameter = module.get_parameter(weight)
    bias_parameter = dict(module.named_parameters()).get(bias)
    return WeightSite(
        name=name,
        weight=weight_parameter.detach(),
        inputs=inputs,
        output_slopes=output_slopes,
        weight_trains=weight_parameter.requires_grad,
        bias_trains=bias_parameter is not None and bias_parameter.requires_grad,
    )
