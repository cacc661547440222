"""The trajectory of a recurrent network that says itself what its weight sites are, and its NTK_S
(Theorem 1 of arXiv 2605.08746).

Such a network updates its state by ``h_t = f(h_{t-1}, x_t)`` where parameters enter only through
site outputs ``u_s = W_s v_s (+ b_s)``. For elementwise nonlinearities every derivative but W itself
is diagonal in the units:

    df_t/du_s      = [diag(B_1), ..., diag(B_g)]            (g blocks of n outputs, a_s = g n)
    df_t/dh_{t-1}  = diag(carry) + (df_t/du_rec) W_rec diag(input_slope)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from kpflow_cli.ntk.contract import GlobalNTK, Trajectory
from kpflow_cli.ntk.core import KroneckerCore
from kpflow_cli.ntk.parameter_operator import ParameterOperator
from kpflow_cli.ntk.propagator import Propagator
from kpflow_cli.ntk.recurrence import Recurrence
from kpflow_cli.ntk.state_jacobian import ParameterDerivative, SiteBasis, StateJacobian
from kpflow_cli.ntk.weight_sites import WeightSite


@dataclass(frozen=True)
class RecurrentTrajectory(Trajectory):
    """A trajectory of a recurrent network and its derivatives, which the network says itself.

    Attributes:
        state: h, shape ``(B, T, n)``.
        sites: every weight site that reaches the state.
        recurrent: the site whose variable is a function of h_{t-1}.
        carry: direct elementwise derivative of h_t with respect to h_{t-1}, shape ``(B, T, n)``.
        input_slope: derivative of the recurrent site variable with respect to h_{t-1},
            elementwise, shape ``(B, T, n)``.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> zeros, ones = torch.zeros(5, 6, 4), torch.ones(5, 6, 4)
        >>> site = kp.WeightSite("recurrent", 0.5 * torch.eye(4), zeros, (ones,))
        >>> linear = kp.RecurrentTrajectory(zeros, (site,), site, carry=zeros, input_slope=ones)
        >>> linear.ntk().propagator.matvec(ones)[0, :3, 0]
        tensor([1.0000, 1.5000, 1.7500])
    """

    state: Tensor
    sites: tuple[WeightSite, ...]
    recurrent: WeightSite
    carry: Tensor
    input_slope: Tensor
    traced: None = field(default=None, init=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, T, n): trials, time steps, units."""
        trials, steps, units = self.state.shape
        return trials, steps, units

    def ntk(self, *, compressed: bool = True) -> RecurrentNTK:
        """As ``Trajectory.ntk`` says, by scans."""
        return RecurrentNTK(self, compressed=compressed)

    def to(self, dtype: torch.dtype) -> RecurrentTrajectory:
        """The same rounded to another precision; what was one tensor still is."""
        known: dict[int, Tensor] = {}

        def rounded(tensor: Tensor) -> Tensor:
            return known.setdefault(id(tensor), tensor.to(dtype))

        def site(of: WeightSite) -> WeightSite:
            slopes = tuple(rounded(slope) for slope in of.output_slopes)
            return replace(
                of, weight=rounded(of.weight), inputs=rounded(of.inputs), output_slopes=slopes
            )

        return RecurrentTrajectory(
            state=rounded(self.state),
            sites=tuple(site(each) for each in self.sites),
            recurrent=site(self.recurrent),
            carry=rounded(self.carry),
            input_slope=rounded(self.input_slope),
        )

    def variables_by_site(self) -> dict[str, Tensor]:
        """v_s ``(B, T, d_s)`` of all sites whose weight trains, by name, without bias columns; of
        none a site without variables.
        """
        trained = {site.name: site.inputs for site in self.sites if site.weight_trains}
        return trained or {"none": self.state[..., :0]}

    def rank_bound(self) -> int:
        """sum_s a_s rank V_s, at least the rank of K; sites with the same derivative B_s are one: n
        rank V for the RNNs, 3n (rank H + rank X) for the GRU. A trained bias counts as a column of
        1.
        """
        together: dict[tuple[int, ...], list[WeightSite]] = {}
        for site in self.sites:
            together.setdefault(tuple(id(slope) for slope in site.output_slopes), []).append(site)
        return sum(
            len(sites[0].weight)
            * int(
                torch.linalg.matrix_rank(
                    torch.cat([site.regressors() for site in sites], dim=-1).flatten(0, 1).double()
                )
            )
            for sites in together.values()
        )


class RecurrentNTK(GlobalNTK):
    """NTK_S = J J^* on states ``(B, T, n)``: one backward scan and one forward scan, the parameter
    side fused into both.

    ``compressed`` as ``Trajectory.ntk`` says.
    """

    factor: StateJacobian
    propagator: Propagator
    parameter_operator: ParameterOperator

    def __init__(self, trajectory: RecurrentTrajectory, *, compressed: bool = True) -> None:
        self._recurrence = Recurrence(
            trajectory.sites,
            trajectory.recurrent,
            carry=trajectory.carry,
            input_slope=trajectory.input_slope,
        )
        self._regressors = [
            site.regressors().transpose(0, 1).flatten(0, 1) for site in trajectory.sites
        ]
        sites = self._basis(self._regressors, compressed=compressed)
        super().__init__(StateJacobian(self._recurrence, sites))
        self.propagator = Propagator(self._recurrence)
        self.parameter_operator = ParameterOperator(ParameterDerivative(self._recurrence, sites))
        self._core = KroneckerCore(trajectory.variables_by_site(), trajectory.shape[2])
        self._trajectory = trajectory

    @property
    def core(self) -> KroneckerCore:
        """V V^T (x) I_n."""
        return self._core

    def rank_bound(self) -> int:
        """As ``RecurrentTrajectory.rank_bound`` says."""
        return self._trajectory.rank_bound()

    def forms_by_layer(self, block: Tensor) -> dict[str, Tensor]:
        """As ``GlobalNTK.forms_by_layer`` says; a layer is a weight site."""
        found = {}
        for index, site in enumerate(self._trajectory.sites):
            own = [
                each if place == index else each[:, :0]
                for place, each in enumerate(self._regressors)
            ]
            jacobian = StateJacobian(self._recurrence, self._basis(own, compressed=False))
            found[site.name] = jacobian.adjoint_matblock(block).double().square().sum(1)
        return found

    def _basis(self, regressors: Sequence[Tensor], *, compressed: bool) -> SiteBasis:
        return SiteBasis(
            list(regressors), self._recurrence.sites_of_slope, smallest=None if compressed else 0.0
        )
