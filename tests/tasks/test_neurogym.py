"""Trials of neurogym's: seeded one by one, padded, scored; on a small environment of our own, and
on neurogym's where it is installed.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from kpflow_cli.tasks import neurogym as task_module
from kpflow_cli.tasks.neurogym import NeuroGym
from oracles import seeded
from small_runs import small_config

from kpflow_cli.errors import UserError
from kpflow_cli.run.plan import Plan

NEEDS = "needs neurogym: pip install 'kpflow[neurogym]'"


class Countdown:
    """Trials of 2 to 6 steps whose last asks for an action, 1 or 2; like neurogym's, as far as the
    task looks.
    """

    def __init__(self, *, discrete: bool = True, told: bool = True, forgets: bool = False) -> None:
        self.action_space = SimpleNamespace(n=3) if discrete else SimpleNamespace()
        self._discrete, self._told = discrete, told
        self.rng = np.random.RandomState()
        # a block of trials that begins before the first seed, and may be as long as another's
        self._block = self.rng.randint(2) if forgets else 0

    def seed(self, seed: int) -> None:
        self.rng = np.random.RandomState(seed)

    def new_trial(self) -> dict[str, Any]:
        steps, coherence = self.rng.randint(2, 7), self.rng.choice([0.5, 2.0])
        self.ob = self.rng.randn(steps, 2).astype(np.float32) + self._block
        answers = np.zeros(steps, dtype=int)
        answers[-1] = 1 + (self.ob[:, 0].sum() > 0)
        if self._told:
            self.gt = answers if self._discrete else np.float32(answers)[:, None]
        return {"ground_truth": answers[-1], "coh": coherence, "path": [1, 2]}


def task_of(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> NeuroGym:
    own = {key: settings.pop(key) for key in ("discrete", "told", "forgets") if key in settings}
    monkeypatch.setattr(task_module, "make_environment", lambda *_: Countdown(**own))
    keys = {"environment": "Countdown", "dt": 100, "evaluation_trials": 40, "conditions": None}
    return NeuroGym(**keys | {"kwargs": {}} | settings)


def test_every_trial_is_that_of_its_seed_and_padding_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = task_of(monkeypatch).training_batch(20, seeded(3))
    environment, lengths = Countdown(), set()
    for trial, seed in enumerate(torch.randint(2**32, (20,), generator=seeded(3)).tolist()):
        environment.seed(seed)
        environment.new_trial()
        steps = len(environment.gt)
        lengths.add(steps)
        assert np.array_equal(batch.inputs[trial, :steps].numpy(), environment.ob)
        assert np.array_equal(batch.targets[trial, :steps].numpy(), environment.gt)
        assert batch.mask is not None
        assert batch.mask[trial].tolist() == [time < steps for time in range(batch.mask.shape[1])]
        assert not batch.inputs[trial, steps:].any()
    assert len(lengths) > 2
    assert batch.inputs.shape == (20, max(lengths), 2)


def test_accuracy_is_of_decision_steps_alone_and_by_condition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = task_of(monkeypatch)
    batch = task.evaluation_batch()
    assert (task.input_size, task.output_size) == (2, 3)
    # always 1, and at fixation and in the padding too
    outputs = torch.nn.functional.one_hot(torch.ones_like(batch.targets), 3).double()
    decisions = batch.targets.max(dim=1).values
    right = (decisions == 1).double()
    assert task.accuracy(outputs, batch.counted_targets()) == right.mean().item()
    coherences = torch.tensor([info["coh"] for info in task._evaluation.infos])
    assert task.scores(outputs, batch) == {
        f"accuracy_coh={value:g}": right[coherences == value].mean().item() for value in (0.5, 2)
    }


def test_conditions_are_those_of_plain_values(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(monkeypatch, conditions=["ground_truth"])
    outputs = torch.zeros(*task.evaluation_batch().targets.shape, 3)
    scores = task.scores(outputs, task.evaluation_batch())
    assert scores == {"accuracy_ground_truth=1": 0, "accuracy_ground_truth=2": 0}
    with pytest.raises(UserError, match=r"task\.conditions=path: unknown.* coh, ground_truth"):
        task_of(monkeypatch, conditions=["path"])


def test_periods_are_those_that_all_evaluation_trials_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Timed(Countdown):
        def new_trial(self) -> dict[str, Any]:
            told = super().new_trial()
            end = len(self.gt)
            self.start_ind = {"delay": 1, "fixation": 0, "decision": end - 1}
            self.end_ind = {"delay": end - 1, "fixation": 1, "decision": end}
            return told

    assert task_of(monkeypatch).periods == {}
    monkeypatch.setattr(task_module, "make_environment", lambda *_: Timed())
    keys: dict[str, Any] = {"environment": "Timed", "dt": 100, "conditions": None, "kwargs": {}}
    assert NeuroGym(**keys, evaluation_trials=40).periods == {"fixation": range(1)}
    assert list(NeuroGym(**keys, evaluation_trials=1).periods) == ["fixation", "delay", "decision"]


def test_targets_that_are_numbers_stay_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(monkeypatch, discrete=False)
    batch = task.evaluation_batch()
    assert (task.output_size, batch.targets.dtype) == (1, torch.float64)
    assert task.accuracy(batch.targets, batch.targets) == 1
    assert task.accuracy(0 * batch.targets, batch.targets) == 0


def test_environments_that_no_run_could_repeat_or_learn_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(5):
        with pytest.raises(UserError, match="gives other trials for the same seeds"):
            task_of(monkeypatch, forgets=True)
    with pytest.raises(UserError, match="does not say in advance what should be answered"):
        task_of(monkeypatch, told=False)


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neurogym", None)
    with pytest.raises(UserError, match=r"task=neurogym: needs neurogym .*kpflow\[neurogym\]"):
        NeuroGym("ReadySetGo-v0", 100, 2, None, {})


# periods of a length that varies, of every kind that neurogym has for that
VARYING = ("ContextDecisionMaking-v0", "ReadySetGo-v0", "yang19.ctxdm1-v0", "PostDecisionWager-v0")


@pytest.mark.parametrize("name", VARYING)
def test_the_same_generator_gives_the_same_trials_in_any_environment(name: str) -> None:
    pytest.importorskip("neurogym", reason=NEEDS)
    batches = [_real(name).training_batch(8, seeded(1)) for _ in range(2)]
    task = _real(name)
    task.training_batch(5, seeded(2))
    batches.append(task.training_batch(8, seeded(1)))
    for batch in batches:
        assert torch.equal(batch.inputs, batches[0].inputs)
        assert torch.equal(batch.targets, batches[0].targets)
    assert batches[0].mask is not None
    assert len(set(batches[0].mask.sum(dim=1).tolist())) > 1


def _real(name: str) -> NeuroGym:
    return NeuroGym(name, 100, 3, None, {})


def test_unknown_environments_and_keywords_are_told() -> None:
    pytest.importorskip("neurogym", reason=NEEDS)
    with pytest.raises(UserError, match=r"unknown \(did you mean 'ReadySetGo-v0'\?\); valid: "):
        _real("ReadySetGo")
    with pytest.raises(UserError, match=r"not made with task\.dt=100, task\.kwargs=\{'no': 1\}"):
        NeuroGym("ReadySetGo-v0", 100, 3, None, {"no": 1})
    with pytest.raises(UserError, match="HierarchicalReasoning-v0: gives other trials"):
        _real("HierarchicalReasoning-v0")


def test_a_run_of_a_real_one_builds_and_needs_cross_entropy() -> None:
    pytest.importorskip("neurogym", reason=NEEDS)
    words = ("task=neurogym", "model.units=4")
    plan = Plan(small_config(*words, "training.loss=cross_entropy", config_name="verify"))
    assert plan.evaluation.scores(plan.model)["evaluation_loss"] > 0
    with pytest.raises(UserError, match=r"training\.loss=mse: the targets .*cross_entropy"):
        Plan(small_config(*words, config_name="verify"))
