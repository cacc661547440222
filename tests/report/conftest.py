from __future__ import annotations

from pathlib import Path

import pytest
from small_runs import small_config

from kpflow_cli.plotting.run_plots import PLOTS
from kpflow_cli.run.runner import run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody changes."""
    path = tmp_path_factory.mktemp("reported") / "run"
    run(small_config("seed=3", "model.gain=1.25"), path, PLOTS)
    return path
