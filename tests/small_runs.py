"""Runs small enough for tests, in this process and through the ``kpflow`` command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hydra import compose, initialize_config_module
from omegaconf import DictConfig
from warm_processes import run_command

from kpflow_cli.config.validation import check

KPFLOW = Path(sys.executable).parent / "kpflow"

SMALL = (
    "task.stimulus_steps=3",
    "task.memory_steps=2",
    "task.response_steps=3",
    "task.evaluation_trials=4",
    "model.units=7",
    "training.steps=40",
    "training.batch_size=6",
    "analysis.checkpoints=5",
    "analysis.probes=20",
    "analysis.eigenvalues=4",
    "analysis.sketch=3",
    "analysis.krylov_block=4",
    "analysis.krylov_depth=4",
    "analysis.propagator_krylov_depth=4",
    "save_interval=7",
    "threads=1",
)
TABLES = ("training", "measurements", "spectra", "temporal_modes", "outputs", "inputs", "periods")


def small_config(*overrides: str, config_name: str = "config") -> DictConfig:
    """The checked configuration of a small run, as the command line would compose it."""
    with initialize_config_module("kpflow_cli.configs", version_base="1.3"):
        return check(
            compose(
                config_name, [*SMALL, *overrides] if config_name == "config" else list(overrides)
            )
        )


def kpflow(*arguments: str, cwd: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, in a process of its own."""
    return run_command(arguments, cwd, timeout)


def installed_kpflow(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same through the installed command: a launcher's own processes want an interpreter of
    their own to come from.
    """
    return subprocess.run(
        [KPFLOW, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def table_bytes(run_dir: Path) -> dict[str, bytes]:
    """The bytes of every CSV file of a run."""
    return {path.name: path.read_bytes() for path in run_dir.glob("*.csv")}
