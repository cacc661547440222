"""A network brought from one checkpoint of somebody's training to the next."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor

from kpflow_cli.errors import UserError
from kpflow_cli.run.checkpoints import Checkpoint
from kpflow_cli.task import Batch
from kpflow_cli.weights.sequence import WeightFile


class Replay:
    """Loads one checkpoint after the other.

    Attributes:
        step: of the checkpoint whose weights the network has.
        buffers: none that another session would need.
    """

    def __init__(
        self,
        files: Sequence[WeightFile],
        load: Callable[[WeightFile], None],
        batch: Callable[[], Batch],
    ) -> None:
        self._files, self._load, self._batch = files, load, batch
        self.step = files[0].step if files else 0
        self.buffers: dict[str, Tensor] = {}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on after what is measured already, as its tables say. Raises UserError where these
        were made of other files.
        """
        step = checkpoint.step
        recorded = {row["step"]: row for row in checkpoint.tables.get("weights", [])}
        for file in self._files:
            row = recorded.get(file.step)
            if row is None and file.step < step:
                raise UserError(
                    f"weights={file.name}: has come after step {step} was measured; take another "
                    "run_dir"
                )
            if row is not None and row["sha256"] != file.checksum():
                raise UserError(
                    f"weights={file.name}: has changed since it was measured; take another run_dir"
                )
        self.step = step

    def losses(self, steps: int) -> Iterator[float]:
        """As ``WeightSource.losses`` says; each is NaN."""
        for file in self._files:
            if self.step <= file.step <= steps:
                self._load(file)
                self.step = file.step
                yield math.nan
        if not self._files:
            yield math.nan

    def batch(self) -> Batch:
        """The evaluation trials: there are no others."""
        return self._batch()

    def optimizer_state(self) -> dict[str, Any]:
        """Nothing."""
        return {}
