"""Matrix-free linear operators on tensors and their algebra; they know of no network."""

from kpflow_cli.operators.algebra import Adjoint, Composition, Scaled, Sum
from kpflow_cli.operators.base import STATE_AXES, LinearOperator
from kpflow_cli.operators.gram import GramOperator
from kpflow_cli.operators.reductions import (
    AxisConstant,
    PartialTrace,
    mean_over,
    restrict,
    trace_over,
)
from kpflow_cli.operators.structured import DenseOperator, Identity, TensorProduct, WrappedOperator

__all__ = [
    "STATE_AXES",
    "Adjoint",
    "AxisConstant",
    "Composition",
    "DenseOperator",
    "GramOperator",
    "Identity",
    "LinearOperator",
    "PartialTrace",
    "Scaled",
    "Sum",
    "TensorProduct",
    "WrappedOperator",
    "mean_over",
    "restrict",
    "trace_over",
]
