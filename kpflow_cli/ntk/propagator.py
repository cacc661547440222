"""The propagator P = (I - df/dh)^{-1}: how a perturbation of the state at one time reaches all
later times.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kpflow_cli.ntk.recurrence import Recurrence
from kpflow_cli.operators.base import LinearOperator


class _StateOperator(LinearOperator):
    """An operator on the state space ``(B, T, n)`` whose products go step by step through time."""

    def __init__(self, recurrence: Recurrence) -> None:
        self.in_shape = self.out_shape = recurrence.shape
        self.dtype, self.device = recurrence.dtype, recurrence.device
        self._recurrence = recurrence


class Propagator(_StateOperator):
    """P on states of shape ``(B, T, n)``, block lower triangular in time and block diagonal over
    trials.

    Product: the forward scan y_t = q_t + J_t y_{t-1}. Adjoint: the backward scan l_t = q_t +
    J_{t+1}^T l_{t+1}, which is backpropagation through time. Both cost one GEMM a step for all
    probes and trials.
    """

    symbol = "P"
    block_diagonal = True

    def _apply(self, block: Tensor) -> Tensor:
        states = torch.empty_like(block, memory_format=torch.contiguous_format)
        for part in self._recurrence.probe_parts(len(block)):
            self._forward_scan(block[part], states[part])
        return states

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        states = torch.empty_like(block, memory_format=torch.contiguous_format)
        for part in self._recurrence.probe_parts(len(block)):
            outputs = self._recurrence.new_outputs(len(block[part]), recurrent_only=True)
            for step, vectors, _ in self._recurrence.backward(block[part], outputs):
                states[part, :, step] = vectors.transpose(0, 1)
        return states

    def _forward_scan(self, block: Tensor, states: Tensor) -> None:
        outputs, sources = (
            self._recurrence.new_outputs(len(block), recurrent_only=True),
            block.permute(2, 1, 0, 3),
        )
        current = sources[0].contiguous()
        states[:, :, 0] = current.transpose(0, 1)
        for step in range(1, len(sources)):
            current = self._recurrence.push_forward(step, current, outputs, add=False).add_(
                sources[step]
            )
            states[:, :, step] = current.transpose(0, 1)

    @property
    def inverse(self) -> InversePropagator:
        """P^{-1} = I - df/dh."""
        return InversePropagator(self._recurrence)

    def frobenius_norm(self) -> float:
        """||P||_F exactly: ||P||_F^2 = sum_{b,t} tr C_t with C_t = I + J_t C_{t-1} J_t^T, the
        covariance of the scan of white noise.

        Costs 4 B T n^3 operations and 3 B n^2 numbers of memory.
        """
        trials, steps, units = self.in_shape
        identity = torch.eye(units, dtype=self.dtype, device=self.device)
        covariance = identity.repeat(trials, 1, 1)
        squared = float(trials * units)
        for step in range(1, steps):
            jacobian = self._recurrence.dense_jacobian(step)
            covariance = identity + jacobian @ covariance @ jacobian.mT
            squared += covariance.diagonal(dim1=1, dim2=2).sum(dtype=torch.float64).item()
        return float(squared**0.5)


class InversePropagator(_StateOperator):
    """P^{-1} = I - df/dh on states of shape ``(B, T, n)``: q_t - J_t q_{t-1}; its adjoint q_t -
    J_{t+1}^T q_{t+1}.
    """

    symbol = "P^{-1}"

    def _apply(self, block: Tensor) -> Tensor:
        states = block.clone(memory_format=torch.contiguous_format)
        for part in self._recurrence.probe_parts(len(block)):
            sources = block[part].permute(2, 1, 0, 3)
            outputs = self._recurrence.new_outputs(sources.shape[2], recurrent_only=True)
            for step in range(1, len(sources)):
                product = self._recurrence.push_forward(
                    step, sources[step - 1].contiguous(), outputs, add=False
                )
                states[part, :, step] -= product.transpose(0, 1)
        return states

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        states = block.clone(memory_format=torch.contiguous_format)
        for part in self._recurrence.probe_parts(len(block)):
            outputs = self._recurrence.new_outputs(len(block[part]), recurrent_only=True)
            for step, vectors, pulled in self._recurrence.backward(
                block[part], outputs, through_time=False
            ):
                if step:
                    states[part, :, step - 1] -= self._recurrence.pull_back(
                        step, vectors, pulled
                    ).transpose(0, 1)
        return states
