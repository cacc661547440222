"""One seed, many independent generators: each draw's generator is a function of the seed, its
purpose and the step.

Probes are drawn anew for each configuration too, so that the errors of different points of a sweep
are independent. All else is shared by the configurations of one seed, which makes a comparison of
two of them one of networks rather than of draws.

No generator is carried from step to step, so the state of them all is the seed and the step, and a
run that continues from a checkpoint draws what an undisturbed one would have drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

Purpose = Literal[
    "initialization", "batch", "dropout", "probes", "control probes", "teacher", "task"
]


@dataclass(frozen=True)
class Randomness:
    """The random draws of one run; ``configuration`` is any text that tells it from other runs of
    the same seed.
    """

    seed: int
    configuration: str = ""

    def generator(self, purpose: Purpose, step: int = 0) -> torch.Generator:
        """A fresh CPU generator, the same for the same seed, purpose and step, of probes the same
        configuration too.
        """
        return torch.Generator().manual_seed(self._seed(purpose, step))

    @contextmanager
    def global_generator(self, purpose: Purpose, step: int = 0) -> Iterator[None]:
        """For code that can only draw from torch's global generators: they are seeded alike, and
        afterwards what they were before.
        """
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            # torch.manual_seed would do, but without a GPU it takes a tenth of a small network's
            # step to note what to seed later
            torch.default_generator.manual_seed(self._seed(purpose, step))
            if torch.cuda.is_available():
                torch.cuda.manual_seed_all(self._seed(purpose, step))
            yield

    def _seed(self, purpose: Purpose, step: int) -> int:
        of_configuration = f"/{self.configuration}" if purpose.endswith("probes") else ""
        digest = hashlib.sha256(f"{self.seed}/{purpose}/{step}{of_configuration}".encode()).digest()
        return int.from_bytes(digest[:8], "little")
