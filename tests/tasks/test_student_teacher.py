"""Student-teacher: what is shared, what trains, what the inputs and targets are; operators against
dense automatic differentiation.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kpflow_cli.tasks.student_teacher import StudentTeacher
from small_runs import small_config

from kpflow_cli.errors import UserError
from kpflow_cli.models.base import RecurrentModel
from kpflow_cli.models.rnn import VanillaRNN
from kpflow_cli.ntk import KroneckerCore, global_ntk
from kpflow_cli.run.plan import Plan
from kpflow_cli.verification.comparisons import comparisons
from kpflow_cli.verification.verify import TOLERANCE

CASES = {"W": {"recurrent"}, "Win": {"input"}, "both": {"recurrent", "input"}}
MODELS = ("vanilla_rnn", "rnn", "gru")


def plan_of(*overrides: str, model: str = "vanilla_rnn") -> Plan:
    return Plan(
        small_config("task=student_teacher", f"model={model}", *overrides, config_name="verify")
    )


def parts(plan: Plan) -> tuple[StudentTeacher, RecurrentModel, RecurrentModel]:
    task, student = plan.task, plan.model
    assert isinstance(task, StudentTeacher)
    assert isinstance(student, RecurrentModel)
    return task, student, task._teacher


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("case", CASES)
def test_operators_of_each_case_against_dense_autograd(case: str, model: str) -> None:
    for comparison in comparisons(plan_of(f"task.case={case}", model=model)):
        assert comparison.relative_error <= TOLERANCE, comparison.name


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("case", CASES)
def test_the_weights_of_the_case_train_and_the_rest_is_the_teachers(case: str, model: str) -> None:
    _, student, teacher = parts(plan_of(f"task.case={case}", model=model))
    names = {"recurrent": student.recurrent_weight, "input": student.input_weight}
    own = {names[kind] for kind in CASES[case]}
    assert {
        name for name, parameter in student.named_parameters() if parameter.requires_grad
    } == own
    for name, parameter in student.named_parameters():
        assert torch.equal(parameter, teacher.get_parameter(name)) == (name not in own)
        assert parameter.ndim > 1 or not parameter.any()
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_the_core_is_made_of_the_variables_of_the_case() -> None:
    for case, variables in (("W", "states"), ("Win", "inputs")):
        plan = plan_of(f"task.case={case}")
        trajectory = plan.model.linearize(plan.evaluation.batch.inputs)
        inputs, states = (
            plan.evaluation.batch.inputs,
            plan.model(plan.evaluation.batch.inputs)[1].detach(),
        )
        earlier = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1)
        core = global_ntk(trajectory).core
        assert isinstance(core, KroneckerCore)
        torch.testing.assert_close(
            core.site_variables, (earlier if variables == "states" else inputs).flatten(0, 1)
        )


def test_gains_scale_the_weights_that_are_drawn() -> None:
    def weights(*overrides: str) -> list[torch.Tensor]:
        _, student, teacher = parts(plan_of("task.case=both", *overrides))
        return [
            network.get_parameter(name)
            for network in (student, teacher)
            for name in (student.recurrent_weight, student.input_weight)
        ]

    once, thrice, apart = (
        weights(),
        weights("model.gain=3", "task.teacher_gain=0.5"),
        weights("model.gain=3", "task.input_gain=2"),
    )
    for found, base, scale in zip(thrice, once, (3, 3, 0.5, 1), strict=True):
        torch.testing.assert_close(found, scale * base)
    for found, base, scale in zip(apart, once, (3, 2, 1, 1), strict=True):
        torch.testing.assert_close(found, scale * base)
    assert not torch.equal(once[0], once[2])


def test_targets_are_the_teachers_outputs_by_a_loop_in_numpy() -> None:
    plan = plan_of()
    _, _, teacher = parts(plan)
    w_rec, w_in, w_out = (
        teacher.get_parameter(name).numpy()
        for name in (teacher.recurrent_weight, teacher.input_weight, "readout.weight")
    )
    batch = plan.task.training_batch(3, torch.Generator().manual_seed(1))
    state = np.zeros((3, w_rec.shape[0]))
    for step in range(batch.inputs.shape[1]):
        state = np.tanh(state @ w_rec.T + batch.inputs[:, step].numpy() @ w_in.T)
        np.testing.assert_allclose(batch.targets[:, step].numpy(), state @ w_out.T, atol=1e-12)


def test_a_student_with_the_teachers_weights_has_solved_the_task() -> None:
    plan = plan_of("task.case=both", "dtype=float64")
    before = plan.evaluation.scores(plan.model)
    plan.model.load_state_dict(parts(plan)[2].state_dict())
    after = plan.evaluation.scores(plan.model)
    assert before["evaluation_loss"] > 1e-3
    assert after["evaluation_loss"] < 1e-25
    assert after["accuracy"] == 1
    assert after["learned_fraction_1"] == pytest.approx(1)


@pytest.mark.parametrize("rank", [1, 3, 16])
def test_inputs_have_the_rank_and_the_power_asked_for(rank: int) -> None:
    power = {}
    for normalized in ("false", "true"):
        plan = plan_of(
            "task.input_dim=16",
            f"task.input_rank={rank}",
            f"task.normalize_inputs={normalized}",
            "task.evaluation_trials=400",
        )
        values = torch.linalg.svdvals(plan.evaluation.batch.inputs.flatten(0, 1))
        assert int((values > 1e-10 * values[0]).sum()) == rank
        power[normalized] = plan.evaluation.batch.inputs.square().sum(-1).mean().item()
    # the mean of 2000 chi-squared variables of r_x degrees of freedom: five standard errors, a
    # false alarm in 10^6
    assert power["false"] == pytest.approx(rank, abs=5 * (2 * rank / 2000) ** 0.5)
    assert power["true"] == pytest.approx(power["false"] / rank)


def test_ranks_of_one_seed_share_their_leading_directions() -> None:
    small, large = (parts(plan_of(f"task.input_rank={rank}"))[0]._basis for rank in (2, 4))
    assert torch.equal(small, large[:, :2])


def test_batches_follow_the_seed_and_evaluation_trials_stay() -> None:
    one, same, other = plan_of(), plan_of(), plan_of("seed=1")
    assert torch.equal(one.task.evaluation_batch().inputs, same.task.evaluation_batch().inputs)
    assert not torch.equal(one.task.evaluation_batch().inputs, other.task.evaluation_batch().inputs)
    assert one.task.evaluation_batch() is one.task.evaluation_batch()


@pytest.mark.parametrize("case", CASES)
def test_training_moves_the_weights_of_the_case_alone(case: str) -> None:
    plan = plan_of(f"task.case={case}", "training.steps=150", "training.learning_rate=0.05")
    _, student, teacher = parts(plan)
    losses = list(plan.trainer().losses(150))
    assert sum(losses[-20:]) < 0.7 * sum(losses[:20])
    for name, parameter in student.named_parameters():
        shared = torch.equal(parameter, teacher.get_parameter(name))
        assert shared != parameter.requires_grad


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("task.input_rank=5",), r"task.input_rank=5: impossible; at most task.input_dim=4"),
        (("task.case=w",), r"task.case=w: impossible; valid: W, Win, both"),
        (("model.fixed_points=2",), r"model.fixed_points=2: task=student_teacher has none"),
        (
            ("model=mlp",),
            (
                r"task.input_gain: follows another key that is not there, or itself; "
                r"Interpolation key 'model.gain' not found"
            ),
        ),
        (
            ("model=mlp", "task.input_gain=1"),
            r"needs a model with recurrent and input weights; valid: model=vanilla_rnn, rnn, gru",
        ),
    ],
)
def test_what_cannot_be_had_is_refused(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan_of(*overrides)


def test_a_teacher_is_a_network_of_the_same_kind() -> None:
    _, student, teacher = parts(plan_of("model.units=9"))
    assert type(student) is type(teacher) is VanillaRNN
    assert teacher.get_parameter(teacher.recurrent_weight).shape == (9, 9)
