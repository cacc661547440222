"""The Lightning callback that docs/training_loop.md shows works in a fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from page_blocks import find_blocks
from torch import nn

import kpflow_cli as kp

(LIGHTNING,) = (
    block.text for block in find_blocks("docs/training_loop.md") if "Callback" in block.text
)


def _execute(block: str, names: dict[str, Any]) -> dict[str, Any]:
    exec(compile(block, "docs/training_loop.md", "exec"), names)
    return names


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
