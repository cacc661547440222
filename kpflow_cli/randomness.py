"""One seed, many independent generators: each draw's generator is a function of the seed, its purpose and the step.

No generator is carried from step to step, so the state of them all is the seed and the step, and a run that continues from a checkpoint
draws what an undisturbed one would have drawn.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch

Purpose = Literal["initialization", "batch", "probes"]


@dataclass(frozen=True)
class Randomness:
    """The random draws of one run."""

    seed: int

    def generator(self, purpose: Purpose, step: int = 0) -> torch.Generator:
        """A fresh CPU generator, the same for the same seed, purpose and step."""
        digest = hashlib.sha256(f"{self.seed}/{purpose}/{step}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))
