from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from small_figures import OVERRIDES
from warm_processes import warm_pool

from kpflow_cli.commands.figure import execute
from kpflow_cli.sweeps import engines


@pytest.fixture
def warm_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are made in processes that have imported torch."""
    monkeypatch.setattr(engines, "ProcessPoolExecutor", warm_pool)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``runs`` and ``output``, where every figure has been made: once, whichever of
    the processes that run the tests asks first.
    """
    folder = tmp_path_factory.getbasetemp()
    # under pytest-xdist each process has a folder of its own in that of all
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "figures"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            patch.setattr(engines, "ProcessPoolExecutor", warm_pool)
            for name, overrides in OVERRIDES.items():
                folders = [f"runs_dir={folder / 'runs'}", f"output_dir={folder / 'output'}"]
                execute([name, *folders, *overrides])
            (folder / "made").touch()
    return folder
