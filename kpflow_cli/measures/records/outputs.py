"""What the network answers, beside what it should."""

from __future__ import annotations

from kpflow_cli.measures.records.scene import Rows, Scene, choose_indices

SHOWN_TRIALS = 6


def record_outputs(scene: Scene) -> dict[str, Rows]:
    """outputs.csv and inputs.csv: one row for each shown trial, time and channel (from 1)."""
    batch = scene.evaluation.batch
    outputs, targets, inputs = (
        scene.evaluation.outputs(scene.model).tolist(),
        batch.targets.tolist(),
        batch.inputs.tolist(),
    )
    rows = [
        {
            "trial": trial,
            "time": time,
            "channel": channel + 1,
            "output": output,
            "target": targets[trial][time][channel],
        }
        for trial in choose_indices(len(outputs), SHOWN_TRIALS)
        for time, produced in enumerate(outputs[trial])
        for channel, output in enumerate(produced)
    ]
    given = [
        {"trial": trial, "time": time, "channel": channel + 1, "input": value}
        for trial in choose_indices(len(inputs), SHOWN_TRIALS)
        for time, values in enumerate(inputs[trial])
        for channel, value in enumerate(values)
    ]
    return {"outputs": rows, "inputs": given}
