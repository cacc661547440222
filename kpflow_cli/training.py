"""Gradient descent on a task, with loss, accuracy and learned fractions on the way; knows no files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kpflow_cli.errors import FailedRunError, UserError
from kpflow_cli.models.sites import Linearization, Model
from kpflow_cli.models.tracing import ModuleTrajectory
from kpflow_cli.models.watched_module import evaluating
from kpflow_cli.randomness import Randomness
from kpflow_cli.task import Batch, TargetModes, Task, target_modes


def build_optimizer(model: nn.Module, *, optimizer: str, learning_rate: float, momentum: float) -> torch.optim.Optimizer:
    """The optimizer of all trainable parameters: ``adam``, ``shampoo``, or gradient descent with ``momentum``, 0 for ``sgd``.

    Shampoo (arXiv 1802.09568) is pytorch-optimizer's; raises UserError where that is not installed.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if optimizer == "adam":
        return torch.optim.Adam(trained, lr=learning_rate)
    if optimizer == "shampoo":
        try:
            from pytorch_optimizer import Shampoo
        except ImportError:
            raise UserError("training.optimizer=shampoo: needs pytorch-optimizer; `pip install 'kpflow[optim]'` brings it") from None
        # inverse roots at every step, the library's default: older ones blow up in gradient directions that they have not seen
        return Shampoo(trained, lr=learning_rate)
    return torch.optim.SGD(trained, lr=learning_rate, momentum=momentum)


class Evaluation:
    """The noise-free trials of a task with their target modes; scores a model on them.

    Raises UserError for trials that hold numbers that are not finite.
    """

    def __init__(self, task: Task, dtype: torch.dtype, device: torch.device) -> None:
        self.batch: Batch = task.evaluation_batch().to(dtype, device)
        _refuse_not_finite(self.batch, "evaluation")
        self.modes: TargetModes = target_modes(self.batch.targets)
        self._task = task

    @torch.no_grad()
    def outputs(self, model: Model) -> Tensor:
        """Outputs ``(B, T, n_out)`` in evaluation mode."""
        with evaluating(model):
            return model(self.batch.inputs)[0]

    def target_directions(self, model: Model, trajectory: Linearization | ModuleTrajectory) -> Tensor:
        """q_i, the target modes u_i w_i^T carried back from the outputs to the state by the adjoint of d outputs / d state: unit vectors
        ``(k, B, T, n)``. For a linear readout q_i = u_i (x) (W_out^T w_i). Modes that the readout does not see at all are left out."""
        with torch.enable_grad(), evaluating(model):
            if isinstance(trajectory, ModuleTrajectory) and trajectory.of_sites:
                states = trajectory.state.clone().requires_grad_()
                outputs = trajectory.output_of(states)[0]
            else:
                outputs, states = model(self.batch.inputs)
            modes = self.modes.in_outputs().to(outputs.device, outputs.dtype)
            carried = [
                torch.autograd.grad(outputs, states, mode, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
                for mode in modes
            ]
        # targets that are 0 everywhere have no modes
        directions = torch.stack(carried).double() if carried else states.new_zeros(0, *states.shape, dtype=torch.float64)
        lengths = directions.flatten(1).norm(dim=1)
        seen = lengths > 0
        return directions[seen] / lengths[seen].reshape(-1, 1, 1, 1)

    def scores(self, model: Model) -> dict[str, float]:
        """Columns ``evaluation_loss``, ``accuracy``, ``learned_fraction_1``, ..."""
        outputs = self.outputs(model)
        loss = nn.functional.mse_loss(outputs, self.batch.targets).item()
        accuracy = self._task.accuracy(outputs, self.batch.targets)
        fractions = {f"learned_fraction_{i}": value for i, value in enumerate(self.modes.learned_fractions(outputs), start=1)}
        return {"evaluation_loss": loss, "accuracy": accuracy, **fractions}


def _refuse_not_finite(batch: Batch, purpose: str) -> None:
    for name, tensor in (("inputs", batch.inputs), ("targets", batch.targets)):
        if not tensor.isfinite().all():
            raise UserError(f"task: the {name} of its {purpose} trials hold numbers that are not finite")


@dataclass
class Trainer:
    """Minimizes the mean squared error over all trials, times and channels of fresh batches.

    Attributes:
        step: gradient steps taken so far.
    """

    model: Model
    optimizer: torch.optim.Optimizer
    task: Task
    randomness: Randomness
    batch_size: int
    step: int = 0

    def batch(self) -> Batch:
        """That of the gradient step from ``step`` on."""
        first = next(self.model.parameters())
        return self.task.training_batch(self.batch_size, self.randomness.generator("batch", self.step)).to(first.dtype, first.device)

    def losses(self, steps: int) -> Iterator[float]:
        """The training loss at ``step``, ``step + 1``, ..., ``steps``, each before its update; the last without one.

        While a loss is in the caller's hands, ``step`` and the weights are those that it belongs to. Raises FailedRunError when the loss is
        not finite, UserError where that is because the trials are not.
        """
        while True:
            batch = self.batch()
            # dropout, where a network has it, draws from torch's global generator
            with self.randomness.global_generator("dropout", self.step):
                loss = nn.functional.mse_loss(self.model.training_outputs(batch.inputs), batch.targets)
            value = loss.item()
            if not math.isfinite(value):
                _refuse_not_finite(batch, "training")
                rate = self.optimizer.param_groups[0]["lr"]
                raise FailedRunError(f"training diverged: loss {value} at step {self.step}; try training.learning_rate below {rate:g}")
            yield value
            if self.step == steps:
                return
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.step += 1


def geometric_schedule(steps: int, count: int) -> tuple[int, ...]:
    """``count`` different steps from 0 to ``steps``, ascending, dense early and sparse late: spaced geometrically, but at least 1 apart.

    All ``steps + 1`` of them where there are no more.
    """
    if count > steps:
        return tuple(range(steps + 1))
    schedule: list[int] = []
    for index in range(count):
        spaced = round((steps + 1) ** (index / (count - 1))) - 1
        schedule.append(max(spaced, index))
    return tuple(schedule)
