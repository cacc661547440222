"""A checked configuration turned into objects: device, task, model, schedule."""

from __future__ import annotations

import pkgutil
from dataclasses import fields
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from kpflow_cli.errors import UserError
from kpflow_cli.measurements import Analysis
from kpflow_cli.models.sites import RecurrentModel
from kpflow_cli.randomness import Randomness
from kpflow_cli.task import Task
from kpflow_cli.training import Evaluation, Trainer, build_optimizer, geometric_schedule


class Plan:
    """What a configuration (checked) asks for. Raises UserError for a device, task or model that cannot be had."""

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self.device, self.dtype = _device(config.device), getattr(torch, config.dtype)
        self.randomness = Randomness(config.seed)
        self.task: Task = _construct("task", config.task)
        self.model: RecurrentModel = _construct(
            "model",
            config.model,
            input_size=self.task.input_size,
            output_size=self.task.output_size,
            generator=self.randomness.generator("initialization"),
        )
        self.model.to(self.device, self.dtype)
        self.evaluation = Evaluation(self.task, self.dtype, self.device)
        self.analysis = Analysis(**{declared.name: config.analysis[declared.name] for declared in fields(Analysis)})
        self.schedule = geometric_schedule(config.training.steps, config.analysis.checkpoints)

    def trainer(self) -> Trainer:
        """The model in training, at step 0."""
        training = self.config.training
        optimizer = build_optimizer(
            self.model, optimizer=training.optimizer, learning_rate=training.learning_rate, momentum=training.momentum
        )
        return Trainer(self.model, optimizer, self.task, self.randomness, training.batch_size)

    @property
    def target_directions(self) -> Tensor:
        """The target modes carried back through the readout as it is now, ``(k, B, T, n)``."""
        return self.evaluation.modes.state_directions(self.model.readout.weight)


def _construct(group: str, node: DictConfig, **keywords: Any) -> Any:
    """The object that a configuration node's ``_target_`` names, from its other keys and ``keywords``."""
    values = {str(key): value for key, value in OmegaConf.to_container(node).items() if key not in ("name", "_target_")}  # type: ignore[union-attr]
    try:
        target = pkgutil.resolve_name(node._target_)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{group}._target_={node._target_}: cannot be imported ({error})") from None
    return target(**values, **keywords)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device={name}: unknown; valid: cpu, cuda, cuda:<index>") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device={name}: not supported; valid: cpu, cuda, cuda:<index>")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device={name}: this machine has {torch.cuda.device_count()} CUDA devices")
    return device
