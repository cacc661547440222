"""The four tasks against trials written out, one after the other."""

from __future__ import annotations

import math

import pytest
import torch
from kpflow_cli.tasks.multitask import RULES, MultiTask
from oracles import seeded

TASK = MultiTask(4, 3, 2, 3, noise=0.1, evaluation_trials=5)
STEPS = 12


def written_out(task_index: int, angle: float) -> tuple[list[list[float]], list[list[float]]]:
    """A trial of a task, without noise, step by step."""
    name = list(RULES)[task_index]
    sign = -1 if name.endswith("anti") else 1
    inputs, targets = [], []
    for time in range(STEPS):
        fixation = float(time < 4 + 3 + 2)
        rule = [float(time < 4 and index == task_index) for index in range(4)]
        shown = 4 <= time < 7 or (time >= 7 and name.startswith("delay"))
        inputs.append([fixation, shown * math.cos(angle), shown * math.sin(angle), *rule])
        answer = sign * (time >= 9)
        targets.append([fixation, answer * math.cos(angle), answer * math.sin(angle)])
    return inputs, targets


def test_trials_are_those_written_out() -> None:
    batch = TASK.evaluation_batch()
    assert batch.inputs.shape == (20, STEPS, 7)
    for trial in range(20):
        inputs, targets = written_out(trial % 4, 2 * math.pi * (trial // 4) / 5)
        torch.testing.assert_close(
            batch.inputs[trial], torch.tensor(inputs).double(), atol=1e-6, rtol=0
        )
        torch.testing.assert_close(
            batch.targets[trial], torch.tensor(targets).double(), atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("batch_size", [1, 8, 11])
def test_a_quarter_of_a_batch_is_of_each_task(batch_size: int) -> None:
    batch = TASK.training_batch(batch_size, seeded(0))
    counts = (batch.inputs[:, :4, 3:].mean(dim=1) > 0.5).sum(dim=0)
    assert counts.sum() == batch_size
    assert counts.max() - counts.min() <= 1


def test_noise_is_on_all_inputs_and_on_no_target() -> None:
    noisy = TASK.training_batch(400, seeded(0))
    silent = MultiTask(4, 3, 2, 3, noise=0, evaluation_trials=1).training_batch(400, seeded(0))
    assert torch.equal(noisy.targets, silent.targets)
    deviations = (noisy.inputs - silent.inputs).flatten(0, 1).std(dim=0)
    assert deviations.tolist() == pytest.approx([0.1] * 7, rel=0.06)


def test_periods_are_those_of_a_trial() -> None:
    inputs, targets = (torch.tensor(rows) for rows in written_out(0, 1.0))
    periods = TASK.periods
    assert list(periods) == ["context", "stimulus", "memory", "response"]
    assert [step for steps in periods.values() for step in steps] == list(range(STEPS))
    assert inputs[periods["context"], 3].all()
    assert inputs[periods["stimulus"], 1].all()
    assert not inputs[periods["memory"], 1].any()
    assert targets[periods["response"], 1].all()


def test_accuracy_is_told_by_task() -> None:
    batch = TASK.evaluation_batch()
    outputs = batch.targets.clone()
    # the second task's last step is off by more than pi/10 in every trial, the third's in one
    outputs[1::4, -1, 1] += 0.32
    outputs[2, -1, 2] -= 0.32
    outputs[3::4, -1, 0] += 9
    scores = TASK.scores(outputs, batch)
    assert scores == {
        "accuracy_memory_pro": 1,
        "accuracy_memory_anti": 0,
        "accuracy_delay_pro": 0.8,
        "accuracy_delay_anti": 1,
    }
    assert TASK.accuracy(outputs, batch.targets) == pytest.approx(sum(scores.values()) / 4)
