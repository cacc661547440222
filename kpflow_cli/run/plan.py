"""A checked configuration turned into objects: device, task, model, schedule."""

from __future__ import annotations

import copy
from dataclasses import fields
from functools import partial
from typing import Any, Literal

import torch
from omegaconf import DictConfig
from torch import Tensor

from kpflow_cli.config.plugins import construct
from kpflow_cli.config.schema import Analysis
from kpflow_cli.config.validation import identity
from kpflow_cli.errors import UserError
from kpflow_cli.measures.evaluation import Evaluation
from kpflow_cli.measures.records import RECORDS
from kpflow_cli.models.base import Model
from kpflow_cli.ntk import Trajectory, global_ntk
from kpflow_cli.run.identity import canonical_json
from kpflow_cli.run.randomness import Randomness
from kpflow_cli.run.training import Trainer, build_optimizer, geometric_schedule
from kpflow_cli.task import Task, TeacherTask
from kpflow_cli.tracing.state_choice import SiteState


class Plan:
    """What a configuration (checked) asks for. Raises UserError for a device, task or model that
    cannot be had.

    Attributes:
        why_no_core: why the network is measured without a Kronecker core, None where it has one.
    """

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self.device, self.dtype = _device(config.device), getattr(torch, config.dtype)
        self.randomness = Randomness(config.seed, canonical_json(identity(config)))
        self.task: Task = construct("task", config.task)
        self.model = self._network("initialization")
        if isinstance(self.task, TeacherTask):
            self.task.prepare(
                self.model, partial(self._network, "teacher"), self.randomness.generator("task")
            )
        self.evaluation = Evaluation(self.task, self.dtype, self.device)
        self._precise_evaluation = Evaluation(self.task, torch.float64, self.device)
        self._state = None if config.analysis.state == "own" else SiteState(config.analysis.state)
        self.analysis = _analysis(config.analysis, len(self.evaluation.batch.inputs))
        self._refuse_unmeasurable()
        self.schedule = geometric_schedule(config.training.steps, config.analysis.checkpoints)

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
        return Trainer(self.model, optimizer, self.task, self.randomness, training.batch_size)

    def _refuse_unmeasurable(self) -> None:
        """Find out before any work whether a network has weight sites and can be recorded as asked,
        and whether it has a core.
        """
        trajectory = self.trajectory()
        for name in self.analysis.records:
            if not RECORDS[name].possible(self.model, trajectory):
                able = ", ".join(
                    each
                    for each, record in RECORDS.items()
                    if record.possible(self.model, trajectory)
                )
                raise UserError(
                    f"analysis.records={name}: only of {RECORDS[name].subjects}; of this one: "
                    f"{able}"
                )
        self.why_no_core = global_ntk(trajectory).why_no_core
        if self.why_no_core and set(self.analysis.measures) == {"v"}:
            raise UserError(f"analysis.measures=[v]: {self.why_no_core}")

    def trajectory(self) -> Trajectory:
        """The model as it is now on the evaluation trials, with the state that the analysis
        chooses.
        """
        return self.trajectories()[0]

    def trajectories(self) -> tuple[Trajectory, Trajectory | None]:
        """That of the model as it is now, in the precision of the run, and the same in double
        precision.

        A network that says itself what its sites are is linearized in double precision and then
        rounded, so that both are one trajectory, however chaotic. None for a network that does not
        run in double precision.
        """
        inputs = self._precise_evaluation.batch.inputs
        try:
            precise = self._precise_model().trajectory(inputs, self._state)
        except (RuntimeError, TypeError, UserError):
            # what is refused in any precision is refused below
            precise = None
        rounded = None if precise is None else precise.to(self.dtype)
        if rounded is not None:
            return rounded, precise
        return self.model.trajectory(self.evaluation.batch.inputs, self._state), precise

    def target_directions(self, trajectory: Trajectory) -> Tensor:
        """The target modes carried back from the outputs to the state of the ``trajectory``, ``(k,
        B, T, n)`` in double precision; rounded before only where the trajectory is.
        """
        if trajectory.state.dtype == torch.float64:
            return self._precise_evaluation.target_directions(self._precise_model(), trajectory)
        return self.evaluation.target_directions(self.model, trajectory)

    def _precise_model(self) -> Model:
        """The model with the same weights in double precision."""
        return copy.deepcopy(self.model).double()


def _analysis(node: DictConfig, trials: int) -> Analysis:
    values = {declared.name: node[declared.name] for declared in fields(Analysis)}
    analysis = Analysis(**values | {"measures": list(node.measures), "records": list(node.records)})
    ntk_space = analysis.krylov_block * analysis.krylov_depth
    propagator_space = trials * analysis.propagator_krylov_block * analysis.propagator_krylov_depth
    if analysis.eigenvalues > min(ntk_space, propagator_space):
        raise UserError(
            f"analysis.eigenvalues={analysis.eigenvalues}: the Krylov spaces hold {ntk_space} for "
            f"NTK_S and {propagator_space} for P; raise analysis.krylov_depth or "
            "analysis.propagator_krylov_depth"
        )
    return analysis


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
