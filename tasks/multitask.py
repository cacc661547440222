"""Four tasks of Memory-Pro's family, told apart by a rule (a subset of Driscoll, Shenoy & Sussillo
2024, Nature Neuroscience 27:1349).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from kpflow_cli.config.keys import Key
from kpflow_cli.task import MOST_STEPS, Batch, one_after_another

from .memory_pro import MemoryPro, share_reported

# of each: whether the response has the opposite sign, whether the stimulus stays on to the end
RULES = {
    "memory_pro": (False, False),
    "memory_anti": (True, False),
    "delay_pro": (False, True),
    "delay_anti": (True, True),
}


@dataclass(frozen=True)
class MultiTask:
    """Channels in: those of Memory-Pro, and for each task one that is 1 in its context period;
    channels out: those of Memory-Pro.

    A trial begins with the context period, with fixation on and no stimulus; trial i is of task i
    modulo 4.
    """

    context_steps: Annotated[
        int, Key("time steps of the context period", at_least=1, at_most=MOST_STEPS)
    ]
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
        int, Key("noise-free evaluation trials of each task, angles equally spaced", at_least=1)
    ]

    input_size = 3 + len(RULES)
    output_size = 3

    @property
    def periods(self) -> dict[str, range]:
        """Context, stimulus, memory and response."""
        steps = {
            "context": self.context_steps,
            "stimulus": self.stimulus_steps,
            "memory": self.memory_steps,
            "response": self.response_steps,
        }
        return one_after_another(steps)

    def training_batch(self, batch_size: int, generator: torch.Generator) -> Batch:
        """``batch_size`` trials, angles uniform on [0, 2 pi)."""
        angles = 2 * math.pi * torch.rand(batch_size, dtype=torch.float64, generator=generator)
        trials = self._trials(angles)
        noise = torch.randn(trials.inputs.shape, dtype=torch.float64, generator=generator)
        return Batch(trials.inputs + self.noise * noise, trials.targets)

    def evaluation_batch(self) -> Batch:
        """Of each task ``evaluation_trials`` trials, angles 0, 2 pi / B, ..., without noise."""
        count = self.evaluation_trials
        angles = 2 * math.pi * torch.arange(count, dtype=torch.float64) / count
        return self._trials(angles.repeat_interleave(len(RULES)))

    def accuracy(self, outputs: Tensor, targets: Tensor) -> float:
        """Share of trials whose error is below pi/10 on both stimulus channels at the last step."""
        return share_reported(outputs, targets)

    def scores(self, outputs: Tensor, batch: Batch) -> dict[str, float]:
        """The accuracy of each task, ``accuracy_memory_pro``, ..."""
        return {
            f"accuracy_{name}": share_reported(
                outputs[index :: len(RULES)], batch.targets[index :: len(RULES)]
            )
            for index, name in enumerate(RULES)
        }

    def _trials(self, angles: Tensor) -> Batch:
        """Trials of angles ``(B,)``."""
        steps = self.context_steps + self.stimulus_steps + self.memory_steps + self.response_steps
        inputs = torch.zeros(len(angles), steps, self.input_size, dtype=torch.float64)
        targets = torch.zeros(len(angles), steps, self.output_size, dtype=torch.float64)
        inputs[:, : self.context_steps, 0] = targets[:, : self.context_steps, 0] = 1
        for index, (anti, stimulus_stays) in enumerate(RULES.values()):
            own = slice(index, None, len(RULES))
            after = self._after_context(anti, stimulus_stays).trials(angles[own])
            inputs[own, : self.context_steps, 3 + index] = 1
            inputs[own, self.context_steps :, :3] = after.inputs
            targets[own, self.context_steps :] = after.targets
        return Batch(inputs, targets)

    def _after_context(self, anti: bool, stimulus_stays: bool) -> MemoryPro:
        return MemoryPro(
            self.stimulus_steps,
            self.memory_steps,
            self.response_steps,
            noise=self.noise,
            evaluation_trials=self.evaluation_trials,
            anti=anti,
            stimulus_stays=stimulus_stays,
        )
