"""The noise-free trials that everything is evaluated and measured on."""

from __future__ import annotations

import torch
from torch import Tensor

from kpflow_cli.errors import UserError
from kpflow_cli.losses import LOSSES, Loss, counted
from kpflow_cli.models.base import Model
from kpflow_cli.ntk import Trajectory
from kpflow_cli.task import Batch, ScoredTask, TargetModes, Task, target_modes
from kpflow_cli.tracing.watched_module import evaluating


class Evaluation:
    """The noise-free trials of a task with their target modes; scores a model on them.

    Raises UserError for trials that hold numbers that are not finite, or do not fit the loss.
    """

    def __init__(
        self, task: Task, dtype: torch.dtype, device: torch.device, loss: Loss = LOSSES["mse"]
    ) -> None:
        batch = task.evaluation_batch()
        loss.refuse_misfit(batch, task.output_size, "evaluation")
        self.batch, self.loss, self._task = batch.to(dtype, device), loss, task
        refuse_not_finite(self.batch, "evaluation")
        self._zero_outputs = torch.zeros(
            *batch.inputs.shape[:2], task.output_size, dtype=dtype, device=device
        )
        self.modes: TargetModes = target_modes(loss.residual(self._zero_outputs, self.batch))

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
        """Columns ``evaluation_loss``, ``accuracy``, those of the task, ``learned_fraction_1``,
        ...
        """
        outputs, batch = self.outputs(model), self.batch
        of_task = self._task.scores(outputs, batch) if isinstance(self._task, ScoredTask) else {}
        gained = self.loss.answers(outputs) - self.loss.answers(self._zero_outputs)
        fractions = {
            f"learned_fraction_{i}": value
            for i, value in enumerate(self.modes.learned_fractions(counted(gained, batch)), start=1)
        }
        return {
            "evaluation_loss": self.loss.value(outputs, batch).item(),
            "accuracy": self._task.accuracy(counted(outputs, batch), batch.counted_targets()),
            **of_task,
            **fractions,
        }


class UnlabelledEvaluation(Evaluation):
    """Trials ``(B, T, ...)`` without targets: nothing to score, no target modes."""

    def __init__(self, inputs: Tensor, dtype: torch.dtype, device: torch.device) -> None:
        nothing = inputs.new_zeros(*inputs.shape[:2], 0, dtype=torch.float64)
        self.batch = Batch(inputs, nothing).to(dtype, device)
        refuse_not_finite(self.batch, "evaluation")

    def target_directions(self, model: Model, trajectory: Trajectory) -> Tensor:  # noqa: ARG002
        """None, ``(0, B, T, n)``."""
        return trajectory.state.new_zeros(0, *trajectory.state.shape, dtype=torch.float64)

    def scores(self, model: Model) -> dict[str, float]:  # noqa: ARG002
        """Nothing."""
        return {}


def refuse_not_finite(batch: Batch, purpose: str) -> None:
    """Raise UserError for trials of a ``purpose`` that hold numbers that are not finite."""
    for name, tensor in (("inputs", batch.inputs), ("targets", batch.targets)):
        if not tensor.isfinite().all():
            raise UserError(
                f"task: the {name} of its {purpose} trials hold numbers that are not finite"
            )
