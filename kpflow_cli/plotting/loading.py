"""The plots of a run, loaded where they are drawn: matplotlib takes a second, and may be
missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# of those in run_plots.PLOTS, for whoever asks only whether all are there
NAMES = ("training", "effective_ranks", "alignment", "spectra", "temporal_modes", "outputs")


def load_plots() -> Mapping[str, Any]:
    """None where matplotlib cannot be loaded, as with a configuration of its own that it cannot
    read: the numbers of a run do not depend on it.
    """
    try:
        from kpflow_cli.plotting.run_plots import PLOTS
    except Exception as error:
        print(f"no plots: matplotlib cannot be loaded ({error})", flush=True)
        return {}
    return PLOTS
