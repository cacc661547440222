"""NTK_S = P K P^*: P, K, the Kronecker core and NTK_S, of recurrent networks by scans and of any
other by automatic differentiation.
"""

from kpflow_cli.ntk.contract import GlobalNTK, Trajectory, global_ntk
from kpflow_cli.ntk.core import Core, KroneckerCore
from kpflow_cli.ntk.parameter_operator import ParameterOperator
from kpflow_cli.ntk.propagator import InversePropagator, Propagator
from kpflow_cli.ntk.recurrent import RecurrentNTK, RecurrentTrajectory
from kpflow_cli.ntk.state_jacobian import ParameterDerivative, StateJacobian
from kpflow_cli.ntk.traced import TracedNTK, TracedTrajectory, linearize
from kpflow_cli.ntk.weight_sites import WeightSite, previous_states, site_of

__all__ = [
    "Core",
    "GlobalNTK",
    "InversePropagator",
    "KroneckerCore",
    "ParameterDerivative",
    "ParameterOperator",
    "Propagator",
    "RecurrentNTK",
    "RecurrentTrajectory",
    "StateJacobian",
    "TracedNTK",
    "TracedTrajectory",
    "Trajectory",
    "WeightSite",
    "global_ntk",
    "linearize",
    "previous_states",
    "site_of",
]
