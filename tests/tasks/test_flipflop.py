"""Flip-flop against its definition, a loop over trials, times and channels."""

from __future__ import annotations

import pytest
import torch
from kpflow_cli.tasks.flipflop import FlipFlop, last_signs
from oracles import seeded

from kpflow_cli.task import target_modes

TASK = FlipFlop(3, 90, 0.05, noise=0.1, evaluation_trials=8)


@pytest.mark.parametrize("task", [TASK, FlipFlop(1, 1, 1.0, noise=0, evaluation_trials=3)])
def test_targets_are_the_signs_of_the_last_pulses(task: FlipFlop) -> None:
    batch = task.evaluation_batch()
    assert batch.inputs.shape == (task.evaluation_trials, task.time_steps, task.bits)
    for trial in range(task.evaluation_trials):
        for channel in range(task.bits):
            last = 0.0
            for time in range(task.time_steps):
                last = batch.inputs[trial, time, channel].item() or last
                assert batch.targets[trial, time, channel] == last


def test_pulses_come_with_their_probability_and_both_signs_alike() -> None:
    """Of 900,000 entries: within five standard errors."""
    task = FlipFlop(3, 90, 0.05, noise=0, evaluation_trials=2)
    pulses = task.training_batch(3334, seeded(0)).inputs
    assert set(pulses.unique().tolist()) == {-1.0, 0.0, 1.0}
    count = pulses.numel()
    assert (pulses != 0).double().mean().item() == pytest.approx(
        0.05, abs=5 * (0.05 * 0.95 / count) ** 0.5
    )
    assert pulses.mean().item() == pytest.approx(0, abs=5 * (0.05 / count) ** 0.5)


def test_training_inputs_are_noisy_and_targets_are_not() -> None:
    silent = FlipFlop(3, 90, 0.05, noise=0, evaluation_trials=2).training_batch(64, seeded(1))
    noisy = TASK.training_batch(64, seeded(1))
    assert torch.equal(noisy.targets, silent.targets)
    assert (noisy.inputs - silent.inputs).std().item() == pytest.approx(0.1, rel=0.03)


def test_evaluation_has_as_many_pulses_up_as_down() -> None:
    batch = TASK.evaluation_batch()
    assert torch.equal(batch.inputs[0::2], -batch.inputs[1::2])
    assert torch.equal(batch.inputs, TASK.evaluation_batch().inputs)
    assert batch.inputs.any(dim=1).all()


def test_accuracy_is_the_share_of_outputs_nearer_than_half() -> None:
    targets = torch.tensor([[[1.0, -1.0]], [[0.0, 1.0]]])
    outputs = torch.tensor([[[0.6, -0.4]], [[0.49, 1.51]]])
    assert TASK.accuracy(outputs, targets) == 0.5


def test_a_bit_is_a_target_mode() -> None:
    batch = TASK.evaluation_batch()
    modes = target_modes(batch.targets)
    torch.testing.assert_close(
        torch.einsum("k,kbto->bto", modes.strengths, modes.in_outputs()), batch.targets
    )
    assert len(modes.strengths) == 3


def test_before_the_first_pulse_the_target_is_zero() -> None:
    pulses = torch.zeros(1, 4, 1)
    pulses[0, 2] = -1
    assert last_signs(pulses).flatten().tolist() == [0, 0, -1, -1]
