"""Gradient descent on a task, with loss, accuracy and learned fractions on the way;
knows no files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kpflow_cli.errors import DivergedError, UserError
from kpflow_cli.losses import LOSSES, Loss
from kpflow_cli.measures.evaluation import refuse_not_finite
from kpflow_cli.models.base import Model
from kpflow_cli.run.checkpoints import Checkpoint
from kpflow_cli.run.randomness import Randomness
from kpflow_cli.task import Batch, Task


def build_optimizer(
    model: nn.Module, *, optimizer: str, learning_rate: float, momentum: float
) -> torch.optim.Optimizer:
    """The optimizer of all trainable parameters: ``adam``, ``shampoo``, or gradient descent with
    ``momentum``, 0 for ``sgd``.

    Shampoo (arXiv 1802.09568) is pytorch-optimizer's; raises UserError where that is not installed.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if optimizer == "adam":
        return torch.optim.Adam(trained, lr=learning_rate)
    if optimizer == "shampoo":
        try:
            from pytorch_optimizer import Shampoo
        except ImportError:
            raise UserError(
                "training.optimizer=shampoo: needs pytorch-optimizer; `pip install "
                "'kpflow[optim]'` brings it"
            ) from None
        # inverse roots at every step, the library's default: older ones blow up in gradient
        # directions that they have not seen
        return Shampoo(trained, lr=learning_rate)
    return torch.optim.SGD(trained, lr=learning_rate, momentum=momentum)


@dataclass
class Trainer:
    """Minimizes a loss of fresh batches.

    Attributes:
        loss: the mean squared error over all trials, times and channels, unless it is another.
        step: gradient steps taken so far.
        buffers: of the model, as they were before the forward pass of ``step``, which may change
            them, as that of a normalization does.
    """

    model: Model
    optimizer: torch.optim.Optimizer
    task: Task
    randomness: Randomness
    batch_size: int
    loss: Loss = LOSSES["mse"]
    step: int = 0
    buffers: dict[str, Tensor] = field(default_factory=dict)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Be where a trainer was before the forward pass of a step. Raises ValueError where its
        state dicts or buffers do not fit.
        """
        configured = [dict(group) for group in self.optimizer.param_groups]
        try:
            self.model.load_state_dict(checkpoint.model)
            self.optimizer.load_state_dict(checkpoint.optimizer)
            own = dict(self.model.named_buffers())
            for name, buffer in checkpoint.buffers.items():
                own[name].data.copy_(buffer)
        except (RuntimeError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(str(error)) from None
        for group, wanted in zip(self.optimizer.param_groups, configured, strict=True):
            for name in self.optimizer.defaults:
                there, here = group.get(name), wanted.get(name)
                if there != here:
                    raise ValueError(f"{name}={there} there, {here} here")
        self.step = checkpoint.step

    def batch(self) -> Batch:
        """That of the gradient step from ``step`` on. Raises UserError for trials that do not fit
        the loss.
        """
        first = next(self.model.parameters())
        batch = self.task.training_batch(
            self.batch_size, self.randomness.generator("batch", self.step)
        )
        self.loss.refuse_misfit(batch, self.task.output_size, "training")
        return batch.to(first.dtype, first.device)

    def optimizer_state(self) -> dict[str, Any]:
        """State dict of the optimizer."""
        return self.optimizer.state_dict()

    def losses(self, steps: int) -> Iterator[float]:
        """The training loss at ``step``, ``step + 1``, ..., ``steps``, each before its update; the
        last without one.

        While a loss is in the caller's hands, ``step`` and the weights are those that it belongs
        to. Raises DivergedError when the loss is not finite, UserError where that is because the
        trials are not.
        """
        while True:
            batch = self.batch()
            self.buffers = {name: each.clone() for name, each in self.model.named_buffers()}
            # dropout, where a network has it, draws from torch's global generator
            with self.randomness.global_generator("dropout", self.step):
                loss = self.loss.value(self.model.training_outputs(batch.inputs), batch)
            value = loss.item()
            if not math.isfinite(value):
                refuse_not_finite(batch, "training")
                rate = self.optimizer.param_groups[0]["lr"]
                raise DivergedError(
                    f"training diverged: loss {value} at step {self.step}; try "
                    f"training.learning_rate below {rate:g}",
                    value,
                )
            yield value
            if self.step == steps:
                return
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.step += 1
