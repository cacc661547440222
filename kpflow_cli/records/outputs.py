"""What the network answers, beside what it should."""

from __future__ import annotations

from kpflow_cli.records.scene import Rows, Scene, shown

SHOWN_TRIALS = 6


def record_outputs(scene: Scene) -> dict[str, Rows]:
    """outputs.csv: one row for each shown trial, time and channel (from 1)."""
    outputs, targets = scene.evaluation.outputs(scene.model).tolist(), scene.evaluation.batch.targets.tolist()
    rows = [
        {"trial": trial, "time": time, "channel": channel + 1, "output": output, "target": targets[trial][time][channel]}
        for trial in shown(len(outputs), SHOWN_TRIALS)
        for time, produced in enumerate(outputs[trial])
        for channel, output in enumerate(produced)
    ]
    return {"outputs": rows}
