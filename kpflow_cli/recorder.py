"""Measuring in a training loop of one's own."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from kpflow_cli.config.validation import check_analysis, identity, read_only
from kpflow_cli.errors import UserError
from kpflow_cli.losses import LOSSES
from kpflow_cli.measures.evaluation import Evaluation, UnlabelledEvaluation
from kpflow_cli.models.existing import ExistingNetwork, train_only
from kpflow_cli.plotting.loading import load_plots
from kpflow_cli.run.checkpoints import Rows
from kpflow_cli.run.folder import RunFolder, open_run_folder
from kpflow_cli.run.layout import CHECKPOINTS
from kpflow_cli.run.measuring import measure_step
from kpflow_cli.run.measuring_plan import MeasuringPlan, WeightSource
from kpflow_cli.run.recording import Recording, tell
from kpflow_cli.task import Batch, GivenTrials

# what DistributedDataParallel and torch.compile call the network within
_WRAPPED_AS = ("module", "_orig_mod")


class _RecordedPlan(MeasuringPlan):
    """Of a network that is in somebody else's hands: a copy is measured, with its weights."""

    weight_keys = ("recorded",)
    state_keys = ("recorded",)

    def __init__(
        self, config: DictConfig, network: ExistingNetwork, batch: Batch, schedule: Sequence[int]
    ) -> None:
        self._network, self._batch, self.schedule = network, batch, schedule
        super().__init__(config)

    def construct(self) -> None:
        """The copy on its device, and the trials."""
        self.model = self._network.to(self.device, self.dtype)
        self.evaluation, self.precise_evaluation = (
            self._evaluation(dtype) for dtype in (self.dtype, torch.float64)
        )

    def _evaluation(self, dtype: torch.dtype) -> Evaluation:
        inputs = self._batch.inputs
        if self.config.recorded.targets is None:
            return UnlabelledEvaluation(inputs, dtype, self.device)
        with torch.no_grad():
            given = self._batch.to(self.dtype, self.device).inputs
            channels = self.model.eval()(given)[0].shape[2]
        loss = LOSSES[self.config.recorded.loss]
        return Evaluation(GivenTrials(self._batch, channels), dtype, self.device, loss)

    def trainer(self) -> WeightSource:
        """Nobody here."""
        raise NotImplementedError("the loop is the user's own")

    def is_evaluated(self, step: int) -> bool:  # noqa: ARG002
        """Where there are targets."""
        return self.config.recorded.targets is not None

    def is_saved(self, step: int) -> bool:  # noqa: ARG002
        """Each recorded step is measured."""
        return False


