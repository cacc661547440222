"""model=custom: the contract and how its breaches are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from oracles import normal, relative_error, seeded
from small_runs import small_config
from torch import Tensor, nn

from kpflow_cli.errors import UserError
from kpflow_cli.measures.checkpoint import measure
from kpflow_cli.measures.evaluation import Evaluation
from kpflow_cli.models.custom import CustomModel
from kpflow_cli.ntk import global_ntk
from kpflow_cli.plotting.run_plots import PLOTS
from kpflow_cli.run.plan import Plan
from kpflow_cli.run.randomness import Randomness
from kpflow_cli.run.runner import run
from kpflow_cli.run.training import Trainer
from kpflow_cli.task import Batch
from kpflow_cli.verification.comparisons import comparisons
from kpflow_cli.verification.dense import dense_global_ntk
from kpflow_cli.verification.verify import TOLERANCE

NETWORKS = ("mlp", "cnn", "lstm", "gru2", "transformer", "tied")


class Encoder(nn.Module):
    """Returns its output alone; the state is that of a submodule."""

    def __init__(self, *, input_size: int, output_size: int, units: int, depth: int = 1) -> None:
        super().__init__()
        self.cells = nn.GRU(input_size, units, num_layers=depth, batch_first=True)
        self.dropout = nn.Dropout(0.5)
        self.readout = nn.Linear(units, output_size)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.readout(self.dropout(self.cells(inputs)[0]))


class TimeLast(Encoder):
    """Returns a state of the wrong shape."""

    def forward(self, inputs: Tensor) -> Any:
        return super().forward(inputs), self.cells(inputs)[0].mT


class Short(Encoder):
    """Returns one output too few."""

    def forward(self, inputs: Tensor) -> Any:
        return super().forward(inputs)[..., 1:], self.cells(inputs)[0]


def model(
    target: type | str = Encoder, *, state: str | None = "cells", **kwargs: Any
) -> CustomModel:
    name = target if isinstance(target, str) else f"{target.__module__}:{target.__qualname__}"
    made = CustomModel(
        target=name,
        units=6,
        kwargs=kwargs,
        state=state,
        others="refuse",
        input_size=3,
        output_size=2,
        generator=seeded(),
    )
    return made.double()


def test_state_named_by_a_submodule() -> None:
    made, inputs = model(depth=2), normal(2, 4, 3)
    outputs, states = made.eval()(inputs)
    torch.testing.assert_close(states, made.network.cells(inputs)[0])
    torch.testing.assert_close(outputs, made.network.readout(states))
    assert (
        relative_error(global_ntk(made.linearize(inputs)).dense(), dense_global_ntk(made, inputs))
        < 1e-12
    )


def test_initial_weights_come_from_the_generator() -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first, again = model(), model()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)
    )


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("no_such_package.Net", {}, "model.target=no_such_package.Net: cannot be imported"),
        ("torch.nn.Linear", {}, "not built from input_size"),
        ("builtins.dict", {}, "makes a dict, not a torch.nn.Module"),
        (Encoder, {"state": "cell"}, "model.state=cell: unknown.*did you mean 'cells'"),
        (Encoder, {"state": None}, r"forward returns no \(output, state\).*model.state"),
        (TimeLast, {"state": None}, r"state is of shape \(2, 6, 4\)"),
        (Short, {"state": None}, r"output is of shape \(2, 4, 1\).*\(2, 4, 2\)"),
        (Encoder, {"width": 3}, "not built from.*width"),
    ],
)
def test_breaches_of_the_contract_are_told(
    target: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        model(target, **options)(normal(2, 4, 3))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_agree_with_dense_automatic_differentiation(name: str) -> None:
    plan = Plan(small_config(f"model={name}", config_name="verify"))
    errors = {comparison.name: comparison.relative_error for comparison in comparisons(plan)}
    assert max(errors.values()) < TOLERANCE
    assert {
        "P",
        "P^*",
        "K",
        "V V^T (x) I",
        "NTK_S as J J^*",
        "NTK_S as P K P^*",
        "NTK_S of all site outputs",
    } <= errors.keys()


def test_every_quantity_is_measured_of_a_network_with_shared_weights() -> None:
    plan = Plan(small_config("model=tied", "model.units=6"))
    trajectory = plan.trajectory()
    rows = measure(
        global_ntk(trajectory), plan.target_directions(trajectory), plan.analysis, seeded()
    ).measurements
    assert {row.operator for row in rows if not row.operator.startswith("v_")} == {
        "ntk",
        "k",
        "p",
        "core",
        "v",
    }
    assert all(row.estimate.value >= 0 for row in rows)


def test_a_network_without_a_core_is_measured_without_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weight norm: its parameters act through no linear map, so that no site variables make up a
    core.
    """
    normed = ("model=custom", "model.target=unusual_networks.WeightNormed", "model.units=3")
    with pytest.raises(UserError, match=r"original0 \(in _weight_norm\).*model.others=autograd"):
        Plan(small_config(*normed, "model.others=refuse"))
    config = small_config(*normed, "training.steps=2", "analysis.eigenvalues=2")
    run(config, tmp_path / "run", PLOTS)
    told = "measured without a Kronecker core: no weight site has one row for each"
    (said,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(told)]
    direction = "network.hidden.0.parametrizations.weight.original1"
    assert f"{direction} (in _weight_norm)" in said
    rows = pd.read_csv(tmp_path / "run" / "measurements.csv")
    assert set(rows["operator"]) == {"ntk", "k", "p"}
    assert not rows["quantity"].str.contains("alignment").any()
    modes = pd.read_csv(tmp_path / "run" / "temporal_modes.csv")
    assert set(modes["operator"]) == {"ntk"}
    assert (tmp_path / "run" / "plots" / "temporal_modes.png").exists()
    # and against dense automatic differentiation, all of it
    errors = {
        each.name: each.relative_error
        for each in comparisons(Plan(small_config(*normed, config_name="verify")))
    }
    assert max(errors.values()) < TOLERANCE
    assert "V V^T (x) I" not in errors
    with pytest.raises(UserError, match=r"analysis.measures=\[v\]: no weight site"):
        Plan(small_config(*normed, "analysis.measures=[v]"))


