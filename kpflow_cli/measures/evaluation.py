"""The noise-free trials that everything is evaluated and measured on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kpflow_cli.errors import UserError
from kpflow_cli.models.base import Model
from kpflow_cli.ntk import Trajectory
from kpflow_cli.task import Batch, TargetModes, Task, target_modes
from kpflow_cli.tracing.watched_module import evaluating


class Evaluation:
    """The noise-free trials of a task with their target modes; scores a model on them.

    Raises UserError for trials that hold numbers that are not finite.
    """

    def __init__(self, task: Task, dtype: torch.dtype, device: torch.device) -> None:
        self.batch: Batch = task.evaluation_batch().to(dtype, device)
        refuse_not_finite(self.batch, "evaluation")
        self.modes: TargetModes = target_modes(self.batch.targets)
        self._task = task

    @torch.no_grad()
    def outputs(self, model: Model) -> Tensor:
        """Outputs ``(B, T, n_out)`` in evaluation mode."""
        with evaluating(model):
            return model(self.batch.inputs)[0]

    @torch.no_grad()
    def states(self, model: Model, *, trials: int) -> Tensor:
        """States ``(trials, T, n)`` of the first trials in evaluation mode."""
        with evaluating(model):
            return model(self.batch.inputs[:trials])[1]

    def target_directions(self, model: Model, trajectory: Trajectory) -> Tensor:
        """q_i, the target modes u_i w_i^T carried back from the outputs to the state by the adjoint
        of d outputs / d state: unit vectors ``(k, B, T, n)``. For a linear readout q_i = u_i (x)
        (W_out^T w_i). Modes that the readout does not see at all are left out.
        """
        with torch.enable_grad(), evaluating(model):
            if trajectory.traced is not None and trajectory.traced.of_sites:
                states = trajectory.state.clone().requires_grad_()
                outputs = trajectory.traced.output_of(states)[0]
            else:
                outputs, states = model(self.batch.inputs)
            modes = self.modes.in_outputs().to(outputs.device, outputs.dtype)
            carried = [
                torch.autograd.grad(
                    outputs,
                    states,
                    mode,
                    retain_graph=True,
                    allow_unused=True,
                    materialize_grads=True,
                )[0]
                for mode in modes
            ]
        # targets that are 0 everywhere have no modes
        directions = (
            torch.stack(carried).double()
            if carried
            else states.new_zeros(0, *states.shape, dtype=torch.float64)
        )
        lengths = directions.flatten(1).norm(dim=1)
        seen = lengths > 0
        return directions[seen] / lengths[seen].reshape(-1, 1, 1, 1)

    def scores(self, model: Model) -> dict[str, float]:
        """Columns ``evaluation_loss``, ``accuracy``, ``learned_fraction_1``, ..."""
        outputs = self.outputs(model)
        loss = nn.functional.mse_loss(outputs, self.batch.targets).item()
        accuracy = self._task.accuracy(outputs, self.batch.targets)
        fractions = {
            f"learned_fraction_{i}": value
            for i, value in enumerate(self.modes.learned_fractions(outputs), start=1)
        }
        return {"evaluation_loss": loss, "accuracy": accuracy, **fractions}


def refuse_not_finite(batch: Batch, purpose: str) -> None:
    """Raise UserError for trials of a ``purpose`` that hold numbers that are not finite."""
    for name, tensor in (("inputs", batch.inputs), ("targets", batch.targets)):
        if not tensor.isfinite().all():
            raise UserError(
                f"task: the {name} of its {purpose} trials hold numbers that are not finite"
            )
