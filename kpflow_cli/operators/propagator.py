"""The propagator P = (I - df/dh)^{-1}: how a perturbation of the state at one time reaches all later times."""

from __future__ import annotations

import torch
from torch import Tensor

from kpflow_cli.models.sites import Linearization
from kpflow_cli.operators.base import LinearOperator
from kpflow_cli.operators.time_major import from_time_major, to_time_major


class _StepJacobians:
    """The Jacobians J_t = dh_t/dh_{t-1} = diag(carry) + B W diag(slope) as products; never stored as ``(B, T, n, n)``.

    A carry that is 0 everywhere and a slope that is 1 everywhere are left out of the products.
    """

    def __init__(self, linearization: Linearization) -> None:
        site = linearization.recurrent
        self.weight = site.weight.contiguous()
        self.blocks = site.output_slopes.shape[2]
        # (T, B, 1, ...): broadcast over the probes of a time-major block
        self.output_slopes = site.output_slopes.transpose(0, 1).unsqueeze(2).contiguous()
        carry = linearization.carry.transpose(0, 1).unsqueeze(2).contiguous()
        slope = linearization.input_slope.transpose(0, 1).unsqueeze(2).contiguous()
        self.carry = carry if bool(carry.any()) else None
        self.input_slope = None if bool((slope == 1).all()) else slope

    def apply(self, step: int, vectors: Tensor) -> Tensor:
        """J_t v for vectors ``(B, m, n)``."""
        sloped = vectors if self.input_slope is None else vectors * self.input_slope[step]
        outputs = (sloped @ self.weight.T).unflatten(-1, (self.blocks, -1))
        slopes = self.output_slopes[step]
        product = outputs[..., 0, :] * slopes[..., 0, :]
        for block in range(1, self.blocks):
            product.addcmul_(outputs[..., block, :], slopes[..., block, :])
        return product if self.carry is None else product.addcmul_(vectors, self.carry[step])

    def apply_adjoint(self, step: int, vectors: Tensor) -> Tensor:
        """J_t^T v for vectors ``(B, m, n)``."""
        outputs = (vectors.unsqueeze(-2) * self.output_slopes[step]).flatten(-2)
        product = outputs @ self.weight
        if self.input_slope is not None:
            product.mul_(self.input_slope[step])
        return product if self.carry is None else product.addcmul_(vectors, self.carry[step])

    def dense(self, step: int) -> Tensor:
        """J_t of every trial at one step, ``(B, n, n)``."""
        slopes = self.output_slopes[step, :, 0].unsqueeze(-1)
        weight = self.weight.unflatten(0, (self.blocks, -1))
        jacobian = slopes[:, 0] * weight[0]
        for block in range(1, self.blocks):
            jacobian.addcmul_(slopes[:, block], weight[block])
        if self.input_slope is not None:
            jacobian.mul_(self.input_slope[step])
        if self.carry is not None:
            jacobian.diagonal(dim1=1, dim2=2).add_(self.carry[step].squeeze(1))
        return jacobian


class _StateOperator(LinearOperator):
    """An operator on the state space ``(B, T, n)`` whose products go step by step through time."""

    def __init__(self, linearization: Linearization) -> None:
        self.in_shape = self.out_shape = linearization.shape
        self.dtype, self.device = linearization.states.dtype, linearization.states.device
        self._linearization = linearization
        self._jacobians = _StepJacobians(linearization)


class Propagator(_StateOperator):
    """P on states of shape ``(B, T, n)``, block lower triangular in time and block diagonal over trials.

    Product: the forward scan y_t = q_t + J_t y_{t-1}. Adjoint: the backward scan l_t = q_t + J_{t+1}^T l_{t+1}, which is backpropagation
    through time. Both cost one GEMM a step for all probes and trials.
    """

    def _apply(self, block: Tensor) -> Tensor:
        return from_time_major(self.forward_scan(to_time_major(block)))

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return from_time_major(self.backward_scan(to_time_major(block)))

    def forward_scan(self, block: Tensor) -> Tensor:
        """P of a time-major block ``(T, B, m, n)``, in place; returns it."""
        for step in range(1, len(block)):
            block[step] += self._jacobians.apply(step, block[step - 1])
        return block

    def backward_scan(self, block: Tensor) -> Tensor:
        """P^* of a time-major block ``(T, B, m, n)``, in place; returns it."""
        for step in range(len(block) - 1, 0, -1):
            block[step - 1] += self._jacobians.apply_adjoint(step, block[step])
        return block

    def inverse(self) -> InversePropagator:
        """P^{-1} = I - df/dh."""
        return InversePropagator(self._linearization)

    def frobenius_norm(self) -> float:
        """||P||_F exactly: ||P||_F^2 = sum_{b,t} tr C_t with C_t = I + J_t C_{t-1} J_t^T, the covariance of the scan of white noise.

        Costs 4 B T n^3 operations and 3 B n^2 numbers of memory.
        """
        trials, steps, units = self.in_shape
        identity = torch.eye(units, dtype=self.dtype, device=self.device)
        covariance = identity.repeat(trials, 1, 1)
        squared = float(trials * units)
        for step in range(1, steps):
            jacobian = self._jacobians.dense(step)
            covariance = identity + jacobian @ covariance @ jacobian.mT
            squared += covariance.diagonal(dim1=1, dim2=2).sum(dtype=torch.float64).item()
        return float(squared**0.5)


class InversePropagator(_StateOperator):
    """P^{-1} = I - df/dh on states of shape ``(B, T, n)``: q_t - J_t q_{t-1}; its adjoint q_t - J_{t+1}^T q_{t+1}."""

    def _apply(self, block: Tensor) -> Tensor:
        states = to_time_major(block)
        # downwards, so that q_{t-1} is still untouched when it is read
        for step in range(len(states) - 1, 0, -1):
            states[step] -= self._jacobians.apply(step, states[step - 1])
        return from_time_major(states)

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        states = to_time_major(block)
        for step in range(1, len(states)):
            states[step - 1] -= self._jacobians.apply_adjoint(step, states[step])
        return from_time_major(states)
