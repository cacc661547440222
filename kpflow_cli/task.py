"""What a task owes the runner, and the target modes that any task's targets define."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

# time steps of a trial, or of a period of it: each is a step of a loop
MOST_STEPS = 10**6
# of the target's power, per trial: below this much error counts as solved
_SOLVED = 0.1
# the class that stands where nothing counts: what torch's cross-entropy ignores
IGNORED = -100
# singular values closer than this, relative to the largest, count as one degenerate group
_DEGENERATE = 1e-6


@dataclass(frozen=True)
class Batch:
    """Trials.

    Attributes:
        inputs: float64 ``(B, T, n_in)``, or integers ``(B, T)`` for a network that embeds them.
        targets: float64 ``(B, T, n_out)``, or classes, int64 ``(B, T)``.
        mask: bool ``(B, T)``, where the outputs count; None: everywhere.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> kp.Batch(torch.zeros(5, 6, 3), torch.zeros(5, 6, 1)).inputs.shape
        torch.Size([5, 6, 3])
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor | None = None

    def to(self, dtype: torch.dtype, device: torch.device) -> Batch:
        """The batch in another dtype and on another device; integers stay integers."""
        return Batch(
            _convert(self.inputs, dtype, device),
            _convert(self.targets, dtype, device),
            None if self.mask is None else self.mask.to(device),
        )

    def counted_targets(self) -> Tensor:
        """The targets, 0 where nothing counts, of classes ``IGNORED``."""
        if self.mask is None:
            return self.targets
        if self.targets.is_floating_point():
            return self.targets.masked_fill(~self.mask.unsqueeze(2), 0)
        return self.targets.masked_fill(~self.mask, IGNORED)