class Recorder:
    """Measures a network in a training loop of one's own, and leaves the folder that ``kpflow run``
    leaves.

    The network and torch's random numbers stay as they are: what is measured is a copy, in
    evaluation mode.

    Args:
        model: any module; what DistributedDataParallel or torch.compile have wrapped around it is
            taken off.
        inputs: the trials that it is measured on, ``(B, T, ...)``, and the same at every step.
        folder: where tables, checkpoints and plots go.
        steps: those to measure at, such as ``kp.geometric(1500, 12)``.
        state: name of the submodule whose output is the state; None: the first tensor that forward
            returns.
        targets: ``(B, T, n_out)``, or classes ``(B, T)``; adds loss and target modes.
        loss: ``"mse"`` or ``"cross_entropy"``.
        mask: bool ``(B, T)``, False where a trial is padded.
        batch_first: False where inputs and states are ``(T, B, ...)``.
        trained: patterns of the names of weights that NTK_S counts.
        analysis: keys of ``kpflow run --help``'s analysis in place of those of
            ``configs/analysis/trained.yaml``, such as ``{"probes": 64}``.
        dtype: precision of measuring, ``"float32"`` or ``"float64"``.
        seed: of the probes.
        resume: whether to go on with what the folder holds. A step that is there already is left
            as it is, if the weights are those of then.

    Raises:
        UserError: for trials that the network does not take, a state that is not there, a folder
            that holds something else.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> network = torch.nn.GRU(3, 4, batch_first=True)
        >>> optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        >>> trials = torch.randn(5, 6, 3)
        >>> small = {"probes": 4, "eigenvalues": 2, "krylov_block": 2}
        >>> steps = kp.geometric(4, 2)
        >>> with kp.Recorder(
        ...     network, trials, folder="runs/loop", steps=steps, analysis=small
        ... ) as recorder:
        ...     for step in range(5):
        ...         loss = network(trials)[0].square().mean()
        ...         measured = recorder.step(step, loss=loss)
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        step 0 measured: effective rank ...
        step 4 measured: effective rank ...
        runs/loop
        >>> sorted(kp.load_run("runs/loop").tables)
        ['measurements', 'spectra', 'training']
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor,
        *,
        folder: str | Path,
        steps: Collection[int],
        state: str | None = None,
        targets: Tensor | None = None,
        loss: str = "mse",
        mask: Tensor | None = None,
        batch_first: bool = True,
        trained: Sequence[str] = ("*",),
        analysis: Mapping[str, Any] | None = None,
        dtype: str = "float32",
        seed: int = 0,
        resume: bool = False,
    ) -> None:
        if loss not in LOSSES:
            raise UserError.unknown("loss", loss, LOSSES)
        if not steps or min(steps) < 0:
            raise UserError(f"steps={tuple(steps)}: one or more, none below 0")
        self._watched, self.path, self._resume = _unwrap(model), Path(folder).expanduser(), resume
        network = copy.deepcopy(self._watched)
        train_only(network, trained)
        given = {"inputs": inputs, "targets": targets, "mask": mask}
        if not batch_first:
            given = {name: _trials_first(each) for name, each in given.items()}
        existing = ExistingNetwork(
            network, state=state, batch_first=batch_first, mask=given["mask"]
        )
        device = next((each.device for each in network.parameters()), torch.device("cpu"))
        values = {
            "recorded": {
                "network": type(self._watched).__qualname__,
                **{name: _checksum(each) for name, each in given.items()},
                "state": state,
                "loss": loss,
                "batch_first": batch_first,
                "trained": list(trained),
            },
            "analysis": _analysis(analysis or {}),
            "seed": seed,
            "device": str(device),
            "dtype": dtype,
            "threads": torch.get_num_threads(),
        }
        batch = Batch(*(_detached(given[name]) for name in ("inputs", "targets", "mask")))
        self._plan = _RecordedPlan(read_only(values), existing, batch, sorted(set(steps)))
        self._network = network
        self._open = ExitStack()
        self._recording: Recording | None = None

    def __enter__(self) -> Self:
        """Open the folder."""
        named = identity(self._plan.config)
        with ExitStack() as stack:
            self._folder: RunFolder = stack.enter_context(open_run_folder(self.path, named))
            recording = Recording(self._folder, named, self._plan.last_step)
            if recording.last is not None and not self._resume:
                raise UserError(
                    f"{self.path}: holds a recording to step {recording.recorded_step}; "
                    "resume=True goes on with it, another folder begins one"
                )
            if self._plan.why_no_core and recording.last is None:
                tell(f"measured without a Kronecker core: {self._plan.why_no_core}")
            stack.enter_context(recording.under_way())
            self._recording, self._open = recording, stack.pop_all()
        return self

    def step(self, step: int, loss: float | Tensor | None = None) -> bool:
        """Measure the network as it is, if ``step`` is one of those to measure at; ``loss`` is
        written down with it. Whether it was.

        Raises UserError for a step that is there already with other weights, or that comes after a
        later one, FailedRunError where NTK_S cannot be measured.
        """
        recording = self._recording
        if recording is None:
            raise UserError("Recorder.step: within `with kp.Recorder(...) as recorder:`")
        if step not in self._plan.schedule:
            return False
        self._network.load_state_dict(self._watched.state_dict())
        if step <= recording.recorded_step:
            self._refuse_other_weights(step)
            return False
        recording.switch("measuring")
        measured, found = measure_step(self._plan, step, lambda: self._plan.evaluation.batch)
        if loss is not None or self._plan.is_evaluated(step):
            value = math.nan if loss is None else float(torch.as_tensor(loss).detach())
            found["training"] = self._scores(step, value)
        recording.add(step, found)
        recording.save(recording.checkpoint(self._plan.model.state_dict(), {}, {}), measured=True)
        ranks = [
            f": effective rank {row.estimate}"
            for row in measured.measurements
            if (row.operator, row.quantity, row.reduction) == ("ntk", "effective_rank", "full")
        ]
        tell(f"step {step} measured" + "".join(ranks))
        return True

    def _scores(self, step: int, loss: float) -> Rows:
        return [{"step": step, "loss": loss, **self._plan.evaluation.scores(self._plan.model)}]

    def _refuse_other_weights(self, step: int) -> None:
        path = self.path / CHECKPOINTS / f"step_{step}.pt"
        if not path.exists():
            raise UserError(f"step {step}: comes after a later step was recorded")
        before, now = self._folder.load_checkpoint(path).model, self._plan.model.state_dict()
        for name, value in now.items():
            if isinstance(value, Tensor) and not torch.equal(value.cpu(), before[name]):
                raise UserError(
                    f"{self.path}: step {step} was recorded with other weights ({name}); take "
                    "another folder"
                )

    def __exit__(self, *error: Any) -> bool | None:
        """Write tables, plots and status, and close the folder."""
        recording, self._recording = self._recording, None
        with self._open:
            if error[0] is None and recording is not None:
                recording.finish(load_plots())
            closed = self._open.pop_all()
        try:
            return closed.__exit__(*error)
        finally:
            tell(str(self.path))


def _analysis(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the analysis, some of them changed. Raises UserError for those there are not."""
    from importlib import resources

    values: dict[str, Any] = {}
    for name in ("standard", "trained"):
        written = (resources.files("kpflow_cli.configs") / f"analysis/{name}.yaml").read_text()
        loaded: Any = OmegaConf.to_container(OmegaConf.create(written))
        values |= {key: value for key, value in loaded.items() if key != "defaults"}
    return check_analysis({**values, **changes})


def _unwrap(model: nn.Module) -> nn.Module:
    while True:
        for name in _WRAPPED_AS:
            inner = getattr(model, name, None)
            others = [each for each, _ in model.named_children() if each != name]
            if isinstance(inner, nn.Module) and not others:
                model = inner
                break
        else:
            return model


def _trials_first(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.transpose(0, 1)


def _detached(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().clone()


def _checksum(tensor: Tensor | None) -> str | None:
    """SHA-256 of a tensor's numbers, None of none."""
    if tensor is None:
        return None
    content = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{content.dtype} {tuple(content.shape)}".encode())
    digest.update(content.numpy().tobytes())
    return digest.hexdigest()
