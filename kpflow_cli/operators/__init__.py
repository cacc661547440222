"""Matrix-free linear operators on network states, P, K, the Kronecker core and NTK_S, and their algebra."""

from kpflow_cli.operators.base import STATE_AXES, Adjoint, Composition, LinearOperator, Scaled, Sum
from kpflow_cli.operators.gram import GramOperator
from kpflow_cli.operators.kronecker import KroneckerCore, ParameterOperator
from kpflow_cli.operators.module_ntk import ModuleNTK
from kpflow_cli.operators.ntk import GlobalNTK, global_ntk
from kpflow_cli.operators.propagator import InversePropagator, Propagator
from kpflow_cli.operators.reductions import AxisConstant, PartialTrace, mean_over, restrict, trace_over
from kpflow_cli.operators.state_jacobian import ParameterDerivative, StateJacobian
from kpflow_cli.operators.structured import DenseOperator, Identity, TensorProduct, WrappedOperator

__all__ = [
    "STATE_AXES",
    "Adjoint",
    "AxisConstant",
    "Composition",
    "Core",
    "DenseOperator",
    "GlobalNTK",
    "GramOperator",
    "Identity",
    "InversePropagator",
    "KroneckerCore",
    "LinearOperator",
    "ModuleNTK",
    "ParameterDerivative",
    "ParameterOperator",
    "PartialTrace",
    "Propagator",
    "Scaled",
    "StateJacobian",
    "Sum",
    "TensorProduct",
    "WrappedOperator",
    "global_ntk",
    "mean_over",
    "restrict",
    "trace_over",
]
