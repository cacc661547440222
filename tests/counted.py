"""A task that writes a line for every training batch that is asked of it: how often was each step
of each run made?
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch

from kpflow_cli.task import Batch

LOG = "steps.log"

TASK = """\
_target_: counted.Counted
name: a
size: 3
"""


@dataclass
class Counted:
    name: str
    size: int

    input_size = 2
    output_size = 1

    def training_batch(self, batch_size: int, generator: torch.Generator) -> Batch:
        batch = self._batch(batch_size, generator)
        # one write of a line to a file opened for appending is never torn
        descriptor = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{self.name} {float(batch.inputs.sum())!r}\n".encode())
        os.close(descriptor)
        return batch

    def evaluation_batch(self) -> Batch:
        return self._batch(3, torch.Generator().manual_seed(0))

    def accuracy(self, outputs: torch.Tensor, targets: torch.Tensor) -> float:
        return 0.0

    def _batch(self, trials: int, generator: torch.Generator) -> Batch:
        inputs = torch.randn(trials, self.size, 2, generator=generator, dtype=torch.float64)
        return Batch(inputs, inputs.sum(dim=2, keepdim=True).cumsum(dim=1))


def put_task(folder: Path) -> Path:
    """Make the task known to commands in a folder; returns the folder."""
    (folder / "conf" / "task").mkdir(parents=True)
    (folder / "conf" / "task" / "counted.yaml").write_text(TASK)
    (folder / "counted.py").write_text(Path(__file__).read_text())
    return folder


def steps_made(cwd: Path) -> Counter[str]:
    """How often each step of each run was begun."""
    return Counter((cwd / LOG).read_text().splitlines()) if (cwd / LOG).exists() else Counter()
