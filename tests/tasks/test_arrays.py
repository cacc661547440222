"""Trials from files: what is read, split, drawn and refused; a changed file is another run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kpflow_cli.tasks.arrays import Arrays
from oracles import seeded
from small_runs import small_config
from torch import Tensor

from kpflow_cli.config.validation import identity
from kpflow_cli.errors import UserError
from kpflow_cli.run.plan import Plan
from kpflow_cli.verification.comparisons import comparisons

TRIALS, STEPS = 12, 5
DRAWS = np.random.RandomState(0)
INPUTS, TARGETS = DRAWS.randn(TRIALS, STEPS, 3), DRAWS.randn(TRIALS, STEPS, 2)
TOKENS, CLASSES = DRAWS.randint(0, 4, (TRIALS, STEPS)), DRAWS.randint(0, 3, (TRIALS, STEPS))
LENGTHS = DRAWS.randint(1, STEPS + 1, TRIALS)
KEYS: dict[str, Any] = {
    **dict.fromkeys(("inputs_key", "targets_key", "mask_key", "lengths_key", "mask", "lengths")),
    "evaluation": 4,
    "split_seed": 0,
    "tokens": "one_hot",
    "classes": None,
    "checksum": None,
}


def task_of(folder: Path, keys: dict[str, Any] | None = None, **arrays: Any) -> Arrays:
    """The task of one file with these arrays."""
    np.savez(folder / "data.npz", **arrays)
    roles = dict.fromkeys(arrays, str(folder / "data.npz"))
    return Arrays(**KEYS | roles | (keys or {}))


def trial_of(inputs: Tensor) -> list[int]:
    """Which trials of INPUTS a batch's are."""
    return [int(np.abs(INPUTS - each.numpy()).sum(axis=(1, 2)).argmin()) for each in inputs]


def test_every_trial_is_for_evaluation_or_for_training(tmp_path: Path) -> None:
    task = task_of(tmp_path, inputs=INPUTS, targets=TARGETS)
    held = task.evaluation_batch()
    kept = trial_of(held.inputs)
    assert kept == sorted(kept)
    assert len(kept) == 4
    batch = task.training_batch(20, seeded(0))
    drawn = trial_of(batch.inputs)
    assert sorted(drawn[:8]) == sorted(drawn[8:16]) == sorted({*range(TRIALS)} - {*kept})
    assert len(set(drawn[16:])) == 4
    for found in (held, batch):
        assert np.array_equal(found.targets.numpy(), TARGETS[trial_of(found.inputs)])
        assert found.mask is None
    assert torch.equal(batch.inputs, task.training_batch(20, seeded(0)).inputs)
    assert not torch.equal(batch.inputs, task.training_batch(20, seeded(1)).inputs)


def test_the_split_is_by_its_seed_and_by_share_or_number(tmp_path: Path) -> None:
    def kept(**keys: Any) -> list[int]:
        task = task_of(tmp_path, keys, inputs=INPUTS, targets=TARGETS)
        return trial_of(task.evaluation_batch().inputs)

    assert kept(evaluation=0.25) == kept(evaluation=3)
    assert kept(evaluation=4) == kept(evaluation=4, split_seed=0) != kept(split_seed=1)
    for impossible in (12, 2.5, 0.001):
        with pytest.raises(UserError, match=f"task.evaluation={impossible:g}: impossible of 12"):
            kept(evaluation=impossible)


def test_tokens_and_classes(tmp_path: Path) -> None:
    task = task_of(tmp_path, inputs=TOKENS, targets=CLASSES)
    as_is = task_of(tmp_path, {"tokens": "as_is", "classes": 7}, inputs=TOKENS, targets=CLASSES)
    assert (task.input_size, task.output_size) == (as_is.input_size, 3) == (4, 3)
    assert as_is.output_size == 7
    one_hot, whole = task.training_batch(8, seeded(0)), as_is.training_batch(8, seeded(0))
    assert whole.inputs.dtype == whole.targets.dtype == torch.int64
    assert torch.equal(one_hot.inputs.argmax(dim=2), whole.inputs)
    assert torch.equal(one_hot.inputs.sum(dim=2), torch.ones(8, STEPS).double())
    assert torch.equal(one_hot.targets, whole.targets)


def test_a_class_a_trial_is_asked_for_at_its_last_step(tmp_path: Path) -> None:
    labels = np.arange(TRIALS)
    task = task_of(tmp_path, inputs=INPUTS, targets=labels, lengths=LENGTHS)
    batch = task.evaluation_batch()
    assert batch.mask is not None
    for trial, mask, targets in zip(trial_of(batch.inputs), batch.mask, batch.targets, strict=True):
        assert mask.nonzero().flatten().tolist() == [LENGTHS[trial] - 1]
        assert targets[mask].item() == trial
    assert task_of(tmp_path, inputs=INPUTS, targets=labels).evaluation_batch().mask is not None


