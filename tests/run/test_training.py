"""The training loop against a loop written out, the schedule, the generators, divergence."""

from __future__ import annotations

import itertools
import sys
from typing import get_args

import pytest
import torch
from kpflow_cli.tasks.memory_pro import MemoryPro
from torch import nn

from kpflow_cli.errors import FailedRunError, UserError
from kpflow_cli.models.rnn import ContinuousTimeRNN
from kpflow_cli.run.randomness import Purpose, Randomness
from kpflow_cli.run.schedule import geometric
from kpflow_cli.run.training import Trainer, build_optimizer

TASK = MemoryPro(2, 1, 2, noise=0.1, evaluation_trials=3)


def _trainer(learning_rate: float = 0.05, **settings: object) -> Trainer:
    model = ContinuousTimeRNN(
        input_size=3,
        output_size=3,
        units=5,
        dt=0.7,
        gain=1.0,
        initialization="xavier_normal",
        generator=torch.Generator().manual_seed(0),
    ).double()
    optimizer = build_optimizer(
        model, **{"optimizer": "sgd", "learning_rate": learning_rate, "momentum": 0.0} | settings
    )
    return Trainer(model, optimizer, TASK, Randomness(4), batch_size=6)


def test_plain_sgd_is_gradient_descent_on_the_mean_squared_error() -> None:
    trainer, twin = _trainer(), _trainer().model
    losses = list(trainer.losses(3))
    for step, loss in enumerate(losses):
        batch = TASK.training_batch(6, Randomness(4).generator("batch", step))
        expected = ((twin(batch.inputs)[0] - batch.targets) ** 2).mean()
        assert loss == pytest.approx(expected.item(), rel=1e-12)
        if step < 3:
            gradients = torch.autograd.grad(expected, list(twin.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(twin.parameters(), gradients, strict=True):
                    parameter -= 0.05 * gradient
    assert trainer.step == 3
    for ours, theirs in zip(trainer.model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12)


def test_training_can_go_on_later() -> None:
    whole, halves = _trainer(momentum=0.9), _trainer(momentum=0.9)
    expected = list(whole.losses(6))
    assert [*halves.losses(3), *list(halves.losses(6))[1:]] == expected


def test_frozen_parameters_stay() -> None:
    trainer = _trainer()
    trainer.model.readout.requires_grad_(False)
    trainer.optimizer = build_optimizer(
        trainer.model, optimizer="adam", learning_rate=0.1, momentum=0.9
    )
    before = trainer.model.readout.weight.clone()
    list(trainer.losses(2))
    assert torch.equal(trainer.model.readout.weight, before)


def test_optimizers() -> None:
    model = nn.Linear(1, 1)
    adam = build_optimizer(model, optimizer="adam", learning_rate=0.1, momentum=0.0)
    assert isinstance(adam, torch.optim.Adam)
    assert adam.param_groups[0]["betas"] == (0.9, 0.999)
    heavy_ball = build_optimizer(model, optimizer="momentum", learning_rate=0.1, momentum=0.5)
    assert isinstance(heavy_ball, torch.optim.SGD)
    assert heavy_ball.param_groups[0]["momentum"] == 0.5


def test_divergence_stops_training() -> None:
    with pytest.raises(
        FailedRunError,
        match=(
            r"training diverged: loss (inf|nan) at step \d+; try training\.learning_rate "
            r"below 1e\+200"
        ),
    ):
        list(_trainer(learning_rate=1e200).losses(10))


@pytest.mark.parametrize(
    ("steps", "count"),
    [*itertools.product((0, 1, 3, 5, 11, 12, 20, 100, 1500, 100000), (2, 5, 10, 12, 30))],
)
def test_schedule_is_dense_early_sparse_late(steps: int, count: int) -> None:
    schedule = geometric(steps, count)
    assert schedule[0] == 0
    assert schedule[-1] == steps
    assert len(schedule) == min(count, steps + 1)
    gaps = [later - earlier for earlier, later in itertools.pairwise(schedule)]
    assert all(gap > 0 for gap in gaps)
    # rounding may make one gap at most a step shorter than the one before
    assert all(later >= earlier - 1 for earlier, later in itertools.pairwise(gaps))


def test_generators_are_functions_of_seed_purpose_and_step() -> None:
    draws = [
        torch.rand(1, generator=Randomness(seed).generator(purpose, step)).item()
        for seed in (0, 1)
        for purpose in ("batch", "probes", "initialization")
        for step in (0, 1)
    ]
    assert len(set(draws)) == len(draws)
    assert torch.rand(1, generator=Randomness(0).generator("batch", 1)).item() == draws[1]


def test_probes_differ_between_configurations_and_nothing_else_does() -> None:
    """So that the errors of two points of a sweep are independent, while the points share their
    batches and initial draws.
    """
    one, other = Randomness(0, "gain=1"), Randomness(0, "gain=2")
    for purpose in get_args(Purpose):
        draws = [
            torch.rand(1, generator=randomness.generator(purpose, 3)).item()
            for randomness in (one, other, one)
        ]
        assert draws[0] == draws[2]
        assert (draws[0] == draws[1]) == (purpose not in ("probes", "control probes"))


def test_shampoo_preconditions_both_sides() -> None:
    """After one step the preconditioners of a matrix are eps I + G G^T and eps I + G^T G, and the
    update is L^(-1/4) G R^(-1/4).
    """
    trainer, twin = _trainer(optimizer="shampoo", learning_rate=0.5), _trainer().model
    before = trainer.model.get_parameter("recurrent.weight").detach().clone()
    batch = TASK.training_batch(6, Randomness(4).generator("batch", 0))
    loss = ((twin(batch.inputs)[0] - batch.targets) ** 2).mean()
    (gradient,) = torch.autograd.grad(loss, twin.get_parameter("recurrent.weight"))
    list(trainer.losses(1))
    left, right = (
        torch.linalg.eigh(gram + 1e-6 * torch.eye(5))
        for gram in (gradient @ gradient.T, gradient.T @ gradient)
    )
    roots = [
        basis.eigenvectors * basis.eigenvalues**-0.25 @ basis.eigenvectors.T
        for basis in (left, right)
    ]
    change = trainer.model.get_parameter("recurrent.weight").detach() - before
    torch.testing.assert_close(change, -0.5 * roots[0] @ gradient @ roots[1], rtol=1e-4, atol=1e-6)


def test_shampoo_without_its_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(UserError, match=r"pip install 'kpflow\[optim\]'"):
        _trainer(optimizer="shampoo")
