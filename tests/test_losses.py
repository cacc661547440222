"""Losses against definitions written out and automatic differentiation; masks; identities."""

from __future__ import annotations

import math

import pytest
import torch
from oracles import normal, seeded
from small_runs import small_config
from torch import Tensor, nn

from kpflow_cli.config.validation import identity, with_later_keys
from kpflow_cli.errors import UserError
from kpflow_cli.losses import LOSSES, Loss
from kpflow_cli.measures.evaluation import Evaluation
from kpflow_cli.run.identity import identity_hash
from kpflow_cli.run.plan import Plan
from kpflow_cli.task import Batch

TRIALS, STEPS, CHANNELS = 3, 5, 4
COUNTS = torch.rand(TRIALS, STEPS, generator=seeded(3)) < 0.6
INPUTS, OUTPUTS = normal(TRIALS, STEPS, 2, seed=1), normal(TRIALS, STEPS, CHANNELS, seed=2)
CLASSES = torch.randint(CHANNELS, (TRIALS, STEPS), generator=seeded(4))
TARGETS = {"mse": normal(TRIALS, STEPS, CHANNELS, seed=5), "cross_entropy": CLASSES}
CASES = [(name, mask) for name in LOSSES for mask in (None, COUNTS)]


def batch_of(name: str, mask: Tensor | None) -> Batch:
    return Batch(INPUTS, TARGETS[name], mask)


@pytest.mark.parametrize(("name", "mask"), CASES)
def test_value_is_the_mean_over_what_counts(name: str, mask: Tensor | None) -> None:
    errors = []
    for trial in range(TRIALS):
        for time in range(STEPS):
            if mask is not None and not mask[trial, time]:
                continue
            out, target = OUTPUTS[trial, time].tolist(), TARGETS[name][trial, time].tolist()
            if name == "mse":
                errors += [(each - wanted) ** 2 for each, wanted in zip(out, target, strict=True)]
            else:
                errors.append(math.log(sum(map(math.exp, out))) - out[target])
    found = LOSSES[name].value(OUTPUTS, batch_of(name, mask))
    assert found.item() == pytest.approx(sum(errors) / len(errors), rel=1e-12)


@pytest.mark.parametrize(("name", "mask"), CASES)
def test_residual_is_minus_the_derivative_up_to_a_factor(name: str, mask: Tensor | None) -> None:
    loss, batch = LOSSES[name], batch_of(name, mask)
    outputs = OUTPUTS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss.value(outputs, batch), outputs)
    residual = loss.residual(OUTPUTS, batch)
    factor = (-gradient * residual).sum() / residual.square().sum()
    torch.testing.assert_close(-gradient, factor * residual)
    counts = TRIALS * STEPS if mask is None else int(mask.sum())
    assert factor.item() == pytest.approx(1 / counts if name != "mse" else 2 / counts / CHANNELS)


def test_without_a_mask_the_mean_squared_error_is_torchs_to_the_bit() -> None:
    outputs, targets = OUTPUTS.float(), TARGETS["mse"].float()
    found = LOSSES["mse"].value(outputs, Batch(INPUTS, targets))
    assert torch.equal(found, nn.functional.mse_loss(outputs, targets))


def test_a_batch_of_which_nothing_counts_has_loss_zero_and_no_gradient() -> None:
    for name, loss in LOSSES.items():
        outputs = OUTPUTS.clone().requires_grad_()
        value = loss.value(outputs, batch_of(name, torch.zeros_like(COUNTS)))
        value.backward()
        assert value == 0
        assert outputs.grad is not None
        assert not outputs.grad.any()


class Fixed:
    """A task of the one batch that it is given."""

    input_size, output_size = 2, CHANNELS

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def training_batch(self, batch_size: int, generator: torch.Generator) -> Batch:
        return self.batch

    def evaluation_batch(self) -> Batch:
        return self.batch

    def accuracy(self, outputs: Tensor, targets: Tensor) -> float:
        self.seen = outputs, targets
        return 0.5

    def scores(self, outputs: Tensor, batch: Batch) -> dict[str, float]:
        return {"largest": outputs.max().item()}


class Answering(nn.Module):
    """A network that gives the same outputs whatever the input."""

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self._outputs = outputs

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return self._outputs, inputs


def scored(name: str, mask: Tensor | None, outputs: Tensor) -> tuple[dict[str, float], Fixed]:
    task = Fixed(batch_of(name, mask))
    evaluation = Evaluation(task, torch.float64, torch.device("cpu"), LOSSES[name])
    return evaluation.scores(Answering(outputs)), task  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "mask"), CASES)
