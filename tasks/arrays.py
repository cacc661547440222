"""Trials of one's own, from files of arrays: series to series, or classes."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from kpflow_cli.array_files import array_checksum, read_array
from kpflow_cli.config.keys import Key
from kpflow_cli.errors import UserError
from kpflow_cli.task import Batch, share_right, share_solved

_ROLES = ("inputs", "targets", "mask", "lengths")


@dataclass
class Arrays:
    """Trials from ``.npy``, ``.npz`` or ``.pt`` files, some of them kept for evaluation.

    Inputs are numbers ``(B, T, n_in)`` or ``(B, T)``, or tokens, integers ``(B, T)``. Targets are
    numbers ``(B, T, n_out)`` or ``(B, T)`` (``training.loss=mse``), or classes, integers ``(B, T)``
    or ``(B,)``, these asked for at the trial's last step (``training.loss=cross_entropy``).
    """

    inputs: Annotated[str, Key("file of the inputs")]
    inputs_key: Annotated[str | None, Key("its array; null for the only one, or inputs")]
    targets: Annotated[str | None, Key("file of the targets; null for that of the inputs")]
    targets_key: Annotated[str | None, Key("its array; null for the only one, or targets")]
    mask: Annotated[str | None, Key("file that says at which times outputs count, (B, T)")]
    mask_key: Annotated[str | None, Key("its array; null for the only one, or mask")]
    lengths: Annotated[str | None, Key("file of the time steps of each trial, (B,)")]
    lengths_key: Annotated[str | None, Key("its array; null for the only one, or lengths")]
    evaluation: Annotated[
        float,
        Key("trials kept for evaluation: their number, or below 1 their share", above=0),
    ]
    split_seed: Annotated[int, Key("that they are drawn by", at_least=0, at_most=2**63 - 1)]
    tokens: Annotated[
        Literal["one_hot", "as_is"],
        Key("what becomes of integer inputs: a channel each, or integers for a network to embed"),
    ]
    classes: Annotated[
        int | None,
        Key("channels out of targets that are classes; null for those there", at_least=1),
    ]
    checksum: Annotated[
        str | None, Key("of the files' contents, filled in: other contents are another run")
    ]

    @staticmethod
    def complete_keys(keys: dict[str, Any]) -> dict[str, Any]:
        """The keys with ``checksum`` filled in where it is not given."""
        return keys | {"checksum": keys["checksum"] or _checksum(keys)}

    def __post_init__(self) -> None:
        if self.checksum not in (None, _checksum(vars(self))):
            raise UserError(
                f"task.checksum={self.checksum}: the files of task.inputs and others have other "
                "contents now"
            )
        self._inputs, self._targets = self._read("inputs"), self._read("targets")
        self._counts = self._read_mask()
        self._arrange_inputs()
        self._arrange_targets()
        order = torch.randperm(
            len(self._inputs), generator=torch.Generator().manual_seed(self.split_seed)
        )
        kept = self._evaluation_trials()
        self._evaluation, self._training = order[:kept].sort().values, order[kept:].sort().values

    def training_batch(self, batch_size: int, generator: torch.Generator) -> Batch:
        """``batch_size`` of the trials that are not for evaluation; none comes again before all
        others have.
        """
        count = len(self._training)
        rounds = -(-batch_size // count)
        drawn = torch.cat([torch.randperm(count, generator=generator) for _ in range(rounds)])
        return self._batch(self._training[drawn[:batch_size]])

    def evaluation_batch(self) -> Batch:
        """The trials kept for evaluation, in the order of the file."""
        return self._batch(self._evaluation)

    def accuracy(self, outputs: Tensor, targets: Tensor) -> float:
        """Share of classes that are right; of numbers, share of trials whose squared error is below
        a tenth of the target's power.
        """
        share = share_solved if targets.is_floating_point() else share_right
        return share(outputs, targets)

    def _batch(self, trials: Tensor) -> Batch:
        inputs, targets = self._inputs[trials], self._targets[trials]
        if not inputs.is_floating_point() and self.tokens == "one_hot":
            inputs = nn.functional.one_hot(inputs, self.input_size)
        return Batch(
            inputs.double() if inputs.ndim == 3 else inputs,
            targets.double() if targets.ndim == 3 else targets,
            None if self._counts is None else self._counts[trials],
        )

    def _read(self, role: str) -> Tensor:
        return read_array(self._place(role), f"task.{role}", getattr(self, f"{role}_key"))

    def _place(self, role: str) -> str:
        return getattr(self, role) or self.inputs

    def _read_mask(self) -> Tensor | None:
        """Where outputs count by mask and lengths, ``(B, T)``; None: everywhere."""
        shape, counts = self._inputs.shape[:2], None
        if self._inputs.ndim not in (2, 3) or not self._inputs.numel():
            raise self._misshaped("inputs", self._inputs, "(B, T, n_in) or (B, T), none of them 0")
        if self.mask is not None:
            counts = self._read("mask")
            if counts.shape != shape:
                raise self._misshaped("mask", counts, f"(B, T) = {tuple(shape)}")
            counts = counts != 0
        if self.lengths is not None:
            lengths = self._read("lengths")
            if lengths.shape != shape[:1] or not 1 <= lengths.min() <= lengths.max() <= shape[1]:
                raise UserError(
                    f"task.lengths={self.lengths}: is to hold a number from 1 to {shape[1]} for "
                    f"each of {shape[0]} trials"
                )
            within = torch.arange(shape[1]) < lengths.unsqueeze(1)
            counts = within if counts is None else counts & within
        return counts

    def _arrange_inputs(self) -> None:
        """Give the inputs channels, unless they are tokens."""
        inputs = self._inputs
        if inputs.ndim == 2 and inputs.dtype == torch.int64:
            if inputs.min() < 0:
                raise UserError(f"task.inputs={self.inputs}: holds a token below 0")
            self.input_size = int(inputs.max()) + 1
            return
        self._inputs = inputs if inputs.ndim == 3 else inputs.unsqueeze(2)
        self.input_size = self._inputs.shape[2]

    def _arrange_targets(self) -> None:
        """Give numbers channels, and a class of a whole trial the trial's last step."""
        targets, shape = self._targets, self._inputs.shape[:2]
        is_class = targets.dtype == torch.int64 and targets.ndim < 3
        if is_class and targets.shape == shape[:1]:
            self._counts = _last_step(self._counts, shape)
            targets = targets.unsqueeze(1).expand(shape)
        if targets.shape[:2] != shape or targets.ndim not in (2, 3):
            raise self._misshaped(
                "targets", targets, f"(B, T, n_out) or (B, T) of B, T = {tuple(shape)}"
            )
        if is_class:
            there = targets if self._counts is None else targets[self._counts]
            self.output_size = self.classes or max(int(there.max()) + 1 if len(there) else 1, 1)
        else:
            targets = targets if targets.ndim == 3 else targets.unsqueeze(2)
            self.output_size = targets.shape[2]
        self._targets = targets

    def _evaluation_trials(self) -> int:
        """How many. Raises UserError for a number that leaves none to train on."""
        trials, wanted = len(self._inputs), self.evaluation
        kept = round(wanted * trials) if wanted < 1 else int(wanted)
        if not 1 <= kept < trials or (wanted >= 1 and kept != wanted):
            raise UserError(
                f"task.evaluation={wanted:g}: impossible of {trials} trials; valid: a share below "
                f"1, or a number from 1 to {trials - 1}"
            )
        return kept

    def _misshaped(self, role: str, found: Tensor, wanted: str) -> UserError:
        shape = tuple(found.shape)
        return UserError(f"task.{role}={self._place(role)}: is of shape {shape}, not {wanted}")


def _last_step(counts: Tensor | None, shape: torch.Size) -> Tensor:
    """The last time of each trial at which its outputs count, ``(B, T)``."""
    there = torch.ones(shape, dtype=torch.bool) if counts is None else counts
    later = there.flip(1).cumsum(dim=1).flip(1)
    return there & (later == 1)


def _checksum(keys: dict[str, Any]) -> str:
    """SHA-256 of the checksums of all files."""
    found = [_file_checksum(keys[role], role) for role in _ROLES if keys[role] is not None]
    return hashlib.sha256(" ".join(found).encode()).hexdigest()


def _file_checksum(place: str, role: str) -> str:
    try:
        status = Path(place).expanduser().stat()
    except (OSError, RuntimeError, ValueError):
        # told by whoever reads it
        return array_checksum(place, f"task.{role}")
    return _checksum_once(place, role, status.st_mtime_ns, status.st_size)


@functools.cache
def _checksum_once(place: str, role: str, *_: int) -> str:
    """The points of a sweep have most files in common, so each is read once while it stays."""
    return array_checksum(place, f"task.{role}")
