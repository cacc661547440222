"""The global empirical NTK on the state, NTK_S = P K P^* = J J^* with J = P D_theta f = dh/dtheta."""

from __future__ import annotations

from torch import Tensor

from kpflow_cli.models.sites import Linearization
from kpflow_cli.operators.base import LinearOperator
from kpflow_cli.operators.gram import GramOperator
from kpflow_cli.operators.kronecker import KroneckerCore, ParameterDerivative, ParameterOperator
from kpflow_cli.operators.propagator import Propagator
from kpflow_cli.operators.time_major import from_time_major, to_time_major


class StateJacobian(LinearOperator):
    """J = P D_theta f from economy parameter coordinates ``(p,)`` to states ``(B, T, n)``, the two factors fused in one layout."""

    def __init__(self, propagator: Propagator, derivative: ParameterDerivative) -> None:
        self.propagator, self.derivative = propagator, derivative
        self.in_shape, self.out_shape = derivative.in_shape, propagator.out_shape
        self.dtype, self.device = derivative.dtype, derivative.device

    def _apply(self, block: Tensor) -> Tensor:
        return from_time_major(self.propagator.forward_scan(self.derivative.push_forward(block)))

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return self.derivative.pull_back(self.propagator.backward_scan(to_time_major(block)))


class GlobalNTK(GramOperator):
    """NTK_S = J J^* on states ``(B, T, n)``: one backward scan, the parameter side, one forward scan.

    Attributes:
        propagator: P.
        parameter_operator: K.
        core: V V^T (x) I_n, to compare with.
        factor: J, a ``StateJacobian``.
    """

    def __init__(self, linearization: Linearization) -> None:
        self.propagator = Propagator(linearization)
        self.core = KroneckerCore(linearization)
        derivative = ParameterDerivative(linearization)
        self.parameter_operator = ParameterOperator(derivative)
        super().__init__(StateJacobian(self.propagator, derivative))
