"""The global empirical NTK on the state, NTK_S = P K P^* = J J^* with J = P D_theta f = dh/dtheta."""

from __future__ import annotations

from kpflow_cli.models.sites import Linearization
from kpflow_cli.models.tracing import ModuleTrajectory
from kpflow_cli.operators.gram import GramOperator
from kpflow_cli.operators.kronecker import KroneckerCore, ParameterOperator
from kpflow_cli.operators.module_ntk import ModuleNTK
from kpflow_cli.operators.propagator import Propagator
from kpflow_cli.operators.recurrence import Recurrence
from kpflow_cli.operators.state_jacobian import ParameterDerivative, SiteBasis, StateJacobian


def global_ntk(trajectory: Linearization | ModuleTrajectory, *, compressed: bool = True) -> GlobalNTK | ModuleNTK:
    """NTK_S along a trajectory: of a recurrent model by scans, of any other module by automatic differentiation.

    ``compressed`` as for ``GlobalNTK``; that of a module never is.
    """
    return GlobalNTK(trajectory, compressed=compressed) if isinstance(trajectory, Linearization) else ModuleNTK(trajectory)


class GlobalNTK(GramOperator):
    """NTK_S = J J^* on states ``(B, T, n)``: one backward scan and one forward scan, the parameter side fused into both.

    ``compressed``, its products cost less and leave out what is below rounding relative to the whole operator; without, also a form
    <q, NTK_S q> that is many orders below the operator's norm is right.

    Attributes:
        propagator: P.
        parameter_operator: K.
        core: V V^T (x) I_n, to compare with.
        why_no_core: None, for there is one.
        factor: J, a ``StateJacobian``.
    """

    symbol = "P K P^*"
    factor: StateJacobian
    why_no_core: str | None = None

    def __init__(self, linearization: Linearization, *, compressed: bool = True) -> None:
        recurrence = Recurrence(linearization)
        regressors = [site.regressors().transpose(0, 1).flatten(0, 1) for site in linearization.sites]
        sites = SiteBasis(regressors, recurrence.sites_of_slope, smallest=None if compressed else 0.0)
        super().__init__(StateJacobian(recurrence, sites))
        self.propagator = Propagator(recurrence)
        self.parameter_operator = ParameterOperator(ParameterDerivative(recurrence, sites))
        self.core = KroneckerCore(linearization.variables_by_site(), linearization.shape[2])
