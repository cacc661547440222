"""What gradient descent makes smaller, by its name in ``training.loss``, and the residual that it
follows: what the outputs should be less what they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from kpflow_cli.errors import UserError
from kpflow_cli.task import IGNORED, Batch


class Loss(ABC):
    """A mean over all entries that count, with answers that it holds against what is wanted.

    Minus its derivative in the outputs is ``wanted - answers``, up to a positive factor.
    """

    name: str

    @abstractmethod
    def value(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The loss of outputs ``(B, T, n_out)``, a scalar; 0 where nothing counts."""

    @abstractmethod
    def answers(self, outputs: Tensor) -> Tensor:
        """What outputs ``(B, T, n_out)`` say, in the terms of ``wanted``."""

    @abstractmethod
    def wanted(self, batch: Batch, channels: int) -> Tensor:
        """The answers of loss 0, ``(B, T, channels)``, also where nothing counts."""

    @abstractmethod
    def refuse_targets(self, batch: Batch, channels: int, purpose: str) -> None:
        """Raise UserError for targets of a ``purpose`` that this loss is not made for."""

    def residual(self, outputs: Tensor, batch: Batch) -> Tensor:
        """``wanted - answers``, ``(B, T, n_out)``, 0 where nothing counts."""
        return counted(self.wanted(batch, outputs.shape[2]) - self.answers(outputs), batch)

    def refuse_misfit(self, batch: Batch, channels: int, purpose: str) -> None:
        """Raise UserError for trials of a ``purpose`` whose mask or targets do not fit this loss of
        outputs with that many ``channels``.
        """
        trials_times = tuple(batch.inputs.shape[:2])
        if batch.mask is not None:
            if batch.mask.dtype != torch.bool or batch.mask.shape != trials_times:
                raise UserError(
                    f"task: the mask of its {purpose} trials is {_describe(batch.mask)}; it has to "
                    f"be bool of shape (B, T) = {trials_times}"
                )
            if not batch.mask.any() and purpose == "evaluation":
                raise UserError(f"task: the mask of its {purpose} trials lets nothing count")
        self.refuse_targets(batch, channels, purpose)


class MeanSquaredError(Loss):
    """Over entries and channels; answers are the outputs themselves."""

    name = "mse"

    def value(self, outputs: Tensor, batch: Batch) -> Tensor:
        """As ``Loss.value`` says."""
        if batch.mask is None:
            return nn.functional.mse_loss(outputs, batch.targets)
        errors = counted((outputs - batch.targets).square(), batch)
        return errors.sum() / (batch.mask.sum().clamp(min=1) * outputs.shape[2])

    def answers(self, outputs: Tensor) -> Tensor:
        """The outputs."""
        return outputs

    def wanted(self, batch: Batch, channels: int) -> Tensor:  # noqa: ARG002
        """The targets."""
        return batch.targets

    def refuse_targets(self, batch: Batch, channels: int, purpose: str) -> None:
        """As ``Loss.refuse_targets`` says: targets are floats ``(B, T, n_out)``."""
        if not batch.targets.is_floating_point():
            raise UserError(
                f"training.loss=mse: the targets of the task's {purpose} trials are classes, not "
                "numbers; valid: cross_entropy"
            )
        shape = (*batch.inputs.shape[:2], channels)
        if batch.targets.shape != shape:
            raise UserError(
                f"task: the targets of its {purpose} trials are of shape "
                f"{tuple(batch.targets.shape)}, not (B, T, output_size) = {shape}"
            )


class CrossEntropy(Loss):
    """Of classes, whose logits the outputs are; answers are probabilities, float64."""

    name = "cross_entropy"

    def value(self, outputs: Tensor, batch: Batch) -> Tensor:
        """As ``Loss.value`` says."""
        targets = batch.counted_targets()
        total = nn.functional.cross_entropy(
            outputs.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        return total / (targets != IGNORED).sum().clamp(min=1)

    def answers(self, outputs: Tensor) -> Tensor:
        """The probability of each class."""
        return outputs.double().softmax(dim=2)

    def wanted(self, batch: Batch, channels: int) -> Tensor:
        """1 for the class that the target names, 0 for the others."""
        classes = batch.counted_targets().clamp(min=0)
        return nn.functional.one_hot(classes, channels).double()

    def refuse_targets(self, batch: Batch, channels: int, purpose: str) -> None:
        """As ``Loss.refuse_targets`` says: targets are int64 ``(B, T)`` in [0, n_out)."""
        targets = batch.targets
        if targets.dtype != torch.int64:
            raise UserError(
                f"training.loss=cross_entropy: the targets of the task's {purpose} trials are "
                f"{_name(targets.dtype)}, not classes (int64); valid: mse"
            )
        if targets.shape != batch.inputs.shape[:2]:
            raise UserError(
                f"task: the classes of its {purpose} trials are of shape {tuple(targets.shape)}, "
                f"not (B, T) = {tuple(batch.inputs.shape[:2])}"
            )
        there = targets if batch.mask is None else targets[batch.mask]
        outside = there[(there < 0) | (there >= channels)]
        if len(outside):
            raise UserError(
                f"task: the targets of its {purpose} trials hold class {outside[0].item()}; "
                f"valid: 0 to {channels - 1} (output_size={channels}); what does not count is "
                "masked out"
            )


LOSSES: dict[str, Loss] = {each.name: each for each in (MeanSquaredError(), CrossEntropy())}


def counted(values: Tensor, batch: Batch) -> Tensor:
    """Values ``(B, T, k)`` of a batch, 0 where nothing counts."""
    if batch.mask is None:
        return values
    return values.masked_fill(~batch.mask.unsqueeze(2), 0)


def _describe(tensor: Tensor) -> str:
    return f"{_name(tensor.dtype)} of shape {tuple(tensor.shape)}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
