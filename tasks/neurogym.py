"""Any task of neurogym's that says what should be answered, trial by trial (extra ``neurogym``)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from kpflow_cli.config.keys import Key
from kpflow_cli.errors import UserError
from kpflow_cli.task import IGNORED, Batch, share_right, share_solved

# of the evaluation trials, the same for every seed of a run
_EVALUATION_SEED = 0
# what neurogym's tasks call the conditions of a trial that make it harder or another
_CONDITIONS = ("coh", "coh_1", "coh_2", "context")
# the action that stands for not answering yet
_FIXATION = 0


@dataclass(frozen=True)
class _Trials:
    """Trials side by side, what the environment tells of each, and the periods of each."""

    batch: Batch
    infos: tuple[dict[str, Any], ...]
    periods: tuple[dict[str, range], ...]


class NeuroGym:
    """Trials of an environment, padded to the longest of the batch; what is padded does not count.

    Targets are classes where the environment has a list of actions (``training.loss=
    cross_entropy``), and numbers where it has a space of them (``mse``). Every trial has a seed of
    its own, drawn from the batch's generator, and every batch an environment of its own, so that
    nothing is carried from batch to batch.
    """

    def __init__(
        self,
        environment: Annotated[str, Key("name of neurogym's, such as ReadySetGo-v0")],
        dt: Annotated[int, Key("milliseconds of a time step", at_least=1)],
        evaluation_trials: Annotated[
            int,
            Key(
                "evaluation trials, fixed, with the noise of the environment",
                at_least=1,
                # they are made one by one
                at_most=100_000,
            ),
        ],
        conditions: Annotated[
            list[str] | None,
            Key(
                "of the trials, by whose values the accuracy is told; null for those of coh, "
                "coh_1, coh_2, context that differ"
            ),
        ],
        kwargs: Annotated[
            dict[str, Any],
            Key("keywords of the environment; one is added by +task.kwargs.<name>=<value>"),
        ],
    ) -> None:
        self._make = partial(make_environment, environment, dt, kwargs)
        made = self._make()
        actions = made.action_space
        self._discrete = hasattr(actions, "n")
        try:
            self._evaluation = self._evaluation_trials(evaluation_trials)
        except AttributeError as error:
            raise UserError(
                f"task.environment={environment}: does not say in advance what should be answered "
                f"({error})"
            ) from None
        except Exception as error:
            # whatever an environment makes of time steps longer than its periods
            raise UserError(
                f"task.environment={environment}: no trials with task.dt={dt}, "
                f"task.kwargs={kwargs} ({error})"
            ) from None
        again = self._evaluation_trials(evaluation_trials).batch
        if _has_drawn(made) or not _are_equal(self._evaluation.batch, again):
            raise UserError(
                f"task.environment={environment}: gives other trials for the same seeds, so that "
                "no run could be repeated"
            )
        batch = self._evaluation.batch
        self.input_size = batch.inputs.shape[2]
        self.output_size = int(actions.n) if self._discrete else batch.targets.shape[2]
        self._conditions = self._known_conditions(conditions)

    @property
    def periods(self) -> dict[str, range]:
        """Those that are at the same time in every evaluation trial."""
        first, *others = self._evaluation.periods
        return {
            name: steps
            for name, steps in first.items()
            if all(each.get(name) == steps for each in others)
        }

    def training_batch(self, batch_size: int, generator: torch.Generator) -> Batch:
        """``batch_size`` fresh trials."""
        return self._trials(batch_size, generator).batch

    def evaluation_batch(self) -> Batch:
        """The same ``evaluation_trials`` trials every time."""
        return self._evaluation.batch

    def accuracy(self, outputs: Tensor, targets: Tensor) -> float:
        """Share of decision steps answered right, of those whose target is not fixation; of
        numbers, share of trials whose squared error is below a tenth of the target's power.
        """
        if not self._discrete:
            return share_solved(outputs, targets)
        return share_right(outputs, targets.masked_fill(targets == _FIXATION, IGNORED))

    def scores(self, outputs: Tensor, batch: Batch) -> dict[str, float]:
        """The accuracy on the trials of each value of each condition, such as
        ``accuracy_coh_1=15``.
        """
        targets = batch.counted_targets()
        return {
            f"accuracy_{name}={value}": self.accuracy(outputs[own], targets[own])
            for name, value, own in self._groups()
        }

    def _groups(self) -> Iterator[tuple[str, str, list[int]]]:
        """Each condition and value with the evaluation trials that have it."""
        for name in self._conditions:
            values = self._values(name)
            for value in sorted({*values}):
                own = [trial for trial, each in enumerate(values) if each == value]
                yield name, value if isinstance(value, str) else f"{value:g}", own

    def _known_conditions(self, wanted: list[str] | None) -> tuple[str, ...]:
        """Those that every evaluation trial has. Raises UserError for a wanted one that is none."""
        there = [
            name for name in self._evaluation.infos[0] if all(map(_is_plain, self._values(name)))
        ]
        for name in wanted or ():
            if name not in there:
                raise UserError.unknown("task.conditions", name, there)
        if wanted is not None:
            return tuple(wanted)
        return tuple(
            name for name in _CONDITIONS if name in there and len({*self._values(name)}) > 1
        )

    def _values(self, name: str) -> list[Any]:
        """What each evaluation trial says of a condition, None where it has none."""
        return [info.get(name) for info in self._evaluation.infos]

    def _evaluation_trials(self, count: int) -> _Trials:
        return self._trials(count, torch.Generator().manual_seed(_EVALUATION_SEED))

    def _trials(self, count: int, generator: torch.Generator) -> _Trials:
        # not a copy of one: distributions of periods may be bound to the environment they are of
        environment = self._make()
        inputs, targets, infos, periods = [], [], [], []
        for seed in torch.randint(2**32, (count,), generator=generator).tolist():
            environment.seed(seed)
            infos.append(dict(environment.new_trial()))
            periods.append(_periods(environment))
            inputs.append(torch.as_tensor(environment.ob, dtype=torch.float64))
            kind = torch.int64 if self._discrete else torch.float64
            targets.append(torch.as_tensor(environment.gt, dtype=kind))
        lengths = torch.tensor([len(each) for each in inputs])
        mask = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
        batch = Batch(
            pad_sequence(inputs, batch_first=True), pad_sequence(targets, batch_first=True), mask
        )
        return _Trials(batch, tuple(infos), tuple(periods))


def make_environment(name: str, dt: int, kwargs: dict[str, Any]) -> Any:
    """The environment itself, without wrappers. Raises UserError where that cannot be had."""
    try:
        import neurogym
        from neurogym.envs.registration import all_envs
    except ImportError as error:
        raise UserError(
            f"task=neurogym: needs neurogym ({error}); `pip install 'kpflow[neurogym]'` brings it"
        ) from None
    known = all_envs(collections=True)
    if name not in known:
        raise UserError.unknown("task.environment", name, known)
    try:
        with warnings.catch_warnings():
            # gymnasium has some to say of neurogym's own metadata
            warnings.simplefilter("ignore")
            return neurogym.make(name, dt=dt, **kwargs).unwrapped
    except Exception as error:
        # whatever an environment makes of keywords
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"task.environment={name}: not made with task.dt={dt}, task.kwargs={kwargs} ({first})"
        ) from None


def _periods(environment: Any) -> dict[str, range]:
    """Of the trial that an environment has just made, in time steps, in their order."""
    starts, ends = (getattr(environment, name, {}) for name in ("start_ind", "end_ind"))
    found = {name: range(starts[name], ends[name]) for name in starts if name in ends}
    return dict(sorted(found.items(), key=lambda period: period[1].start))


def _has_drawn(environment: Any) -> bool:
    """Whether an environment has used its random numbers before it was seeded."""
    generator = getattr(environment, "rng", None)
    if not isinstance(generator, np.random.RandomState):
        return False
    return _place(generator) != _place(np.random.RandomState())


def _place(generator: np.random.RandomState) -> int:
    """How far in its sequence a generator is."""
    return int(generator.get_state(legacy=False)["state"]["pos"])


def _are_equal(one: Batch, other: Batch) -> bool:
    return all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in ("inputs", "targets", "mask")
    )


def _is_plain(value: object) -> bool:
    """Whether trials can be told apart by such values."""
    return isinstance(value, str | int | float) or getattr(value, "ndim", 1) == 0
