"""The path of the error through P^*, K and P, and how far one gradient step follows it (Fig. 1 of
arXiv 2605.08746).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from kpflow_cli.losses import Loss
from kpflow_cli.measures.records.scene import Rows, Scene, choose_indices, entries
from kpflow_cli.models.base import Model
from kpflow_cli.task import Batch

_SHOWN_UNITS = 24
# four decades, four rates each
_RATES = [10 ** (exponent / 4 - 5) for exponent in range(17)]


def record_error_propagation(scene: Scene) -> dict[str, Rows]:
    """fields.csv: e, P^* e, K P^* e and -NTK_S e on one trial; gradients.csv: the parameters'
    gradient in between.

    gradient_steps.csv: for each learning rate the Euclidean norms of the true ``change`` of the
    state on all evaluation trials by one gradient step on them, and of its ``difference`` from
    -rate NTK_S e; ``noisy_change`` and ``noisy_difference`` are the same of the step that SGD
    takes, on the training batch of this step with its noise. e is the immediate error dL/dh, L the
    loss that training minimizes.
    """
    ntk, batch, loss = scene.ntk, scene.evaluation.batch, scene.evaluation.loss
    error, gradients = immediate_error(scene.model, batch, loss)
    adjoint = ntk.propagator.adjoint.matvec(error)
    driven = ntk.parameter_operator.matvec(adjoint)
    change = -ntk.matvec(error)
    units = choose_indices(error.shape[2], _SHOWN_UNITS)
    fields: Rows = []
    for name, field in {
        "error": error,
        "adjoint": adjoint,
        "driven": driven,
        "change": change,
    }.items():
        for row in entries(field[0][:, units], field=name):
            fields.append(
                {
                    "field": name,
                    "time": row["row"],
                    "unit": units[row["column"]],
                    "value": row["value"],
                }
            )
    weights: Rows = []
    for name, gradient in gradients.items():
        if gradient.ndim == 2 and gradient.norm() > 0:
            rows, columns = (
                choose_indices(gradient.shape[0], 3 * _SHOWN_UNITS),
                choose_indices(gradient.shape[1], _SHOWN_UNITS),
            )
            weights += entries(gradient[rows][:, columns], parameter=name)
    noisy = immediate_error(scene.model, scene.training_batch(), loss)[1]
    steps = []
    for rate in _RATES:
        clean, taken = (_gradient_step(scene, rate, each, change) for each in (gradients, noisy))
        steps.append(
            {"rate": rate, **clean, **{f"noisy_{name}": value for name, value in taken.items()}}
        )
    return {"fields": fields, "gradients": weights, "gradient_steps": steps}


def immediate_error(model: Model, batch: Batch, loss: Loss) -> tuple[Tensor, dict[str, Tensor]]:
    """e = dL/dh ``(B, T, n)``, the outputs' error carried back to the state of the same time, and
    every trained parameter's gradient.
    """
    trained = {
        name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
    }
    with torch.enable_grad():
        outputs, states = model(batch.inputs)
        value = loss.value(outputs, batch)
        (error,) = torch.autograd.grad(value, states, retain_graph=True)
        gradients = torch.autograd.grad(
            value, list(trained.values()), materialize_grads=True, allow_unused=True
        )
    return error, dict(zip(trained, gradients, strict=True))


@torch.no_grad()
def _gradient_step(
    scene: Scene, rate: float, gradients: dict[str, Tensor], direction: Tensor
) -> dict[str, float]:
    """Norms of the true change of the state by a step along the gradients, and of its difference
    from ``rate * direction``.
    """
    inputs, parameters = scene.evaluation.batch.inputs, dict(scene.model.named_parameters())
    stepped = {
        name: parameter - rate * gradients[name] if name in gradients else parameter
        for name, parameter in parameters.items()
    }
    true_change = functional_call(scene.model, stepped, (inputs,))[1] - scene.model(inputs)[1]
    return {
        "change": true_change.norm().item(),
        "difference": (true_change - rate * direction).norm().item(),
    }
