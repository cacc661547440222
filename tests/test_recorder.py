"""kp.Recorder: a loop of one's own leaves the folder that kpflow leaves, and is not disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import kpflow_cli as kp
from kpflow_cli.run.reading import is_complete, read_status

SMALL = {"probes": 4, "eigenvalues": 3, "sketch": 2, "krylov_block": 3}
STEPS = kp.geometric(6, 3)


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 2))


def _trials() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(4, 5, 3, generator=generator)
    return inputs, inputs[..., :2].sin()


def _train(network: nn.Module, steps: range) -> Iterator[tuple[int, Tensor]]:
    """Gradient descent of one's own, with dropout from the global generator."""
    inputs, targets = _trials()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for step in steps:
        torch.manual_seed(step)
        loss = nn.functional.mse_loss(network(inputs), targets)
        yield step, loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _record(folder: Path, network: nn.Module, steps: range = range(7), **options: Any) -> list[int]:
    inputs, targets = _trials()
    given = {"state": "1", "targets": targets, "analysis": SMALL, **options}
    with kp.Recorder(network, inputs, folder=folder, steps=STEPS, **given) as recorder:
        return [step for step, loss in _train(network, steps) if recorder.step(step, loss=loss)]


def test_it_leaves_a_complete_run_folder_with_the_numbers_of_linearize(tmp_path: Path) -> None:
    network = _network()
    analysis = {**SMALL, "probes": 160}
    assert _record(tmp_path / "run", network, analysis=analysis, dtype="float64") == list(STEPS)
    assert is_complete(tmp_path / "run")
    run = kp.load_run(tmp_path / "run")
    assert run.steps == list(STEPS)
    for step in STEPS:
        again = _network()
        again.load_state_dict(run.state_dict(step))
        trajectory = kp.linearize(again.eval().double(), _trials()[0].double(), state="1")
        exact = kp.effective_rank(kp.global_ntk(trajectory), num_probes=160).value
        rows = run.tables["measurements"].query(
            f"step == {step} and quantity == 'effective_rank' and reduction == 'full'"
        )
        found = rows[rows["operator"] == "ntk"]["value"].item()
        assert found == pytest.approx(exact, rel=1e-9)
    assert (tmp_path / "run" / "plots" / "training.png").exists()
    assert set(run.tables["training"].columns) >= {"loss", "evaluation_loss", "accuracy"}


def test_the_loop_is_not_disturbed(tmp_path: Path) -> None:
    recorded, alone = _network(), _network()
    _record(tmp_path / "run", recorded)
    for _ in _train(alone, range(7)):
        pass
    for name, value in alone.state_dict().items():
        assert torch.equal(recorded.state_dict()[name], value)
    assert recorded.training


def test_a_loop_that_died_goes_on_where_it_was(tmp_path: Path) -> None:
    _record(tmp_path / "whole", _network())
    network = _network()
    with pytest.raises(ZeroDivisionError):
        _record_and_die(tmp_path / "run", network)
    assert read_status(tmp_path / "run")["status"] == "failed"
    with pytest.raises(kp.UserError, match="resume=True goes on with it"):
        _record(tmp_path / "run", _network())
    assert _record(tmp_path / "run", _network(), resume=True) == [6]
    for name in ("measurements.csv", "spectra.csv", "training.csv"):
        whole, resumed = ((tmp_path / each / name).read_bytes() for each in ("whole", "run"))
        assert whole == resumed


def _record_and_die(folder: Path, network: nn.Module) -> None:
    inputs, targets = _trials()
    with kp.Recorder(
        network, inputs, folder=folder, steps=STEPS, state="1", targets=targets, analysis=SMALL
    ) as recorder:
        for step, loss in _train(network, range(7)):
            recorder.step(step, loss=loss)
            if step == 4:
                raise ZeroDivisionError


def test_other_weights_at_a_recorded_step_are_refused(tmp_path: Path) -> None:
    _record(tmp_path / "run", _network(), range(4))
    other = _network()
    with torch.no_grad():
        other[0].weight.mul_(2)
    with pytest.raises(kp.UserError, match="step 0 was recorded with other weights"):
        _record(tmp_path / "run", other, resume=True)


def test_losses_are_written_down_without_targets(tmp_path: Path) -> None:
    _record(tmp_path / "run", _network(), targets=None)
    training = pd.read_csv(tmp_path / "run" / "training.csv")
    assert list(training.columns) == ["step", "loss"]
    assert (tmp_path / "run" / "plots" / "training.png").exists()


def test_wrappers_are_taken_off(tmp_path: Path) -> None:
    network = _network()
    wrapped = nn.DataParallel(network)
    inputs, _ = _trials()
    with kp.Recorder(
        wrapped, inputs, folder=tmp_path / "run", steps=[0], state="1", analysis=SMALL
    ) as recorder:
        assert recorder.step(0)
    assert set(kp.load_run(tmp_path / "run").state_dict()) == set(network.state_dict())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"state": "hidden"}, "state=hidden: unknown"),
        ({"loss": "hinge"}, "loss=hinge: unknown"),
        ({"analysis": {"probe": 3}}, "no key 'analysis.probe' .did you mean 'probes'"),
        ({"trained": ["*.gain"]}, "matches no parameter"),
        ({"targets": torch.zeros(4, 5, 3)}, "targets"),
    ],
)
def test_a_mistake_is_told_before_the_loop(
    tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(kp.UserError, match=told):
        _record(tmp_path / "run", _network(), **options)
    assert not (tmp_path / "run").exists()
