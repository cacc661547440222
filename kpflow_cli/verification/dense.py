"""Dense operators by automatic differentiation alone, for networks small enough: the oracle that
the matrix-free ones are held against.

The NTK asks nothing of a model but its ``forward``; only P and K of a module of linear maps, whose
definition it is, know of its sites.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kpflow_cli.models.base import Model, RecurrentModel
from kpflow_cli.ntk import previous_states
from kpflow_cli.tracing.site_search import TracedPass


def dense_global_ntk(model: Model, inputs: Tensor) -> Tensor:
    """NTK_S = J J^T ``(N, N)``, J the derivative of all states with respect to every trainable
    parameter, through time.
    """
    return dense_gram(model, model(inputs)[1])


def dense_gram(model: Model, outputs: Tensor) -> Tensor:
    """J J^T, J the derivative of any outputs of a model, flattened, with respect to every trainable
    parameter.
    """
    jacobian = _parameter_jacobian(model, outputs)
    return jacobian @ jacobian.T


def dense_site_propagator(trajectory: TracedPass) -> Tensor:
    """P ``(N, N_u)``, the derivative of the state with respect to the outputs of all sites, a
    backward pass a row.
    """
    zeros = [
        torch.zeros(call.shape, dtype=trajectory.state.dtype, device=trajectory.state.device)
        for call in trajectory.calls
    ]
    perturbations = [zero.requires_grad_() for zero in zeros]
    return _jacobian(trajectory.perturb_state(perturbations), perturbations)


def dense_site_parameter_operator(trajectory: TracedPass) -> Tensor:
    """K = D D^T ``(N_u, N_u)``, D the derivative of all site outputs with respect to the parameters
    at fixed site variables.
    """
    parameters = {
        name: parameter.clone().requires_grad_()
        for name, parameter in trajectory.parameters.items()
    }
    outputs = torch.cat([call.output(parameters).flatten() for call in trajectory.calls])
    derivative = _jacobian(outputs, list(parameters.values()))
    return derivative @ derivative.T


def dense_parameter_operator(model: RecurrentModel, inputs: Tensor) -> Tensor:
    """K = D D^T ``(N, N)``, D the derivative of f(S h, x, theta) with respect to theta at fixed S
    h.
    """
    derivative = _parameter_jacobian(model, _next_states(model, inputs, _shifted(model, inputs)))
    return derivative @ derivative.T


def dense_inverse_propagator(model: RecurrentModel, inputs: Tensor) -> Tensor:
    """P^{-1} = I - df/dh ``(N, N)``."""
    trials, steps, _ = inputs.shape
    previous = _shifted(model, inputs)
    units = previous.shape[-1]
    # each state depends on one previous state only, so the sum over all of them has the blocks of
    # the whole Jacobian
    blocks = torch.autograd.functional.jacobian(
        lambda state: _next_states(model, inputs, state).sum((0, 1)), previous
    )
    inverse = torch.eye(previous.numel(), dtype=inputs.dtype, device=inputs.device).reshape(
        trials, steps, units, trials, steps, units
    )
    for trial in range(trials):
        for step in range(1, steps):
            inverse[trial, step, :, trial, step - 1, :] -= blocks[:, trial, step]
    return inverse.reshape(previous.numel(), previous.numel())


def _shifted(model: RecurrentModel, inputs: Tensor) -> Tensor:
    return previous_states(model(inputs)[1].detach())


def _next_states(model: RecurrentModel, inputs: Tensor, previous: Tensor) -> Tensor:
    """f(S h, x, theta): one step of the network from each ``previous`` state, ``(B, T, n)``."""
    return model(inputs.flatten(0, 1).unsqueeze(1), previous.flatten(0, 1))[1].reshape(
        previous.shape
    )


def _parameter_jacobian(model: Model, states: Tensor) -> Tensor:
    """d states / d parameters, ``(N, p)``."""
    return _jacobian(
        states, [parameter for parameter in model.parameters() if parameter.requires_grad]
    )


def _jacobian(outputs: Tensor, variables: list[Tensor]) -> Tensor:
    rows = []
    for output in outputs.flatten():
        gradients = torch.autograd.grad(
            output, variables, retain_graph=True, materialize_grads=True
        )
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    return torch.stack(rows)
