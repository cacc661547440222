"""Pages of runs, for the commands that make runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def page_maker(plots: Mapping[str, Any]) -> Callable[[Path], str]:
    """From a run folder to its page with these plots; what that takes is loaded for the first."""

    def make(folder: Path) -> str:
        from kpflow_cli.report.places import render_folder

        return render_folder(folder, plots)

    return make
