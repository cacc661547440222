"""Attention: a network learns the output of a random one of the same architecture on random inputs
(arXiv 2605.08746, Fig. 6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from kpflow_cli.config.keys import Key
from kpflow_cli.models.base import Model
from kpflow_cli.task import MOST_STEPS, Batch, share_solved


@dataclass
class Attention:
    """Inputs are independent standard normal numbers; the target is the teacher's one output,
    standardized.

    Teacher and student are one model configuration, ``model=attention`` or any other, with weights
    of their own; the student's all train.
    """

    input_dim: Annotated[int, Key("input channels", at_least=1)]
    time_steps: Annotated[int, Key("time steps of a trial", at_least=1, at_most=MOST_STEPS)]
    evaluation_trials: Annotated[int, Key("evaluation trials, fixed", at_least=1)]
    # a random teacher's output is else mostly its bias, learned in a few steps
    standardize: Annotated[
        bool, Key("shift and scale targets to mean 0 and variance 1 over the evaluation trials")
    ]

    output_size = 1

    @property
    def input_size(self) -> int:
        """n_in."""
        return self.input_dim

    def prepare(
        self,
        _student: nn.Module,
        draw_teacher: Callable[..., nn.Module],
        generator: torch.Generator,
    ) -> None:
        """Draw the teacher and the evaluation inputs."""
        teacher = draw_teacher().requires_grad_(False).eval()
        assert isinstance(teacher, Model)
        self._teacher, self._offset, self._scale = teacher, 0.0, 1.0
        batch = self.training_batch(self.evaluation_trials, generator)
        if self.standardize:
            # one trial of one time step has no variance
            deviation = batch.targets.std(correction=0).item()
            self._offset, self._scale = batch.targets.mean().item(), deviation or 1.0
        self._evaluation = Batch(batch.inputs, (batch.targets - self._offset) / self._scale)

    @torch.no_grad()
    def training_batch(self, batch_size: int, generator: torch.Generator) -> Batch:
        """``batch_size`` fresh trials."""
        inputs = torch.randn(
            batch_size, self.time_steps, self.input_dim, dtype=torch.float64, generator=generator
        )
        weight = next(self._teacher.parameters())
        targets = self._teacher.training_outputs(inputs.to(weight.device, weight.dtype))
        return Batch(inputs, (targets.to(inputs) - self._offset) / self._scale)

    def evaluation_batch(self) -> Batch:
        """The same ``evaluation_trials`` trials every time."""
        return self._evaluation

    def accuracy(self, outputs: Tensor, targets: Tensor) -> float:
        """Share of trials whose squared error is below a tenth of the target's power."""
        return share_solved(outputs, targets)
