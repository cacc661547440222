"""A checked configuration of a training run turned into objects: task, model, schedule."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch

from kpflow_cli.config.plugins import construct
from kpflow_cli.losses import LOSSES
from kpflow_cli.measures.evaluation import Evaluation
from kpflow_cli.models.base import Model
from kpflow_cli.run import tables
from kpflow_cli.run.checkpoints import Rows
from kpflow_cli.run.measuring_plan import MeasuringPlan
from kpflow_cli.run.schedule import geometric
from kpflow_cli.run.training import Trainer, build_optimizer
from kpflow_cli.task import Task, TeacherTask, TimedTask


class Plan(MeasuringPlan):
    """What a configuration (checked) asks for. Raises UserError for a device, task or model that
    cannot be had.
    """

    weight_keys = ("task", "model")
    state_keys = ("task", "model", "training.batch_size")

    def construct(self) -> None:
        """Task, model, evaluation trials and schedule."""
        training = self.config.training
        self.schedule = geometric(training.steps, self.config.analysis.checkpoints)
        self.task: Task = construct("task", self.config.task)
        self.model = self._network("initialization")
        if isinstance(self.task, TeacherTask):
            self.task.prepare(
                self.model, partial(self._network, "teacher"), self.randomness.generator("task")
            )
        self.loss = LOSSES[training.loss]
        self.evaluation = Evaluation(self.task, self.dtype, self.device, self.loss)
        self.precise_evaluation = Evaluation(self.task, torch.float64, self.device, self.loss)

    def _network(self, purpose: Literal["initialization", "teacher"], **changes: Any) -> Model:
        """The model of the configuration with some of its keys changed, its weights drawn for a
        purpose.
        """
        sizes = {"input_size": self.task.input_size, "output_size": self.task.output_size}
        given = {**sizes, "generator": self.randomness.generator(purpose)}
        network: Model = construct("model", self.config.model, **changes, **given)
        return network.to(self.device, self.dtype)

    def trainer(self) -> Trainer:
        """The model in training, at step 0."""
        training = self.config.training
        optimizer = build_optimizer(
            self.model,
            optimizer=training.optimizer,
            learning_rate=training.learning_rate,
            momentum=training.momentum,
        )
        return Trainer(
            self.model, optimizer, self.task, self.randomness, training.batch_size, self.loss
        )

    def period_rows(self) -> Rows:
        """Of a task that tells them."""
        return tables.period_rows(self.task.periods) if isinstance(self.task, TimedTask) else []

    def is_evaluated(self, step: int) -> bool:
        """Every ``training.evaluation_interval`` steps, and the last."""
        return step % self.config.training.evaluation_interval == 0 or step == self.last_step

    def is_saved(self, step: int) -> bool:
        """Every ``save_interval`` steps."""
        return step % self.config.save_interval == 0

    @property
    def batch_size(self) -> int:
        """``training.batch_size``."""
        return self.config.training.batch_size

    @property
    def optimizer(self) -> str:
        """``training.optimizer``."""
        return self.config.training.optimizer
