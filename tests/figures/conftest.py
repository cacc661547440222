from __future__ import annotations

from pathlib import Path

import pytest
from small_figures import OVERRIDES

from kpflow_cli.commands.figure import execute


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``runs`` and ``output``, where every figure has been made."""
    folder = tmp_path_factory.mktemp("figures")
    for name, overrides in OVERRIDES.items():
        execute(
            [name, f"runs_dir={folder / 'runs'}", f"output_dir={folder / 'output'}", *overrides]
        )
    return folder
