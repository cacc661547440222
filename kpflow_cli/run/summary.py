"""A run in a few sentences: what it has learned, what it has not and whether NTK_S tells why, what
NTK_S was like.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.run.learned_modes import describe_learned_modes

_WIDTH = 100
# a loss that is higher than its lowest by more than noise is worth a word: by half
_RISEN = 1.5
# the share of NTK_S's trace that its main eigenvalues are counted to
_MAIN_SHARE = 0.9

# effective ranks in words; of a reduction the first that was measured
_RANKS = (
    ("the effective rank of NTK_S", ("full",)),
    ("that in trials and time", ("temporal_trace", "temporal_mean")),
    ("that over units", ("spatial_trace", "spatial_mean")),
)
_KINDS = {"trace": " (partial trace)", "mean": " (mean)"}
_LOSSES = {"mse": "mean squared error", "cross_entropy": "cross-entropy"}


def summarize(tables: Mapping[str, pd.DataFrame], status: Mapping[str, Any]) -> list[str]:
    """Sentences about a run, each of what its tables hold: of a run without targets or without
    training there are fewer. Errors are standard errors.

    Args:
        tables: CSV files of a run folder by their stems, as ``read_tables`` gives them.
        status: run.json, of which ``status``, ``error`` and ``config`` count.
    """
    training, measurements, spectra, control = (
        tables.get(name, pd.DataFrame())
        for name in ("training", "measurements", "spectra", "control")
    )
    config = status.get("config", {})
    optimizer = config.get("training", {}).get("optimizer")
    return [
        *_describe_end(status),
        *_describe_training(training, _name_loss(config)),
        *describe_learned_modes(training, measurements, optimizer),
        *_describe_ranks(measurements),
        *_describe_leading(spectra),
        *_describe_alignment(measurements),
        *_describe_control(measurements, control),
    ]


def lay_out(sentences: Iterable[str]) -> str:
    """The sentences as the text of a file or a terminal."""
    items = (
        textwrap.fill(sentence, _WIDTH, initial_indent="- ", subsequent_indent="  ")
        for sentence in sentences
    )
    return "\n".join(["summary (+- standard errors)", *items])


def _describe_end(status: Mapping[str, Any]) -> list[str]:
    """Nothing of a run that ended as it was to."""
    if status.get("status") != "diverged":
        return []
    reason = str(status.get("error", "")).partition(": ")[2].rstrip(".")
    return [f"The run broke off: {reason or 'it diverged'}."]


def _name_loss(config: Mapping[str, Any]) -> str:
    """Of whatever made the run: training, ``kpflow measure``, a loop of one's own."""
    nodes = (config.get("training", {}), config, config.get("recorded", {}))
    chosen = next((node["loss"] for node in nodes if isinstance(node.get("loss"), str)), "mse")
    return _LOSSES.get(chosen, chosen)


def _describe_training(training: pd.DataFrame, loss: str) -> list[str]:
    """How loss and accuracy went from the first to the last evaluated step."""
    if training.empty:
        return []
    evaluated = "evaluation_loss" in training
    column = "evaluation_loss" if evaluated else "loss"
    known = training.dropna(subset=[column]) if column in training else training.iloc[:0]
    if known.empty:
        return []
    subject = f"{loss} on the {'evaluation trials' if evaluated else 'training batch'}"
    told = f"{subject[0].upper()}{subject[1:]} {_tell_change(known, column)}"
    first, last = (float(known[column].iloc[place]) for place in (0, -1))
    if 0 < last < first:
        told += f", by {_percent(1 - last / first)}"
    if "accuracy" in known and known["accuracy"].notna().all():
        told += f"; accuracy {_tell_change(known, 'accuracy')}"
    sentences = [f"{told}."]
    place = int(known[column].to_numpy().argmin())
    lowest, step = float(known[column].iloc[place]), int(known["step"].iloc[place])
    if last > _RISEN * lowest and 0 < place < len(known) - 1:
        sentences.append(f"It was lowest at step {step}: {lowest:.3g}.")
    return sentences


def _tell_change(rows: pd.DataFrame, column: str) -> str:
    """``fell from 0.36 at step 0 to 0.11 at step 2000``."""
    (first, start), (last, end) = (
        (float(rows[column].iloc[place]), int(rows["step"].iloc[place])) for place in (0, -1)
    )
    before, after = f"{first:.3g}", f"{last:.3g}"
    if start == end:
        return f"is {after} at step {end}"
    if before == after:
        return f"was {before} at step {start} and is {after} at step {end}"
    verb = "fell" if last < first else "rose"
    return f"{verb} from {before} at step {start} to {after} at step {end}"


