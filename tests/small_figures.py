"""Every figure from networks small enough for tests."""

from __future__ import annotations

from small_runs import SMALL

OVERRIDES = {
    name: [*SMALL, "task.stimulus_steps=4", "task.memory_steps=3", "task.response_steps=4", "training.steps=30"]
    for name in ("fig1", "fig2", "fig3", "fig4", "fig4b", "fig7")
}
OVERRIDES["fig8"] = ["model.units=12", "task.evaluation_trials=4"]
NAMES = tuple(OVERRIDES)
