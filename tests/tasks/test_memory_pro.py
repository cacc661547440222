"""Memory-Pro's tensors, and the target modes of any targets."""

from __future__ import annotations

import math

import pytest
import torch
from kpflow_cli.tasks.memory_pro import MemoryPro, of_length

from kpflow_cli.run.tables import period_rows
from kpflow_cli.task import TimedTask, target_modes

TASK = MemoryPro(
    stimulus_steps=30,
    memory_steps=30,
    response_steps=30,
    noise=0.1 * math.sqrt(2),
    evaluation_trials=30,
)


def test_evaluation_trials_period_by_period() -> None:
    batch = TASK.evaluation_batch()
    assert batch.inputs.shape == batch.targets.shape == (30, 90, 3)
    for trial in range(30):
        angle = 2 * math.pi * trial / 30
        for step in range(90):
            fixation, shown = float(step < 60), step < 30
            expected_input = [fixation, math.cos(angle) * shown, math.sin(angle) * shown]
            expected_target = [
                fixation,
                math.cos(angle) * (step >= 60),
                math.sin(angle) * (step >= 60),
            ]
            assert batch.inputs[trial, step].tolist() == pytest.approx(expected_input, abs=1e-15)
            assert batch.targets[trial, step].tolist() == pytest.approx(expected_target, abs=1e-15)


def test_periods_of_other_lengths() -> None:
    batch = MemoryPro(
        stimulus_steps=2, memory_steps=0, response_steps=3, noise=0.0, evaluation_trials=1
    ).evaluation_batch()
    assert batch.inputs[0].tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert batch.targets[0].tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("steps", "periods"), [(3, (1, 1, 1)), (4, (1, 1, 2)), (5, (1, 2, 2)), (90, (30, 30, 30))]
)
def test_a_task_of_so_many_steps_has_a_third_for_each_period(
    steps: int, periods: tuple[int, int, int]
) -> None:
    """The noise is that of arXiv 2605.08746, section 2: 0.1 sqrt(2)."""
    assert of_length(7, steps) == MemoryPro(*periods, noise=0.1 * math.sqrt(2), evaluation_trials=7)


def test_anti_flips_the_response_alone() -> None:
    plain = MemoryPro(2, 1, 2, 0.0, 5).evaluation_batch()
    anti = MemoryPro(2, 1, 2, 0.0, 5, anti=True).evaluation_batch()
    assert torch.equal(anti.inputs, plain.inputs)
    assert torch.equal(anti.targets[..., 0], plain.targets[..., 0])
    assert torch.equal(anti.targets[..., 1:], -plain.targets[..., 1:])


def test_stimulus_may_stay() -> None:
    batch = MemoryPro(2, 1, 2, 0.0, 5, stimulus_stays=True).evaluation_batch()
    assert torch.equal(batch.inputs[:, :, 1:], batch.inputs[:, :1, 1:].expand(-1, 5, -1))


def test_training_angles_are_uniform_and_noise_has_its_deviation() -> None:
    batch = TASK.training_batch(2000, torch.Generator().manual_seed(0))
    angles = torch.atan2(batch.targets[:, -1, 2], batch.targets[:, -1, 1]) % (2 * math.pi)
    # Kolmogorov-Smirnov: the largest distance exceeds 1.95 / sqrt(2000) once in a thousand uniform
    # samples
    distances = (angles.sort().values / (2 * math.pi) - torch.arange(2000) / 2000).abs()
    assert distances.max() < 1.95 / math.sqrt(2000)
    noise = batch.inputs.clone()
    noise[:, :60, 0] -= 1
    noise[:, :30, 1:] -= batch.targets[:, -1:, 1:]
    assert noise.std().item() == pytest.approx(0.1 * math.sqrt(2), rel=0.01)
    assert noise.mean().abs() < 1e-3


def test_batches_follow_their_generator() -> None:
    first, second = (TASK.training_batch(4, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first.inputs, second.inputs)
    assert not torch.equal(
        first.inputs, TASK.training_batch(4, torch.Generator().manual_seed(8)).inputs
    )


def test_accuracy_counts_trials_within_tolerance_on_both_channels() -> None:
    targets = TASK.evaluation_batch().targets
    outputs = targets.clone()
    outputs[..., 0] += 9
    outputs[:, :-1] += 9
    assert TASK.accuracy(outputs, targets) == 1
    outputs[:3, -1, 1] += math.pi / 10 + 1e-9
    outputs[3:6, -1, 2] -= math.pi / 10 - 1e-9
    assert TASK.accuracy(outputs, targets) == pytest.approx(0.9)


def test_target_modes_are_the_channels() -> None:
    modes = target_modes(TASK.evaluation_batch().targets)
    # s = 42.4, 21.2, 21.2 at 30 trials
    assert modes.strengths.tolist() == pytest.approx(
        [math.sqrt(1800), math.sqrt(450), math.sqrt(450)]
    )
    assert torch.allclose(modes.channels, torch.eye(3, dtype=torch.float64), atol=1e-12)


def test_target_modes_rebuild_any_targets() -> None:
    targets = torch.randn(4, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    modes = target_modes(targets)
    rebuilt = torch.einsum("k,kbt,ko->bto", modes.strengths, modes.trial_time, modes.channels)
    assert torch.allclose(rebuilt, targets)
    flat = modes.trial_time.flatten(1)
    assert torch.allclose(flat @ flat.T, torch.eye(3, dtype=torch.float64))
    assert (modes.channels.gather(1, modes.channels.abs().argmax(1, keepdim=True)) > 0).all()


def test_zero_modes_are_left_out() -> None:
    targets = torch.zeros(2, 3, 3, dtype=torch.float64)
    targets[..., 1] = 2
    modes = target_modes(targets)
    assert modes.channels.tolist() == [[0, 1, 0]]


def test_learned_fractions() -> None:
    targets = TASK.evaluation_batch().targets
    modes = target_modes(targets)
    assert modes.learned_fractions(targets) == pytest.approx([1, 1, 1])
    assert modes.learned_fractions(torch.zeros_like(targets)) == [0, 0, 0]
    flipped = targets * torch.tensor([1.0, -1.0, 0.5])
    assert modes.learned_fractions(flipped) == pytest.approx([1, -1, 0.5])


def test_modes_in_outputs_are_orthonormal_and_sum_to_the_targets() -> None:
    targets = TASK.evaluation_batch().targets
    modes = target_modes(targets)
    directions = modes.in_outputs()
    flat = directions.flatten(1)
    assert torch.allclose(flat @ flat.T, torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(
        torch.einsum("k,kbto->bto", modes.strengths, directions), targets, atol=1e-12
    )


def test_periods_are_where_inputs_and_targets_change() -> None:
    task = MemoryPro(4, 3, 2, noise=0.1, evaluation_trials=5)
    assert isinstance(task, TimedTask)
    assert task.periods == {"stimulus": range(4), "memory": range(4, 7), "response": range(7, 9)}
    batch = task.evaluation_batch()
    assert batch.inputs[0, task.periods["stimulus"], 1].all()
    assert not batch.inputs[0, task.periods["memory"], 1].any()
    assert batch.targets[0, task.periods["response"], 1].all()
    immediate = MemoryPro(4, 0, 2, noise=0.1, evaluation_trials=5)
    rows = period_rows(immediate.periods)
    assert [row["period"] for row in rows] == ["stimulus", "response"]
    assert rows[1] == {"period": "response", "first": 4, "last": 5}
