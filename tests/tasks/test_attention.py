"""The attention task: its inputs, its teacher, its standardized targets; and that gradient descent
learns it.
"""

from __future__ import annotations

import pytest
import torch
from kpflow_cli.tasks.attention import Attention
from oracles import seeded
from small_runs import small_config

from kpflow_cli.measures.checkpoint import measure
from kpflow_cli.ntk import global_ntk
from kpflow_cli.run.plan import Plan


def plan_of(*overrides: str, model: str = "attention") -> Plan:
    return Plan(small_config("task=attention", f"model={model}", *overrides, config_name="verify"))


@pytest.mark.parametrize("model", ["attention", "gru", "mlp"])
def test_targets_are_the_standardized_outputs_of_a_network_like_the_student(model: str) -> None:
    plan, raw = plan_of(model=model), plan_of("task.standardize=false", model=model)
    task = plan.task
    assert isinstance(task, Attention)
    teacher = task._teacher
    assert [each.shape for each in teacher.parameters()] == [
        each.shape for each in plan.model.parameters()
    ]
    assert not any(
        torch.equal(a, b)
        for a, b in zip(teacher.parameters(), plan.model.parameters(), strict=True)
    )
    assert all(each.requires_grad for each in plan.model.parameters())
    assert not any(each.requires_grad for each in teacher.parameters())
    batch, raw_batch = plan.evaluation.batch, raw.evaluation.batch
    assert torch.equal(batch.inputs, raw_batch.inputs)
    torch.testing.assert_close(
        raw_batch.targets, teacher(raw_batch.inputs)[0], rtol=1e-12, atol=1e-12
    )
    assert abs(batch.targets.mean().item()) < 1e-12
    assert batch.targets.square().mean().item() == pytest.approx(1)
    # training targets are shifted and scaled as the evaluation's are
    fresh, raw_fresh = task.training_batch(5, seeded()), raw.task.training_batch(5, seeded())
    offset, scale = raw_batch.targets.mean(), raw_batch.targets.std(correction=0)
    torch.testing.assert_close(fresh.targets, (raw_fresh.targets - offset) / scale)


def test_inputs_are_standard_normal() -> None:
    inputs = plan_of().task.training_batch(4000, seeded()).inputs.flatten()
    # 48,000 numbers: the probability of a false alarm is below 1e-6
    assert abs(inputs.mean().item()) < 5 / len(inputs) ** 0.5
    assert abs(inputs.var().item() - 1) < 5 * (2 / len(inputs)) ** 0.5


def test_one_number_has_no_variance_to_scale_by_and_no_target_mode() -> None:
    plan = plan_of("task.time_steps=1", "task.evaluation_trials=1")
    assert plan.evaluation.batch.targets.item() == 0
    trajectory = plan.trajectory()
    directions = plan.target_directions(trajectory)
    assert directions.shape == (0, *trajectory.state.shape)
    rows = measure(global_ntk(trajectory), directions, plan.analysis, seeded()).measurements
    assert {row.quantity for row in rows if row.operator == "ntk" and row.reduction == "full"} == {
        "trace",
        "frobenius_norm",
        "effective_rank",
        "operator_norm",
        "alignment",
        "random_core_alignment",
    }


def test_gradient_descent_learns_it() -> None:
    plan = plan_of(
        "task.input_dim=1",
        "task.evaluation_trials=50",
        "model.width=16",
        "model.mlp_width=16",
        "training.batch_size=64",
        "training.learning_rate=0.05",
    )
    trainer = plan.trainer()
    losses = list(trainer.losses(400))
    assert losses[0] > 0.8
    assert losses[-1] < 0.2