def _percent(share: float) -> str:
    """Nothing but a whole is called 100 %."""
    percent = 100 * share
    return f"{percent:.2g} %" if percent < 99.5 else f"{math.floor(100 * percent) / 100:.2f} %"


def _describe_ranks(measurements: pd.DataFrame) -> list[str]:
    told, steps = [], ""
    for words, reductions in _RANKS:
        measured = [each for each in reductions if _pick(measurements, "effective_rank", each)]
        if measured:
            found = _pick(measurements, "effective_rank", measured[0])
            kind = _KINDS.get(measured[0].rpartition("_")[2], "")
            told.append(f"{words}{kind} {_compare_ends(found)}")
            steps = _name_steps(found)
    return [f"{steps} {'; '.join(told)}."] if told else []


def _name_steps(found: dict[int, Estimate]) -> str:
    """Those that ``_compare_ends`` compares, to begin a sentence with."""
    start, end = min(found), max(found)
    return f"From step {start} to step {end}" if start < end else f"At step {end}"


def _compare_ends(found: dict[int, Estimate]) -> str:
    """An estimate at the first and the last measured step; that it rose or fell is said where the
    difference is more than its error.
    """
    before, after = found[min(found)], found[max(found)]
    if len(found) == 1:
        return f"is {_show(after)}"
    probes = [each.num_probes for each in (before, after) if each.num_probes]
    difference = Estimate(
        after.value - before.value,
        math.hypot(before.standard_error, after.standard_error),
        min(probes, default=0),
    )
    low, high = difference.interval(0.95)
    if low <= 0 <= high:
        return f"is {_show(after)}, unchanged within the error"
    return f"{'rose' if low > 0 else 'fell'} from {_show(before)} to {_show(after)}"


def _describe_leading(spectra: pd.DataFrame) -> list[str]:
    """How many eigenvalues of NTK_S carry most of its trace at the last measured step. What is kept
    of them are lower bounds.
    """
    rows = spectra[spectra["operator"] == "ntk"] if not spectra.empty else spectra
    if rows.empty:
        return []
    rows = rows[rows["step"] == rows["step"].max()].sort_values("index")
    enough = rows[rows["cumulative"] >= _MAIN_SHARE]
    chosen = rows.iloc[-1] if enough.empty else enough.iloc[0]
    count, share = int(chosen["index"]), float(chosen["cumulative"])
    carry = "largest eigenvalue carries" if count == 1 else f"{count} largest eigenvalues carry"
    return [f"Its {carry} {_percent(share)} of its trace at step {chosen['step']:.0f}."]


def _describe_alignment(measurements: pd.DataFrame) -> list[str]:
    found = _pick(measurements, "alignment", "full")
    if not found:
        return []
    told = f"{_name_steps(found)} its cosine with the Kronecker core {_compare_ends(found)}"
    random = _pick(measurements, "random_core_alignment", "full")
    if random:
        told += f"; with a core in a random basis it would be {random[max(random)].value:.2g}"
    return [f"{told}."]


def _describe_control(measurements: pd.DataFrame, control: pd.DataFrame) -> list[str]:
    """The effective rank beside those of networks with fresh weights."""
    if control.empty or not _pick(measurements, "effective_rank", "full"):
        return []
    fresh = _pick(control.rename(columns={"draw": "step"}), "effective_rank", "full")
    values = [each.value for each in fresh.values()]
    if not values:
        return []
    if len(values) == 1:
        return [f"With fresh weights it has an effective rank of {_show(fresh[min(fresh)])}."]
    return [
        f"With fresh weights, {len(values)} times, it has effective ranks of {min(values):.3g} to "
        f"{max(values):.3g}."
    ]


def _pick(measurements: pd.DataFrame, quantity: str, reduction: str) -> dict[int, Estimate]:
    """Of NTK_S, by step."""
    if measurements.empty:
        return {}
    rows = measurements[
        (measurements["operator"] == "ntk")
        & (measurements["quantity"] == quantity)
        & (measurements["reduction"] == reduction)
    ]
    columns = (rows[name] for name in ("step", "value", "stderr", "probes"))
    return {
        int(step): Estimate(float(value), float(stderr), int(probes))
        for step, value, stderr, probes in zip(*columns, strict=True)
    }


def _show(estimate: Estimate) -> str:
    """``348.1 +- 4.2``, without what the error rests on."""
    if estimate.standard_error == 0:
        return f"{estimate.value:.4g}"
    shown = str(estimate).partition(" (")[0]
    return f"{shown} (error unknown)" if math.isnan(estimate.standard_error) else shown
