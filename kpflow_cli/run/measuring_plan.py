"""What is measured of a network, wherever its weights come from: device, trials, analysis, and what
that takes.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from typing import Any, ClassVar, Protocol

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.nn.parameter import is_lazy

from kpflow_cli.config.schema import Analysis
from kpflow_cli.config.validation import identity
from kpflow_cli.errors import UserError
from kpflow_cli.measures.evaluation import Evaluation
from kpflow_cli.measures.records import RECORDS
from kpflow_cli.models.base import Model
from kpflow_cli.ntk import Trajectory, global_ntk
from kpflow_cli.run.checkpoints import Checkpoint, Rows, refuse_unreadable_state
from kpflow_cli.run.identity import canonical_json
from kpflow_cli.run.memory import Need, free_bytes, largest_key, rationed
from kpflow_cli.run.needs import Sizes, list_needs
from kpflow_cli.run.randomness import Randomness
from kpflow_cli.run.tables import plain_rows
from kpflow_cli.task import Batch
from kpflow_cli.tracing.state_choice import SiteState

# states smaller than these are there in no time, and fit anywhere
_DOUBLE_BYTES, _SMALL_BYTES = 8, 2**28
# what a run needs is known to this factor
_UNCERTAIN = 2
# keys of the analysis that probe blocks grow with
_PROBE_KEYS = (
    "analysis.probes",
    "analysis.krylov_block",
    "analysis.krylov_depth",
    "analysis.sketch",
    "analysis.block_size",
)


class WeightSource(Protocol):
    """What brings a network from step to step.

    Attributes:
        step: that the weights are of.
        buffers: of the network, as they were before the forward pass of ``step``.
    """

    step: int
    buffers: dict[str, Tensor]

    def restore(self, checkpoint: Checkpoint) -> None:
        """Be where another was before the forward pass of a step. Raises ValueError where what it
        left does not fit.
        """

    def losses(self, steps: int) -> Iterator[float]:
        """The loss at ``step`` and at each step after it until ``steps``; NaN where there is none.

        While a loss is in the caller's hands, ``step`` and the weights are those that it belongs
        to.
        """

    def batch(self) -> Batch:
        """That which the step goes on with."""

    def optimizer_state(self) -> dict[str, Any]:
        """State dict of what changes the weights, empty where nothing is to be remembered."""


class MeasuringPlan(ABC):
    """What a configuration (checked) asks to be measured. Raises UserError for a device, trials or
    a network that cannot be had.

    Attributes:
        model: the network.
        evaluation: the trials that it is measured on.
        schedule: measured steps, ascending.
        memory: what the run will need at most.
        why_no_core: why the network is measured without a Kronecker core, None where it has one.
        beside_core: the trained parameters that count in NTK_S and have no part in the core.
    """

    # what memory grows with, by groups and keys: the weights, and the states
    weight_keys: ClassVar[tuple[str, ...]]
    state_keys: ClassVar[tuple[str, ...]]
    model: Model
    evaluation: Evaluation
    precise_evaluation: Evaluation
    schedule: Sequence[int]

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self.device, self.dtype = _device(config.device), getattr(torch, config.dtype)
        self.randomness = Randomness(config.seed, canonical_json(identity(config)))
        with self._rationed():
            self.construct()
        self._state = None if config.analysis.state == "own" else SiteState(config.analysis.state)
        self.analysis = _analysis(config.analysis, len(self.evaluation.batch.inputs))
        with self._rationed_if_large():
            self._refuse_unmeasurable()
            self._refuse_unwritable()

    @abstractmethod
    def construct(self) -> None:
        """Make model, evaluation trials in both precisions, and schedule."""

    @abstractmethod
    def trainer(self) -> WeightSource:
        """What changes the model's weights, at the first step."""

    @abstractmethod
    def is_evaluated(self, step: int) -> bool:
        """Whether a step has a row in training.csv."""

    @abstractmethod
    def is_saved(self, step: int) -> bool:
        """Whether a step that is not measured is saved."""

    @property
    def last_step(self) -> int:
        """That the run ends with."""
        return self.schedule[-1]

    @property
    def batch_size(self) -> int:
        """Trials that a gradient step needs memory for."""
        return 0

    @property
    def optimizer(self) -> str:
        """Whose memory a gradient step needs beside that of the gradient."""
        return "sgd"

    @property
    def control_draws(self) -> int:
        """Networks with other weights to measure beside the first step's."""
        return 0

    def drawn_afresh(self, draw: int) -> AbstractContextManager[None]:
        """The network with the weights of such a draw."""
        raise NotImplementedError(f"no control, {draw}")

    def source_rows(self, step: int) -> dict[str, Rows]:  # noqa: ARG002
        """Rows that tell where the weights of a step are from, by their table."""
        return {}

    def period_rows(self) -> Rows:
        """Rows of periods.csv, none where the trials have no periods."""
        return []

    def _rationed(self) -> AbstractContextManager[None]:
        return rationed(_sizes_of(self.config, *self.weight_keys), self.device)

    def _rationed_if_large(self) -> AbstractContextManager[None]:
        """For the first look at the states of all trials: of what is large one trial first, which
        tells how many states there are.
        """
        if any(is_lazy(weight) for weight in self.model.parameters()):
            # of no shape yet: refused below
            return nullcontext()
        inputs = self.evaluation.batch.inputs
        trials, steps = inputs.shape[:2]
        # of integers, which a network embeds, there are no channels
        width = sum(inputs.shape[2:]) + sum(
            weight.shape[0] for weight in self.model.parameters() if weight.ndim
        )
        if trials * steps * width * _DOUBLE_BYTES < _SMALL_BYTES:
            return nullcontext()
        with self._rationed():
            states = self.evaluation.states(self.model, trials=1).numel() * trials
        self._need_memory(Sizes(states, states, trials, 1, self._batch_states(states)))
        return self._rationed()

    def _batch_states(self, states: int) -> int:
        """Of a training batch, where those of all evaluation trials are so many."""
        return self.batch_size * states // len(self.evaluation.batch.inputs)

    def _refuse_unmeasurable(self) -> None:
        """Find out before any work whether a network has weight sites and can be recorded as asked,
        and whether it has a core.
        """
        self._refuse_unread_integers()
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
        if not trajectory.state.isfinite().all():
            raise self._overflow()
        try:
            ntk = global_ntk(trajectory)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            raise self._overflow() from None
        states, trials = math.prod(ntk.in_shape), ntk.in_shape[0]
        site_outputs, domain = ntk.parameter_operator.in_size, ntk.factor.in_size
        self.memory = self._need_memory(
            Sizes(states, site_outputs, trials, domain, self._batch_states(states))
        )
        self.why_no_core, self.beside_core = ntk.why_no_core, ntk.beside_core
        if self.why_no_core and set(self.analysis.measures) == {"v"}:
            raise UserError(f"analysis.measures=[v]: {self.why_no_core}")

    def _refuse_unread_integers(self) -> None:
        """Find out whether a network takes integers, where inputs are that."""
        if self.evaluation.batch.inputs.is_floating_point():
            return
        try:
            # of a copy: a network may remember that it was called
            self.evaluation.states(copy.deepcopy(self.model), trials=1)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"model: does not take inputs that are integers ({first:.100}); one that embeds "
                "them does"
            ) from None

    def _overflow(self) -> UserError:
        return UserError(
            f"model: its states or slopes on the evaluation trials exceed the range of "
            f"{self.config.dtype}; try smaller initial weights, such as a smaller model.gain"
        )

    def _refuse_unwritable(self) -> None:
        """Find out before any work whether what the run will write can be read back."""
        refuse_unreadable_state(self.model.state_dict())
        # of a copy: a network may remember that it was called
        plain_rows("training", [self.evaluation.scores(copy.deepcopy(self.model))])

    def _need_memory(self, sizes: Sizes) -> Need:
        """What the run will need at most. Raises UserError, which names a key of the largest part,
        for more than can be had.
        """
        parts = list_needs(self.model, sizes, self.analysis, self.optimizer)
        need = Need(parts, free_bytes(self.device))
        if parts["weights"] > need.free or need.total > _UNCERTAIN * need.free:
            largest = max(parts, key=lambda name: parts[name])
            responsible = {
                "weights": self.weight_keys,
                "states": self.state_keys,
                "probe blocks": (*self.weight_keys, *_PROBE_KEYS),
            }
            keys = largest_key(_sizes_of(self.config, *responsible[largest]))
            raise UserError(f"{keys}: {need}")
        return need

    def trajectory(self) -> Trajectory:
        """The model as it is now on the evaluation trials, with the state that the analysis
        chooses.
        """
        found = self.model.trajectory(self.evaluation.batch.inputs, self._state)
        # one that can be rounded is that of double precision, rounded
        return found if found.traced is not None else self.trajectories()[0]

    def trajectories(self) -> tuple[Trajectory, Trajectory | None]:
        """That of the model as it is now, in the precision of the run, and the same in double
        precision.

        A network that says itself what its sites are is linearized in double precision and then
        rounded, so that both are one trajectory, however chaotic. None for a network that does not
        run in double precision.
        """
        inputs = self.precise_evaluation.batch.inputs
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
            return self.precise_evaluation.target_directions(self._precise_model(), trajectory)
        return self.evaluation.target_directions(self.model, trajectory)

    def _precise_model(self) -> Model:
        """The model with the same weights in double precision."""
        return copy.deepcopy(self.model).double()


def _sizes_of(config: DictConfig, *names: str) -> dict[str, Any]:
    """Groups, and single keys of them, by their names."""
    selected = {name: OmegaConf.select(config, name) for name in names}
    return {
        name: OmegaConf.to_container(each) if OmegaConf.is_config(each) else each
        for name, each in selected.items()
    }


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