def _convert(tensor: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    return tensor.to(device, dtype if tensor.is_floating_point() else None)


@runtime_checkable
class Task(Protocol):
    """A supervised task over time. Any class with these attributes and methods is one.

    Attributes:
        input_size: n_in, channels in.
        output_size: n_out, channels out.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> class Echo:
        ...     input_size = output_size = 1
        ...
        ...     def training_batch(self, batch_size, generator):
        ...         inputs = torch.randn(batch_size, 6, 1, generator=generator)
        ...         return kp.Batch(inputs, inputs)
        ...
        ...     def evaluation_batch(self):
        ...         return self.training_batch(4, torch.Generator().manual_seed(0))
        ...
        ...     def accuracy(self, outputs, targets):
        ...         return float(((outputs - targets).abs() < 0.1).double().mean())
        >>> isinstance(Echo(), kp.Task)
        True
    """

    input_size: int
    output_size: int

    def training_batch(self, batch_size: int, generator: torch.Generator) -> Batch:
        """``batch_size`` fresh trials; every draw from ``generator``."""

    def evaluation_batch(self) -> Batch:
        """The fixed, noise-free trials that everything is evaluated and measured on."""

    def accuracy(self, outputs: Tensor, targets: Tensor) -> float:
        """Share of trials solved, in [0, 1]; both ``(B, T, n_out)``, or targets classes ``(B, T)``.

        Where nothing counts, both are 0, classes -100.
        """


@runtime_checkable
class ScoredTask(Protocol):
    """What a task has besides, of which more is to be told than one accuracy.

    Example:
        >>> import kpflow_cli as kp
        >>> class Compared:
        ...     def scores(self, outputs, batch):
        ...         return {"largest_error": (outputs - batch.targets).abs().max().item()}
        >>> isinstance(Compared(), kp.ScoredTask)
        True
    """

    def scores(self, outputs: Tensor, batch: Batch) -> dict[str, float]:
        """Further columns of training.csv, the same at every step, from outputs ``(B, T, n_out)``
        on the evaluation trials.
        """


@runtime_checkable
class TimedTask(Protocol):
    """What a task has besides, whose trials have periods, such as a stimulus and a response.

    Attributes:
        periods: name to time steps, in their order, the same in every evaluation trial. They become
            periods.csv, and plots shade them; one without time steps is left out.

    Example:
        >>> import kpflow_cli as kp
        >>> class Reported:
        ...     periods = {"stimulus": range(10), "response": range(10, 20)}
        >>> isinstance(Reported(), kp.TimedTask)
        True
    """

    @property
    def periods(self) -> Mapping[str, range]:
        """Name to time steps."""


@runtime_checkable
class TeacherTask(Protocol):
    """What a task has besides, whose targets are the outputs of a network like the trained one.

    Example:
        >>> import kpflow_cli as kp
        >>> class Imitation:
        ...     def prepare(self, student, draw_teacher, generator):
        ...         self.teacher = draw_teacher()
        >>> isinstance(Imitation(), kp.TeacherTask)
        True
    """

    def prepare(
        self, student: nn.Module, draw_teacher: Callable[..., nn.Module], generator: torch.Generator
    ) -> None:
        """Called once, before any batch is asked for. Every draw from ``generator``, but for the
        teacher's weights.

        ``draw_teacher`` makes a network of the student's configuration with weights of its own;
        keywords change keys of the model.
        """


def one_after_another(lengths: Mapping[str, int]) -> dict[str, range]:
    """Periods of these numbers of time steps, the first from 0."""
    periods, start = {}, 0
    for name, length in lengths.items():
        periods[name] = range(start, start + length)
        start += length
    return periods


def share_solved(outputs: Tensor, targets: Tensor) -> float:
    """Share of trials, in [0, 1], whose squared error is below a tenth of the target's power; both
    ``(B, T, n_out)``.
    """
    errors = (outputs - targets).square().sum(dim=(1, 2))
    return float((errors < _SOLVED * targets.square().sum(dim=(1, 2))).double().mean())


def share_right(outputs: Tensor, targets: Tensor) -> float:
    """Share of the classes ``(B, T)`` that count, in [0, 1], whose output is the largest of outputs
    ``(B, T, n_out)``; NaN where none counts.
    """
    counts = targets != IGNORED
    return float((outputs.argmax(dim=2) == targets)[counts].double().mean())


class GivenTrials:
    """Trials to be evaluated on and nothing else, which is all that a trained network needs."""

    def __init__(self, batch: Batch, output_size: int) -> None:
        self._batch, self.output_size = batch, output_size
        self.input_size = batch.inputs.shape[-1]

    def training_batch(self, batch_size: int, generator: torch.Generator) -> Batch:  # noqa: ARG002
        """The same trials, whatever is asked for."""
        return self._batch

    def evaluation_batch(self) -> Batch:
        """The trials."""
        return self._batch

    def accuracy(self, outputs: Tensor, targets: Tensor) -> float:
        """As ``share_solved`` says, of classes as ``share_right`` does."""
        measured_by = share_solved if targets.is_floating_point() else share_right
        return measured_by(outputs, targets)


@dataclass(frozen=True)
class TargetModes:
    """What the outputs are to gain on outputs of 0, as sum_i s_i u_i w_i^T (arXiv 2605.08746,
    Fig. 4), float64, s descending, zero modes left out. With the mean squared error these are the
    targets.

    Attributes:
        trial_time: u_i, ``(k, B, T)``, orthonormal.
        channels: w_i, ``(k, n_out)``, orthonormal.
        strengths: s_i, ``(k,)``.
    """

    trial_time: Tensor
    channels: Tensor
    strengths: Tensor

    def learned_fractions(self, gained: Tensor) -> list[float]:
        """<u_i^T gained, w_i> / s_i of what the outputs have gained, ``(B, T, n_out)``, with the
        mean squared error the outputs: 0 at zero output, 1 when solved, negative when sign-flipped.
        """
        projected = torch.einsum(
            "kbt,bto,ko->k", self.trial_time, gained.double().cpu(), self.channels
        )
        return [float(fraction) for fraction in projected / self.strengths]

    def in_outputs(self) -> Tensor:
        """u_i w_i^T, ``(k, B, T, n_out)``."""
        return torch.einsum("kbt,ko->kbto", self.trial_time, self.channels)


def target_modes(targets: Tensor) -> TargetModes:
    """Singular modes of targets ``(B, T, n_out)``; a group of equal singular values is rotated to
    the output channels, in their order.
    """
    left, strengths, right = torch.linalg.svd(
        targets.double().cpu().flatten(0, 1), full_matrices=False
    )
    rank = int((strengths > strengths[0] * 1e-10).sum())
    start = 0
    while start < rank:
        end = start + 1
        while end < rank and strengths[start] - strengths[end] < _DEGENERATE * strengths[0]:
            end += 1
        group = slice(start, end)
        rotation = _rotation_to_channels(right[group])
        left[:, group], right[group] = left[:, group] @ rotation.T, rotation @ right[group]
        start = end
    return TargetModes(
        left[:, :rank].T.reshape(rank, *targets.shape[:2]), right[:rank], strengths[:rank]
    )


def _rotation_to_channels(right: Tensor) -> Tensor:
    """The orthogonal matrix that brings the rows of ``right``, ``(g, n_out)``, nearest to g output
    channels.
    """
    channels = right.norm(dim=0).topk(len(right)).indices.sort().values
    outer, _, inner = torch.linalg.svd(right[:, channels].T)
    return outer @ inner
