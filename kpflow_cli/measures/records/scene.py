"""What a record is made from, and how many rows of a large array it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from kpflow_cli.errors import UserError
from kpflow_cli.measures.evaluation import Evaluation
from kpflow_cli.models.base import Model, RecurrentModel
from kpflow_cli.ntk import GlobalNTK, Trajectory
from kpflow_cli.task import Batch

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Scene:
    """A network at one checkpoint, on its evaluation trials.

    Attributes:
        training_batch: gives that of the gradient step that training takes from here.
        trajectory: linearized around its weight sites.
        ntk: NTK_S of that trajectory.
        generator: of every random draw.
    """

    model: Model
    evaluation: Evaluation
    training_batch: Callable[[], Batch]
    trajectory: Trajectory
    ntk: GlobalNTK
    generator: torch.Generator

    @property
    def recurrent_model(self) -> RecurrentModel:
        """The network, where it is recurrent. Raises UserError for another."""
        if not isinstance(self.model, RecurrentModel):
            raise UserError(f"{type(self.model).__name__}: is no RecurrentModel")
        return self.model


def choose_indices(size: int, most: int) -> list[int]:
    """At most ``most`` indices of an axis of ``size``, evenly spaced from 0."""
    count = min(size, most)
    return [index * size // count for index in range(count)]


def entries(array: torch.Tensor, **labels: Any) -> Iterable[dict[str, Any]]:
    """A row for each entry of a matrix: the labels, ``row``, ``column``, ``value``."""
    for row, values in enumerate(array.tolist()):
        for column, value in enumerate(values):
            yield {**labels, "row": row, "column": column, "value": value}