RANK_DEFICIENT = {
    "dead units": ("model=custom", "model.target=unusual_networks.DeadReLU", "model.units=3"),
    "one unit": ("model=custom", "model.target=unusual_networks.DeadReLU", "model.units=1"),
    "parallel units": (
        "model=custom",
        "model.target=unusual_networks.ParallelUnits",
        "model.units=4",
    ),
    "one time step of attention": ("model=attention", "task=attention", "task.time_steps=1"),
    "one time step": ("model=gru", "task=attention", "task.time_steps=1"),
    "nothing moves": (
        "model=vanilla_rnn",
        "task=student_teacher",
        "task.case=W",
        "task.time_steps=1",
    ),
}


@pytest.mark.parametrize("name", RANK_DEFICIENT)
def test_verify_passes_right_networks_whose_propagator_is_rank_deficient(name: str) -> None:
    """Singular values of 0 are found as roots of eigenvalues right to 1e-16 of the largest."""
    plan = Plan(small_config(*RANK_DEFICIENT[name], config_name="verify"))
    errors = {each.name: each.relative_error for each in comparisons(plan)}
    assert max(errors.values()) < TOLERANCE


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(
        UserError, match="the targets of its evaluation trials hold numbers that are not finite"
    ):
        Evaluation(NotFinite("evaluation"), torch.float64, torch.device("cpu"))
    network = model(Encoder, state="cells")
    with pytest.raises(
        UserError, match="the targets of its training trials hold numbers that are not finite"
    ):
        next(
            Trainer(
                network,
                torch.optim.SGD(network.parameters()),
                NotFinite("training"),
                Randomness(0),
                batch_size=3,
            ).losses(1)
        )


class NotFinite:
    """A task of which one kind of trials has a target that is not a number."""

    input_size, output_size = 3, 2

    def __init__(self, purpose: str) -> None:
        self._purpose = purpose

    def _batch(self, purpose: str) -> Batch:
        return Batch(
            normal(3, 4, 3), torch.full((3, 4, 2), torch.nan if purpose == self._purpose else 1.0)
        )

    def training_batch(self, batch_size: int, generator: torch.Generator) -> Batch:
        return self._batch("training")

    def evaluation_batch(self) -> Batch:
        return self._batch("evaluation")

    def accuracy(self, outputs: Tensor, targets: Tensor) -> float:
        return 0.0
