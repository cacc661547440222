"""Every figure from networks small enough for tests."""

from __future__ import annotations

from small_runs import SMALL

OVERRIDES = {
    name: [
        *SMALL,
        "task.stimulus_steps=4",
        "task.memory_steps=3",
        "task.response_steps=4",
        "training.steps=30",
    ]
    for name in ("fig1", "fig2", "fig3", "fig4", "fig4b", "fig7")
}
OVERRIDES["fig8"] = ["model.units=12", "task.evaluation_trials=4"]
OVERRIDES["fig5"] = OVERRIDES["fig5b"] = [
    *(option for option in SMALL if not option.startswith("task.")),
    *(
        "task.time_steps=6",
        "task.input_dim=4",
        "task.evaluation_trials=5",
        "model.gain=0.5,1.5",
        "task.input_rank=1,4",
        "training.steps=20",
    ),
]
_ATTENTION = [
    option
    for option in SMALL
    if option.partition(".")[0] in ("analysis", "threads=1") and "checkpoints" not in option
]
_ATTENTION += ["task.time_steps=4", "model.mlp_width=5"]
OVERRIDES["fig6"] = [*_ATTENTION, "model.width=4"]
OVERRIDES["fig9"] = [
    *_ATTENTION,
    "task.evaluation_trials=3",
    "model.width=4,8,16",
    "task.input_dim=1,4,16",
]
OVERRIDES["fig10"] = [
    *_ATTENTION,
    "model.width=8",
    "task.evaluation_trials=3,5",
    "task.input_dim=1,4,16",
]
NAMES = tuple(OVERRIDES)
