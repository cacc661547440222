"""Memory-Pro: an angle shown for a while, held in memory, reported once the fixation input goes off
(arXiv 2605.08746, Figs. 3 and 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from kpflow_cli.config.keys import Key
from kpflow_cli.task import MOST_STEPS, Batch, one_after_another


@dataclass(frozen=True)
class MemoryPro:
    """Channels in: fixation, cos(angle), sin(angle); channels out: the same three."""

    stimulus_steps: Annotated[
        int, Key("time steps of the stimulus period", at_least=1, at_most=MOST_STEPS)
    ]
    memory_steps: Annotated[
        int, Key("time steps of the memory period", at_least=0, at_most=MOST_STEPS)
    ]
    response_steps: Annotated[
        int, Key("time steps of the response period", at_least=1, at_most=MOST_STEPS)
    ]
    noise: Annotated[
        float, Key("standard deviation of the Gaussian noise on training inputs", at_least=0)
    ]
    evaluation_trials: Annotated[
        int, Key("noise-free evaluation trials, angles equally spaced", at_least=1)
    ]
    anti: Annotated[bool, Key("respond with the opposite sign")] = False
    stimulus_stays: Annotated[bool, Key("keep the stimulus on through memory and response")] = False

    input_size = 3
    output_size = 3

    @property
    def periods(self) -> dict[str, range]:
        """Stimulus, memory and response."""
        steps = {
            "stimulus": self.stimulus_steps,
            "memory": self.memory_steps,
            "response": self.response_steps,
        }
        return one_after_another(steps)

    def training_batch(self, batch_size: int, generator: torch.Generator) -> Batch:
        """``batch_size`` trials, angles uniform on [0, 2 pi)."""
        trials = self.trials(
            2 * math.pi * torch.rand(batch_size, dtype=torch.float64, generator=generator)
        )
        noise = torch.randn(trials.inputs.shape, dtype=torch.float64, generator=generator)
        return Batch(trials.inputs + self.noise * noise, trials.targets)

    def evaluation_batch(self) -> Batch:
        """``evaluation_trials`` trials, angles 0, 2 pi / B, ..., without noise."""
        return self.trials(
            2
            * math.pi
            * torch.arange(self.evaluation_trials, dtype=torch.float64)
            / self.evaluation_trials
        )

    def accuracy(self, outputs: Tensor, targets: Tensor) -> float:
        """Share of trials whose error is below pi/10 on both stimulus channels at the last step."""
        return share_reported(outputs, targets)

    def trials(self, angles: Tensor) -> Batch:
        """Trials of angles ``(B,)``, without noise."""
        response = self.stimulus_steps + self.memory_steps
        steps = response + self.response_steps
        direction = torch.stack([angles.cos(), angles.sin()], dim=1).unsqueeze(1)
        inputs = torch.zeros(len(angles), steps, 3, dtype=torch.float64)
        inputs[:, :response, 0] = 1
        inputs[:, : steps if self.stimulus_stays else self.stimulus_steps, 1:] = direction
        targets = torch.zeros_like(inputs)
        targets[..., 0] = inputs[..., 0]
        targets[:, response:, 1:] = -direction if self.anti else direction
        return Batch(inputs, targets)


def share_reported(outputs: Tensor, targets: Tensor) -> float:
    """Share of trials whose error is below pi/10 on both stimulus channels at the last step; both
    ``(B, T, 3)``.
    """
    errors = (outputs[:, -1, 1:] - targets[:, -1, 1:]).abs()
    return float((errors < math.pi / 10).all(dim=1).double().mean())


def of_length(trials: int, steps: int) -> MemoryPro:
    """The task with ``steps`` time steps, a third for each period, and evaluation on ``trials``."""
    stimulus, memory = steps // 3, (steps + 1) // 3
    return MemoryPro(
        stimulus,
        memory,
        steps - stimulus - memory,
        noise=0.1 * math.sqrt(2),
        evaluation_trials=trials,
    )
