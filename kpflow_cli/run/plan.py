"""A checked configuration turned into objects: device, task, model, schedule."""

from __future__ import annotations

import copy
import inspect
import json
import pkgutil
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from kpflow_cli.config.schema import Analysis
from kpflow_cli.config.validation import identity
from kpflow_cli.errors import UserError
from kpflow_cli.measures.evaluation import Evaluation
from kpflow_cli.measures.records import RECORDS
from kpflow_cli.models.base import Model
from kpflow_cli.ntk import Trajectory, global_ntk
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
        _let_own_modules_be_found()
        self.config = config
        self.device, self.dtype = _device(config.device), getattr(torch, config.dtype)
        self.randomness = Randomness(config.seed, json.dumps(identity(config), sort_keys=True))
        self.task: Task = _construct(Task, "task", config.task)
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
        task, node = self.task, OmegaConf.create({**self.config.model, **changes})
        sizes = {"input_size": task.input_size, "output_size": task.output_size}
        network: Model = _construct(
            Model, "model", node, **sizes, generator=self.randomness.generator(purpose)
        )
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


def _let_own_modules_be_found() -> None:
    """Modules in the current folder can be named by ``_target_``; last, so that they shadow
    nothing.
    """
    current = str(Path.cwd())
    if current not in sys.path:
        sys.path.append(current)


def _construct(kind: type, group: str, node: DictConfig, **keywords: Any) -> Any:
    """The object of a kind that a configuration node's ``_target_`` names, from its other keys and
    ``keywords``.
    """
    keys = [str(key) for key in node if key != "_target_"]
    values = {key: OmegaConf.to_object(node)[key] for key in keys}  # type: ignore[index,call-overload]
    try:
        target = pkgutil.resolve_name(node._target_)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{group}._target_={node._target_}: cannot be imported ({error})") from None
    try:
        inspect.signature(target).bind(**values, **keywords)
    except TypeError as error:
        raise UserError(
            f"{group}._target_={node._target_}: does not take the keys of this {group} ({error})"
        ) from None
    made = target(**values, **keywords)
    if not isinstance(made, kind):
        raise UserError(
            f"{group}._target_={node._target_}: is no {kind.__name__}; see {kind.__module__}"
        )
    return made


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
