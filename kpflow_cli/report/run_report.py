"""The page of a run: what became of it, how it was configured, all its plots and numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import pandas as pd
from markupsafe import Markup

from kpflow_cli.durations import in_words
from kpflow_cli.report.configuration import Explained, explain, write_value
from kpflow_cli.report.page import Page, Section, render, render_page
from kpflow_cli.report.run_record import RunRecord, describe_state
from kpflow_cli.report.svg import Drawing, render_drawing
from kpflow_cli.report.table import (
    Cell,
    Column,
    Table,
    number_cell,
    render_pairs,
    render_table,
    write_number,
)
from kpflow_cli.run.summary import summarize

# each draws from the tables of a run; None where they do not hold what it shows
Plots = Mapping[str, Callable[[dict[str, pd.DataFrame]], Drawing | None]]

# a page of a run at work is read again after so many seconds
_REFRESH_SECONDS = 30
# of each plot its title, what is to be seen, and what is to be known of it
_PLOTS = {
    "training": (
        "Training",
        "Loss, and accuracy and learned fractions where there are targets, over gradient steps",
        "Evaluation trials have no noise and are the same at every step. A learned fraction is the "
        "share of a target mode that the outputs reproduce.",
    ),
    "outputs": (
        "Outputs",
        "Outputs over time at the first, middle and last measured step, with the targets dashed",
        "A row a step, a column an output channel, a colour an evaluation trial.",
    ),
    "effective_ranks": (
        "Effective ranks",
        "Effective ranks of NTK_S, in full, in time and in space, over gradient steps",
        "tr(A)^2 / ||A||_F^2 of NTK_S and of its reductions. Bands are one standard error wide on "
        "both sides; where none shows it is narrower than the line.",
    ),
    "alignment": (
        "Alignment and overlap",
        "Cosine of NTK_S with its Kronecker core, and its overlap with each target mode, over "
        "gradient steps",
        "Overlap is the share of the trace of NTK_S in the direction of a target mode, carried "
        "back through the readout.",
    ),
    "spectra": (
        "Spectra",
        "Leading eigenvalues of K and NTK_S and singular values of P and V, with the shares of "
        "variance that they add up to, at the first, middle and last measured step",
        "Those of NTK_S and P are lower bounds.",
    ),
    "temporal_modes": (
        "Temporal modes",
        "Leading temporal modes of NTK_S and V over time, a line a trial, at the first, middle and "
        "last measured step",
        "A row a mode, a colour an evaluation trial.",
    ),
}


def render_run(record: RunRecord, plots: Plots) -> str:
    """The page of a run as one HTML file, with its ``plots``, of which there are none where they
    cannot be drawn. The same record gives the same bytes.
    """
    state = describe_state(record.status, is_at_work=record.is_at_work)
    explained = explain(record.config) if record.config else None
    drawn, absent = _draw_all(record, plots)
    sections = [
        *_tell_summary(record),
        *_tell_damage(record, absent),
        *_list_changes(explained),
        *drawn,
        *_list_last_measurements(record.tables),
        *_list_sources(record.tables),
        *_list_configuration(explained),
        *_list_provenance(record.status),
    ]
    return render_page(
        Page(
            "Run",
            _title(record, explained),
            sections,
            status=state.word,
            tone=state.tone,
            told=state.told + _tell_when(record) if state.word == "running" else state.told,
            facts=dict(_facts(record)),
            refresh=_REFRESH_SECONDS if state.word == "running" else 0,
        )
    )


def _tell_when(record: RunRecord) -> str:
    """When that was, for whoever opens the page later."""
    if record.written is None:
        return ""
    when = datetime.fromtimestamp(record.written).astimezone()
    return f", as of {when:%Y-%m-%d %H:%M:%S %Z}"


def _title(record: RunRecord, explained: Explained | None) -> str:
    """Task, model and hash, as far as they are known."""
    config = record.config
    names = []
    if explained is not None:
        for group in ("task", "model"):
            node = config.get(group)
            own = node.get("_target_", node.get("target")) if isinstance(node, Mapping) else None
            names.append(explained.choices.get(group) or str(own or "").rpartition(".")[2])
    recorded = config.get("recorded")
    if isinstance(recorded, Mapping):
        names.append(str(recorded.get("network", "")))
    return ", ".join([*filter(None, names), str(record.status.get("hash") or record.name)])


def _facts(record: RunRecord) -> Iterator[tuple[str, str]]:
    """What is looked for first."""
    tables = record.tables
    if "seed" in record.config:
        yield "seed", str(record.config["seed"])
    training = tables.get("training", pd.DataFrame())
    for column, name in (
        ("evaluation_loss", "evaluation loss"),
        ("loss", "training loss"),
        ("accuracy", "accuracy"),
    ):
        if column in training and not training.empty:
            value = training[column].iloc[-1]
            if not math.isnan(value):
                yield name, write_number(float(value))
    last = _last_measurements(tables)
    if not last.empty:
        full = last[(last["operator"] == "ntk") & (last["reduction"] == "full")]
        for quantity, name in (
            ("effective_rank", "effective rank of NTK_S"),
            ("alignment", "alignment with the core"),
        ):
            for row in full[full["quantity"] == quantity].to_dict("records"):
                yield name, write_number(float(row["value"]), float(row["stderr"]))


def _tell_summary(record: RunRecord) -> Iterator[Section]:
    try:
        sentences = summarize(record.tables, {**record.status, "config": record.config})
    except (KeyError, ValueError, TypeError, IndexError):
        # tables of an earlier version, or cut short, tell no story
        return
    if sentences:
        yield Section("summary", "Summary", render("lines.html.jinja", lines=sentences))


def _tell_damage(record: RunRecord, absent: list[str]) -> Iterator[Section]:
    """What a reader would look for and does not find."""
    lines = [*record.damaged, *absent]
    if lines:
        yield Section("missing", "What is not here", render("lines.html.jinja", lines=lines))


def _list_changes(explained: Explained | None) -> Iterator[Section]:
    if explained is None:
        return
    choices = ", ".join(
        f"{group}={name or 'of its own'}" for group, name in explained.choices.items()
    )
    rows = [
        [Cell(key.name), Cell(write_value(key.value)), _default_cell(key.default)]
        for key in explained.changed
    ]
    table = Table(
        "changed-keys",
        "Keys that depart from the defaults of these choices",
        [Column("key"), Column("value"), Column("default")],
        rows,
        is_sortable=False,
    )
    yield Section(
        "changes",
        "Changed keys",
        render(
            "changes.html.jinja",
            choices=choices,
            table=render_table(table) if rows else None,
            command=explained.command,
        ),
    )


def _default_cell(default: Any) -> Cell:
    return Cell("" if default is None else write_value(default))


def _draw_all(record: RunRecord, plots: Plots) -> tuple[list[Section], list[str]]:
    """A section for each plot, and lines on those that there are none of."""
    sections, absent = [], []
    for name, (title, label, caption) in _PLOTS.items():
        if name not in plots:
            absent.append(f"{title}: not drawn, matplotlib cannot be loaded")
            continue
        try:
            drawing = plots[name](dict(record.tables))
        except Exception as error:
            # a table of an earlier version, or one that was cut short
            absent.append(f"{title}: not drawn ({type(error).__name__}: {error})")
            continue
        if drawing is None:
            absent.append(f"{title}: the run did not record it, or not yet")
            continue
        anchor = name.replace("_", "-")
        sections.append(Section(anchor, title, render_drawing(drawing, anchor, label, caption)))
    return sections, absent


def _last_measurements(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    rows = tables.get("measurements", pd.DataFrame())
    return rows if rows.empty else rows[rows["step"] == rows["step"].max()]


def _list_last_measurements(tables: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    last = _last_measurements(tables)
    if last.empty:
        return
    step = int(last["step"].iloc[0])
    rows = [
        [
            *(Cell(str(row[column])) for column in ("operator", "quantity", "reduction")),
            number_cell(float(row["value"])),
            _error_cell(float(row["stderr"])),
            number_cell(float(row["probes"])),
        ]
        for row in last.to_dict("records")
    ]
    table = Table(
        "measurements-table",
        f"Measured at step {step}: value and standard error. An error of 0 marks an exact value, "
        "an error beside 0 probes a bound, none one that is unknown.",
        [
            Column(
                "operator", meaning="ntk is NTK_S, k and p its factors K and P, core V V^T (x) I"
            ),
            Column("quantity"),
            Column("reduction", meaning="what of trials, time and units is kept, and how"),
            Column("value", is_number=True),
            Column("standard error", is_number=True),
            Column("probes", is_number=True, meaning="random vectors that the estimate rests on"),
        ],
        rows,
        has_filter=True,
    )
    yield Section("measurements", "Measurements at the last step", render_table(table))


def _error_cell(error: float) -> Cell:
    return Cell("-") if math.isnan(error) else Cell(f"{error:.2g}", error)


def _list_sources(tables: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    """Of ``kpflow measure``: the file behind each step."""
    weights = tables.get("weights", pd.DataFrame())
    if weights.empty:
        return
    table = Table(
        "weights-table",
        "The files that were measured, by step",
        [Column(str(name), is_number=name == "step") for name in weights],
        [[Cell(str(value)) for value in row] for row in weights.itertuples(index=False)],
        is_sortable=False,
    )
    yield Section("weights", "Weights", render_table(table))


def _list_configuration(explained: Explained | None) -> Iterator[Section]:
    if explained is None:
        return
    rows = [
        [
            Cell(key.name),
            Cell(write_value(key.value)),
            Cell("changed", tone="doubtful") if key.is_changed else Cell(""),
            _default_cell(key.default if key.is_changed else None),
        ]
        for key in explained.keys
    ]
    table = Table(
        "configuration-table",
        "All that determines the results",
        [Column("key"), Column("value"), Column("changed"), Column("default")],
        rows,
        has_filter=True,
    )
    yield Section("configuration", "Configuration", render_table(table))


def _list_provenance(status: Mapping[str, Any]) -> Iterator[Section]:
    if not status:
        return
    seconds = status.get("seconds", {})
    speed = {}
    if status.get("step") and seconds.get("training"):
        speed["training"] = f"{status['step'] / seconds['training']:.3g} steps a second"
    took = {name: in_words(float(each)) for name, each in seconds.items()}
    pairs = {
        **_flat("", {"commit": status.get("commit") or "unknown"}),
        **_flat("", status.get("platform", {})),
        "duration": in_words(float(status.get("duration", 0.0))),
        **{f"seconds {name}": each for name, each in took.items()},
        **{f"speed of {name}": each for name, each in speed.items()},
        "peak memory": f"{status['peak_memory_mib']:.0f} MiB"
        if status.get("peak_memory_mib")
        else "unknown",
        **{f"version of {name}": each for name, each in status.get("versions", {}).items()},
    }
    body = render_pairs([(name, Cell(str(each))) for name, each in pairs.items()])
    earlier = status.get("continues", [])
    if earlier:
        body += render_table(_sessions_table(earlier))
    yield Section("provenance", "Provenance", Markup(body))


def _flat(prefix: str, node: Mapping[str, Any]) -> dict[str, str]:
    return {f"{prefix}{name}": write_value(each) for name, each in node.items()}


def _sessions_table(sessions: list[Mapping[str, Any]]) -> Table:
    """What an interrupted run was made by, session by session."""
    rows = [
        [
            Cell(str(session.get("step"))),
            Cell(str((session.get("versions") or {}).get("kpflow", ""))),
            Cell(str(session.get("commit") or "unknown")[:12]),
            Cell(str((session.get("platform") or {}).get("system", ""))),
        ]
        for session in sessions
    ]
    return Table(
        "sessions-table",
        "Earlier sessions, each continued by the next",
        [Column("to step", is_number=True), Column("kpflow"), Column("commit"), Column("system")],
        rows,
        is_sortable=False,
    )
