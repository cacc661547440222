"""What docs/your_networks.md shows works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from small_runs import kpflow
from torch import nn

import kpflow_cli as kp

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "your_networks.md").read_text()
SAVING, LOOP, LIGHTNING = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(COMMANDS,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


def _execute(block: str, names: dict[str, Any]) -> dict[str, Any]:
    exec(compile(block, "docs/your_networks.md", "exec"), names)
    return names


def test_two_commands_lead_from_weights_to_spectrum_and_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _execute(SAVING, {})
    for command in COMMANDS.splitlines():
        program, *words = shlex.split(command)
        done = kpflow(*words, cwd=tmp_path)
        assert (program, done.returncode) == ("kpflow", 0), done.stderr
    assert (tmp_path / "lstm" / "plots" / "spectra.png").exists()
    ranks = pd.read_csv("lstm.csv").query("quantity == 'effective_rank' and operator == 'ntk'")
    assert set(ranks["reduction"]) >= {"full", "temporal_mean", "spatial_trace"}
    assert (ranks["stderr"] > 0).all()


def test_the_loop_leaves_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _execute(LOOP, {"torch": torch})
    assert kp.load_run("loop").steps == list(kp.geometric(30, 4))


@pytest.mark.filterwarnings("default")
def test_the_lightning_callback_leaves_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lightning = pytest.importorskip("lightning", reason="the extra kpflow[lightning]")
    monkeypatch.chdir(tmp_path)
    callback = _execute(LIGHTNING, {"kp": kp})["Record"]
    trials = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(3, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.net(inputs)

        def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
            return (self.net(batch) - batch).square().mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    small = {"probes": 4, "eigenvalues": 3, "krylov_block": 3}
    options = {"folder": "fit", "steps": [0, 3, 8], "state": "net", "analysis": small}
    module = Module()
    lightning.Trainer(
        max_steps=8,
        callbacks=[callback(trials, **options)],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module, torch.utils.data.DataLoader(trials, batch_size=1))
    run = kp.load_run("fit")
    assert run.steps == [0, 3, 8]
    assert torch.equal(run.state_dict(8)["net.weight"], module.net.weight)