def test_learned_fractions_go_from_zero_to_one(name: str, mask: Tensor | None) -> None:
    """Solved is where the loss is least: of classes, where the right logit is far above others."""
    solved = TARGETS["mse"] if name == "mse" else 60.0 * nn.functional.one_hot(CLASSES, CHANNELS)
    for outputs, fraction in ((torch.zeros_like(OUTPUTS), 0), (solved.double(), 1)):
        scores, _ = scored(name, mask, outputs)
        fractions = [scores[key] for key in scores if key.startswith("learned_fraction")]
        # the probabilities of all classes sum to 1
        assert len(fractions) == (CHANNELS if name == "mse" else CHANNELS - 1)
        assert fractions == pytest.approx([fraction] * len(fractions), abs=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_modes_of_the_residual_say_how_much_of_it_is_left(name: str) -> None:
    """All modes together: sum_i s_i (1 - f_i) u_i w_i^T is the residual projected on the modes."""
    loss, batch = LOSSES[name], batch_of(name, COUNTS)
    evaluation = Evaluation(Fixed(batch), torch.float64, torch.device("cpu"), loss)
    modes, scores = evaluation.modes, scored(name, COUNTS, OUTPUTS)[0]
    for index, mode in enumerate(modes.in_outputs()):
        left = (mode * loss.residual(OUTPUTS, batch)).sum() / modes.strengths[index]
        assert scores[f"learned_fraction_{index + 1}"] == pytest.approx(1 - left.item())


def test_accuracy_sees_zeros_where_nothing_counts_and_the_task_adds_columns() -> None:
    scores, task = scored("mse", COUNTS, OUTPUTS)
    assert (scores["accuracy"], scores["largest"]) == (0.5, OUTPUTS.max().item())
    for found, whole in zip(task.seen, (OUTPUTS, TARGETS["mse"]), strict=True):
        assert not found[~COUNTS].any()
        assert torch.equal(found[COUNTS], whole[COUNTS])
    _, task = scored("cross_entropy", COUNTS, OUTPUTS)
    assert torch.equal(task.seen[1], torch.where(COUNTS, CLASSES, -100))


MISFITS = {
    "classes, not numbers; valid: cross_entropy": ("mse", Batch(INPUTS, CLASSES)),
    "float64, not classes": ("cross_entropy", Batch(INPUTS, TARGETS["mse"])),
    r"hold class 4; valid: 0 to 3": ("cross_entropy", Batch(INPUTS, CLASSES + CLASSES.eq(3) * 1)),
    r"shape \(3, 5, 3\), not": ("mse", Batch(INPUTS, TARGETS["mse"][..., :3])),
    r"shape \(3, 4\), not": ("cross_entropy", Batch(INPUTS, CLASSES[:, :4])),
    "mask of its .* trials is float64": ("mse", Batch(INPUTS, TARGETS["mse"], COUNTS.double())),
    "lets nothing count": ("mse", Batch(INPUTS, TARGETS["mse"], torch.zeros_like(COUNTS))),
}


@pytest.mark.parametrize("message", MISFITS)
def test_trials_that_do_not_fit_the_loss_are_refused(message: str) -> None:
    name, batch = MISFITS[message]
    with pytest.raises(UserError, match=message):
        Evaluation(Fixed(batch), torch.float64, torch.device("cpu"), LOSSES[name])


def test_classes_where_nothing_counts_may_be_anything() -> None:
    loss: Loss = LOSSES["cross_entropy"]
    batch = Batch(INPUTS, CLASSES.masked_fill(~COUNTS, 99), COUNTS)
    loss.refuse_misfit(batch, CHANNELS, "training")
    expected = loss.value(OUTPUTS, batch_of("cross_entropy", COUNTS))
    assert torch.equal(loss.value(OUTPUTS, batch), expected)


def test_integers_stay_integers_in_another_precision() -> None:
    moved = Batch(CLASSES, CLASSES, COUNTS).to(torch.float32, torch.device("cpu"))
    assert moved.inputs.dtype == moved.targets.dtype == torch.int64
    assert Batch(INPUTS, OUTPUTS).to(torch.float32, torch.device("cpu")).targets.dtype.itemsize == 4


def test_runs_from_before_the_loss_was_a_key_keep_their_identity() -> None:
    """The hash is that of the same configuration by the version before."""
    config = small_config()
    assert config.training.loss == "mse"
    assert "loss" not in identity(config)["training"]
    assert identity_hash(identity(config)) == "efef431ff219"
    assert identity(small_config("training.loss=cross_entropy")) != identity(config)
    assert small_config("~training.loss").training.loss == "mse"
    assert with_later_keys(identity(config))["training"] == config.training


def test_a_task_of_numbers_refuses_cross_entropy_before_any_work() -> None:
    with pytest.raises(UserError, match=r"training\.loss=cross_entropy: the targets of the task's"):
        Plan(small_config("training.loss=cross_entropy"))
