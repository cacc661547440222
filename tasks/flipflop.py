"""Flip-flop: each channel remembers the sign of its last pulse (Sussillo & Barak 2013, Neural
Computation 25:626).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from kpflow_cli.config.keys import Key
from kpflow_cli.task import MOST_STEPS, Batch

# of the evaluation trials, the same for every seed of a run
_EVALUATION_SEED = 0


@dataclass(frozen=True)
class FlipFlop:
    """As many channels in and out as there are bits; pulses are 1 or -1."""

    bits: Annotated[int, Key("channels in and out", at_least=1)]
    time_steps: Annotated[int, Key("time steps of a trial", at_least=1, at_most=MOST_STEPS)]
    pulse_probability: Annotated[
        float, Key("of a pulse, for each channel at each step", above=0, at_most=1)
    ]
    noise: Annotated[
        float, Key("standard deviation of the Gaussian noise on training inputs", at_least=0)
    ]
    evaluation_trials: Annotated[
        int,
        Key(
            "noise-free evaluation trials, fixed; every other one is the last, flipped", at_least=1
        ),
    ]

    @property
    def input_size(self) -> int:
        """n_in."""
        return self.bits

    @property
    def output_size(self) -> int:
        """n_out."""
        return self.bits

    def training_batch(self, batch_size: int, generator: torch.Generator) -> Batch:
        """``batch_size`` fresh trials."""
        pulses = self._pulses(batch_size, generator)
        noise = torch.randn(pulses.shape, dtype=torch.float64, generator=generator)
        return Batch(pulses + self.noise * noise, last_signs(pulses))

    def evaluation_batch(self) -> Batch:
        """The same ``evaluation_trials`` trials every time, as many pulses up as down."""
        generator = torch.Generator().manual_seed(_EVALUATION_SEED)
        half = self._pulses((self.evaluation_trials + 1) // 2, generator)
        pulses = torch.stack([half, -half], dim=1).flatten(0, 1)[: self.evaluation_trials]
        return Batch(pulses, last_signs(pulses))

    def accuracy(self, outputs: Tensor, targets: Tensor) -> float:
        """Share of outputs, over trials, times and channels, whose error is below 0.5."""
        return float(((outputs - targets).abs() < 0.5).double().mean())

    def _pulses(self, trials: int, generator: torch.Generator) -> Tensor:
        """``(trials, T, bits)`` of 1, -1 and mostly 0."""
        shape = (trials, self.time_steps, self.bits)
        there = torch.rand(shape, dtype=torch.float64, generator=generator) < self.pulse_probability
        signs = 2.0 * torch.randint(2, shape, generator=generator) - 1
        return there * signs.double()


def last_signs(pulses: Tensor) -> Tensor:
    """The sign of each channel's last pulse until each time, that time included, 0 before the
    first; both ``(B, T, bits)``.
    """
    times = torch.arange(pulses.shape[1]).reshape(1, -1, 1)
    latest = torch.where(pulses != 0, times, 0).cummax(dim=1).values
    return pulses.sign().gather(1, latest)
