"""The plots of one run, each from the tables of its folder alone."""

from __future__ import annotations

from .ntk_plots import draw_alignment, draw_effective_ranks, draw_spectra
from .shown_rows import Draw
from .time_plots import draw_outputs, draw_temporal_modes
from .training_plot import draw_training

PLOTS: dict[str, Draw] = {
    "training": draw_training,
    "effective_ranks": draw_effective_ranks,
    "alignment": draw_alignment,
    "spectra": draw_spectra,
    "temporal_modes": draw_temporal_modes,
    "outputs": draw_outputs,
}
