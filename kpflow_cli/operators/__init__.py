"""Matrix-free linear operators on network states: P, K, the Kronecker core and NTK_S."""

from kpflow_cli.operators.base import Adjoint, Composition, LinearOperator
from kpflow_cli.operators.gram import GramOperator
from kpflow_cli.operators.kronecker import KroneckerCore, ParameterDerivative, ParameterOperator
from kpflow_cli.operators.ntk import GlobalNTK, StateJacobian
from kpflow_cli.operators.propagator import InversePropagator, Propagator
from kpflow_cli.operators.reductions import AxisMean, axis_mean
from kpflow_cli.operators.structured import DenseOperator

__all__ = [
    "Adjoint",
    "AxisMean",
    "Composition",
    "DenseOperator",
    "GlobalNTK",
    "GramOperator",
    "InversePropagator",
    "KroneckerCore",
    "LinearOperator",
    "ParameterDerivative",
    "ParameterOperator",
    "Propagator",
    "StateJacobian",
    "axis_mean",
]
