"""Dense operators by automatic differentiation alone, for networks small enough: the oracle that the matrix-free ones are held against.

Nothing here knows what a weight site is; the only thing asked of the model is its ``forward``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kpflow_cli.models.sites import RecurrentModel, previous_states


def dense_global_ntk(model: RecurrentModel, inputs: Tensor) -> Tensor:
    """NTK_S = J J^T ``(N, N)``, J the derivative of all states with respect to every trainable parameter, through time."""
    jacobian = _parameter_jacobian(model, model(inputs)[1])
    return jacobian @ jacobian.T


def dense_parameter_operator(model: RecurrentModel, inputs: Tensor) -> Tensor:
    """K = D D^T ``(N, N)``, D the derivative of f(S h, x, theta) with respect to theta at fixed S h."""
    derivative = _parameter_jacobian(model, _next_states(model, inputs, _shifted(model, inputs)))
    return derivative @ derivative.T


def dense_inverse_propagator(model: RecurrentModel, inputs: Tensor) -> Tensor:
    """P^{-1} = I - df/dh ``(N, N)``."""
    trials, steps, _ = inputs.shape
    previous = _shifted(model, inputs)
    units = previous.shape[-1]
    # each state depends on one previous state only, so the sum over all of them has the blocks of the whole Jacobian
    blocks = torch.autograd.functional.jacobian(lambda state: _next_states(model, inputs, state).sum((0, 1)), previous)
    inverse = torch.eye(previous.numel(), dtype=inputs.dtype, device=inputs.device).reshape(trials, steps, units, trials, steps, units)
    for trial in range(trials):
        for step in range(1, steps):
            inverse[trial, step, :, trial, step - 1, :] -= blocks[:, trial, step]
    return inverse.reshape(previous.numel(), previous.numel())


def _shifted(model: RecurrentModel, inputs: Tensor) -> Tensor:
    return previous_states(model(inputs)[1].detach())


def _next_states(model: RecurrentModel, inputs: Tensor, previous: Tensor) -> Tensor:
    """f(S h, x, theta): one step of the network from each ``previous`` state, ``(B, T, n)``."""
    return model(inputs.flatten(0, 1).unsqueeze(1), previous.flatten(0, 1))[1].reshape(previous.shape)


def _parameter_jacobian(model: RecurrentModel, states: Tensor) -> Tensor:
    """d states / d parameters, ``(N, p)``."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rows = []
    for state in states.flatten():
        gradients = torch.autograd.grad(state, trained, retain_graph=True, materialize_grads=True)
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    return torch.stack(rows)