def test_what_counts_is_told_by_mask_and_lengths(tmp_path: Path) -> None:
    mask = DRAWS.randint(0, 2, (TRIALS, STEPS))
    both = task_of(tmp_path, inputs=INPUTS, targets=TARGETS, mask=mask, lengths=LENGTHS)
    batch = both.evaluation_batch()
    assert batch.mask is not None
    for trial, counts in zip(trial_of(batch.inputs), batch.mask.tolist(), strict=True):
        expected = [bool(mask[trial, t]) and t < LENGTHS[trial] for t in range(STEPS)]
        assert counts == expected


def test_series_without_channels_have_one(tmp_path: Path) -> None:
    task = task_of(tmp_path, inputs=INPUTS[..., 0].astype("float32"), targets=TARGETS[..., 0])
    batch = task.evaluation_batch()
    assert batch.inputs.shape == batch.targets.shape == (4, STEPS, 1)
    assert batch.inputs.dtype == torch.float64


def test_accuracy_is_of_classes_or_of_trials(tmp_path: Path) -> None:
    task = task_of(tmp_path, inputs=INPUTS, targets=TARGETS)
    targets = torch.tensor(TARGETS)
    halved = targets.clone()
    halved[: TRIALS // 2] *= 0.5
    assert task.accuracy(halved, targets) == 0.5
    classes = torch.tensor(CLASSES)
    outputs = torch.nn.functional.one_hot(classes.roll(1, dims=0), 3).double()
    counted = classes.masked_fill(torch.tensor(CLASSES == 1), -100)
    right = (np.roll(CLASSES, 1, axis=0) == CLASSES)[CLASSES != 1].mean()
    assert task.accuracy(outputs, counted) == pytest.approx(right)


REFUSED = {
    r"task\.inputs=.*: is of shape \(12,\), not \(B, T, n_in\)": {"inputs": LENGTHS},
    r"task\.targets=.*: is of shape \(12, 4, 2\), not": {"targets": TARGETS[:, :4]},
    r"task\.mask=.*: is of shape \(12,\), not \(B, T\) = \(12, 5\)": {"mask": LENGTHS},
    r"task\.lengths=.*: is to hold a number from 1 to 5": {"lengths": LENGTHS * 0},
    r"task\.inputs=.*: holds a token below 0": {"inputs": TOKENS - 1},
}


@pytest.mark.parametrize("message", REFUSED)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, message: str) -> None:
    with pytest.raises(UserError, match=message):
        task_of(tmp_path, **{"inputs": INPUTS, "targets": TARGETS} | REFUSED[message])


def words_of(place: Path) -> tuple[str, ...]:
    small = ("evaluation=4",)
    return ("task=arrays", f"task.inputs={place}", *(f"task.{each}" for each in small))


def test_a_changed_file_of_the_same_name_is_another_run(tmp_path: Path) -> None:
    place = tmp_path / "data.npz"
    np.savez(place, inputs=INPUTS, targets=TARGETS)
    before = small_config(*words_of(place), config_name="verify")
    assert identity(small_config(*words_of(place), config_name="verify")) == identity(before)
    Plan(before)
    np.savez(place, inputs=INPUTS, targets=TARGETS + 1)
    assert identity(small_config(*words_of(place), config_name="verify")) != identity(before)
    with pytest.raises(UserError, match=r"task\.checksum=.*have other contents now"):
        Plan(before)


def test_a_file_that_is_not_there_is_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^task\.inputs=.*missing\.npy: no such file"):
        small_config(*words_of(tmp_path / "missing.npy"), config_name="verify")
    with pytest.raises(UserError, match=r"^task\.inputs: no value; it is file of the inputs"):
        small_config("task=arrays", config_name="verify")


class Embedding(torch.nn.Module):
    """A network with an embedding of its own."""

    def __init__(self, input_size: int, output_size: int, units: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(input_size, units)
        self.hidden = torch.nn.Linear(units, units)
        self.readout = torch.nn.Linear(units, output_size)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        state = self.hidden(self.embedding(tokens)).tanh().cumsum(dim=1)
        return self.readout(state), state


def test_tokens_are_measured_as_their_channels_are(tmp_path: Path) -> None:
    """An embedding of a token is a linear map of its channel."""
    place = tmp_path / "data.npz"
    np.savez(place, inputs=TOKENS, targets=CLASSES)
    words = (*words_of(place), "training.loss=cross_entropy", "task.tokens=as_is")
    embedded = Plan(
        small_config(
            *words,
            "model=custom",
            "model.units=4",
            f"model.target={__name__}.Embedding",
            config_name="verify",
        )
    )
    errors = {each.name: each.relative_error for each in comparisons(embedded)}
    assert max(errors.values()) < 1e-10
    with pytest.raises(UserError, match="model: does not take inputs that are integers"):
        Plan(small_config(*words, config_name="verify"))
