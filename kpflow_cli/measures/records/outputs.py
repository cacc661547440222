"""What the network answers, beside what it should."""

from __future__ import annotations

import torch

from kpflow_cli.measures.records.scene import Rows, Scene, choose_indices

SHOWN_TRIALS = 6


def record_outputs(scene: Scene) -> dict[str, Rows]:
    """outputs.csv and inputs.csv: one row for each shown trial, time and channel (from 1).

    With cross-entropy, output and target are probabilities of each class. Where nothing counts the
    target is left empty.
    """
    batch, loss = scene.evaluation.batch, scene.evaluation.loss
    outputs = loss.answers(scene.evaluation.outputs(scene.model))
    wanted = loss.wanted(batch, outputs.shape[2])
    mask = outputs.new_ones(outputs.shape[:2], dtype=torch.bool)
    counts = (mask if batch.mask is None else batch.mask).tolist()
    answered, targets = outputs.tolist(), wanted.tolist()
    rows = [
        {
            "trial": trial,
            "time": time,
            "channel": channel + 1,
            "output": output,
            "target": targets[trial][time][channel] if counts[trial][time] else None,
        }
        for trial in choose_indices(len(answered), SHOWN_TRIALS)
        for time, produced in enumerate(answered[trial])
        for channel, output in enumerate(produced)
    ]
    # of integers, one channel
    inputs = (batch.inputs.unsqueeze(2) if batch.inputs.ndim == 2 else batch.inputs).tolist()
    given = [
        {"trial": trial, "time": time, "channel": channel + 1, "input": value}
        for trial in choose_indices(len(inputs), SHOWN_TRIALS)
        for time, values in enumerate(inputs[trial])
        for channel, value in enumerate(values)
    ]
    return {"outputs": rows, "inputs": given}
