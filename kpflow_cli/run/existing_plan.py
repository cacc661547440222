"""A checked configuration of ``kpflow measure`` turned into objects: a network that exists already,
its checkpoints, its trials.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from kpflow_cli.array_files import read_array, read_arrays
from kpflow_cli.config.validation import read_only, with_later_keys
from kpflow_cli.errors import UserError
from kpflow_cli.losses import LOSSES
from kpflow_cli.measures.evaluation import Evaluation, UnlabelledEvaluation
from kpflow_cli.models.base import Model
from kpflow_cli.models.existing import (
    ExistingNetwork,
    arrange_arguments,
    draw_afresh,
    train_only,
)
from kpflow_cli.named_code import import_name
from kpflow_cli.run.checkpoints import Rows
from kpflow_cli.run.measuring_plan import MeasuringPlan
from kpflow_cli.run.plan import Plan
from kpflow_cli.run.replay import Replay
from kpflow_cli.task import Batch, GivenTrials
from kpflow_cli.weights.sequence import Reading, WeightFile, find_weights

# records that show a loss or targets
_OF_TARGETS = {"outputs", "error_propagation"}


class ExistingPlan(MeasuringPlan):
    """What ``kpflow measure`` is asked for; with ``follow=False`` the network alone, for weights
    that a run folder has.

    Raises UserError for a network that cannot be had, and for weights or trials that do not fit it.
    """

    weight_keys = ("model",)
    state_keys = ("inputs",)

    def __init__(self, config: DictConfig, *, follow: bool = True) -> None:
        self._follow = follow
        super().__init__(config)

    def construct(self) -> None:
        """Network, weights and trials."""
        config = self.config
        self._reading = Reading(config.weights_key, config.weights_only, config.strict)
        self._draws_itself = True
        self.network = self._build(0)
        self._files: list[WeightFile] = []
        if config.weights is not None and self._follow:
            self._files = find_weights(config.weights, self._reading)
        for file in self._files:
            self._reading.state_dict(file, self.network)
        self.schedule = [file.step for file in self._files] or [0]
        self.network.to(self.device, self.dtype)
        if self._files:
            self._load(self._files[0])
        train_only(self.network, config.trained)
        inputs, arguments = self._inputs()
        self._mask = self._read_mask(inputs)
        if isinstance(self.network, Model) and config.state is None and self._mask is None:
            # which knows its state, and perhaps a faster way to it
            self.model: Model = self.network
        else:
            self.model = ExistingNetwork(
                self.network,
                state=config.state,
                arguments=arguments,
                batch_first=config.batch_first,
                mask=self._mask,
            ).to(self.device, self.dtype)
        channels = self._refuse_unfit(inputs)
        self.evaluation, self.precise_evaluation = (
            self._evaluation(inputs, channels, dtype) for dtype in (self.dtype, torch.float64)
        )

    def trainer(self) -> Replay:
        """The checkpoints in turn."""
        return Replay(self._files, self._load, lambda: self.evaluation.batch)

    def is_evaluated(self, step: int) -> bool:  # noqa: ARG002
        """Every checkpoint, where there are targets."""
        return self.config.targets is not None

    def is_saved(self, step: int) -> bool:  # noqa: ARG002
        """Each is measured."""
        return False

    def source_rows(self, step: int) -> dict[str, Rows]:
        """weights.csv: the file that the step's weights are from."""
        found = [file for file in self._files if file.step == step]
        return {
            "weights": [
                {"step": step, "file": file.name, "sha256": file.checksum()} for file in found
            ]
        }

    @property
    def control_draws(self) -> int:
        """Networks drawn afresh to measure beside the first checkpoint."""
        return self.config.draws if self.config.control == "initialization" else 0

    @contextmanager
    def drawn_afresh(self, draw: int) -> Iterator[None]:
        """The network with other weights: those of its initialization, drawn by the seed."""
        kept = {name: value.clone() for name, value in self.network.state_dict().items()}
        fresh = self._build(draw)
        if self._loads_its_weights(draw, fresh):
            with self.randomness.global_generator("initialization", draw):
                draw_afresh(fresh)
        self.network.load_state_dict(fresh.state_dict())
        try:
            yield
        finally:
            self.network.load_state_dict(kept)

    def _loads_its_weights(self, draw: int, network: nn.Module) -> bool:
        """Whether its constructor gives it the same weights whatever the seed."""
        other = dict(self._build(draw + 1).named_parameters())
        return all(torch.equal(each, other[name]) for name, each in network.named_parameters())

    def _build(self, draw: int) -> nn.Module:
        """The network as its constructor makes it, with random weights by seed and draw."""
        if self.config.model.target is None:
            return _network_of_run(Path(self.config.weights), self.randomness.seed + draw)
        target = self.config.model.target
        kwargs: Any = OmegaConf.to_container(self.config.model.kwargs)
        made_by = import_name(target, "model.target")
        try:
            with self.randomness.global_generator("initialization", draw):
                network = made_by(**{str(name): value for name, value in kwargs.items()})
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"model.target={target}: not built from model.kwargs ({error}); it takes "
                f"{_parameters_of(made_by)}"
            ) from error
        if not isinstance(network, nn.Module):
            raise UserError(
                f"model.target={target}: makes a {type(network).__name__}, not a torch.nn.Module"
            )
        return network

    def _load(self, file: WeightFile) -> None:
        self.network.load_state_dict(self._reading.state_dict(file, self.network))

    def _inputs(self) -> tuple[Tensor, list[Any]]:
        """The trials ``(B, T, ...)``, and what the network is called with besides."""
        config, place = self.config, self.config.inputs
        arrays = read_arrays(place, "inputs")
        names = list(arrays)
        alone = config.inputs_key is not None or len(arrays) == 1 or "inputs" in arrays
        if alone:
            arguments = [read_array(place, "inputs", config.inputs_key)]
        elif all(name.isdecimal() for name in names):
            arguments = list(arrays.values())
        else:
            arguments = arrange_arguments(self.network, arrays)
        first = arguments[0]
        if not isinstance(first, Tensor) or first.ndim < 2 or first.numel() == 0:
            shape = tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__
            raise UserError(f"inputs={place}: of shape {shape}, not trials (B, T, ...)")
        # the network is given what the file holds, everyone else trials first
        return (first if config.batch_first else first.transpose(0, 1)), arguments[1:]

    def _read_mask(self, inputs: Tensor) -> Tensor | None:
        config, shape = self.config, tuple(inputs.shape[:2])
        if config.lengths is not None:
            lengths = read_array(config.lengths, "lengths", config.lengths_key)
            if lengths.shape != shape[:1] or not ((lengths >= 0) & (lengths <= shape[1])).all():
                raise UserError(
                    f"lengths={config.lengths}: {_describe(lengths)}; valid: (B,) = {shape[:1]} "
                    f"numbers from 0 to T = {shape[1]}"
                )
            return torch.arange(shape[1]).unsqueeze(0) < lengths.unsqueeze(1)
        if config.mask is None:
            return None
        mask = read_array(config.mask, "mask", config.mask_key)
        if not config.batch_first and mask.ndim == 2:
            mask = mask.T
        if mask.shape != shape or not ((mask == 0) | (mask == 1)).all() or not mask.any():
            raise UserError(
                f"mask={config.mask}: {_describe(mask)}; valid: (B, T) = {shape}, 1 or true where "
                "a trial counts, 0 where it is padded"
            )
        return mask.bool()

    def _refuse_unfit(self, inputs: Tensor) -> int:
        """The channels of the outputs. Raises UserError for trials that the network does not
        take.
        """
        given = Batch(inputs, inputs).to(self.dtype, self.device).inputs
        try:
            with torch.no_grad():
                self.model.eval()
                outputs, _ = self.model(given)
        except UserError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
            first = (str(error).splitlines() or [""])[0]
            raise UserError(
                f"inputs={self.config.inputs}: of shape {tuple(inputs.shape)}, which the network "
                f"does not take ({type(error).__name__}: {first})"
            ) from error
        return outputs.shape[2]

    def _evaluation(self, inputs: Tensor, channels: int, dtype: torch.dtype) -> Evaluation:
        config = self.config
        if config.targets is None:
            for name in _OF_TARGETS.intersection(config.analysis.records):
                raise UserError(f"analysis.records={name}: needs targets=")
            return UnlabelledEvaluation(inputs, dtype, self.device)
        targets = read_array(config.targets, "targets", config.targets_key)
        if not config.batch_first and targets.ndim >= 2:
            targets = targets.transpose(0, 1)
        task = GivenTrials(Batch(inputs, targets, self._mask), channels)
        return Evaluation(task, dtype, self.device, LOSSES[config.loss])


def _network_of_run(path: Path, seed: int) -> nn.Module:
    """The network of a folder of ``kpflow run``, with weights of a seed."""
    try:
        config: Mapping[Any, Any] = OmegaConf.to_container(  # type: ignore[assignment]
            OmegaConf.load(path / "config.yaml")
        )
    except (OSError, ValueError):
        raise UserError(
            f"model.target: no value, and weights={path} is no folder of `kpflow run`, which would "
            "tell the network"
        ) from None
    runtime = {"run_dir": None, "workers": None, "save_interval": 1}
    return Plan(read_only(with_later_keys({**config, **runtime, "seed": seed}))).model


def _parameters_of(made_by: Any) -> str:
    try:
        return ", ".join(inspect.signature(made_by).parameters) or "no arguments"
    except (TypeError, ValueError):
        return "unknown arguments"


def _describe(tensor: Tensor) -> str:
    return f"of shape {tuple(tensor.shape)}, from {tensor.min()} to {tensor.max()}"
