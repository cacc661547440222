"""The page of a run: what became of it, how it was configured, all its plots and numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
from markupsafe import Markup

from kpflow_cli.durations import in_words
from kpflow_cli.report.configuration import Explained, explain, join_words, write_override
from kpflow_cli.report.page import Page, Section, render, render_page
from kpflow_cli.report.run_drawings import Charts, Plots, draw_all
from kpflow_cli.report.run_record import RunRecord, describe_state
from kpflow_cli.report.table import (
    Cell,
    Column,
    Table,
    number_cell,
    render_pairs,
    render_table,
    write_number,
)
from kpflow_cli.run.identity import write_value
from kpflow_cli.run.summary import summarize

# a page of a run at work is read again after so many seconds
_REFRESH_SECONDS = 30


def render_run(record: RunRecord, plots: Plots, charts: Charts | None = None) -> str:
    """The page of a run as one HTML file, with its ``plots``, of which there are none where they
    cannot be drawn, or with ``charts`` in the place of those that it has. The same record gives the
    same bytes.
    """
    state = describe_state(record.standing, record.status)
    explained = explain(record.config) if record.config else None
    drawn = draw_all(record, plots, charts)
    sections = [
        *_tell_summary(record),
        *_list_lines("damage", "Damage", record.damaged),
        *_list_changes(record, explained),
        *drawn.sections,
        *_list_lines("missing", "What is not here", drawn.absent),
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
            scripts=[charts.script(drawn.charts)] if charts and drawn.charts else [],
            evaluates=bool(drawn.charts),
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
            names.append(explained.choices.get(group) or _name_class(own))
    recorded = config.get("recorded")
    if isinstance(recorded, Mapping):
        names.append(str(recorded.get("network", "")))
    return ", ".join([*filter(None, names), str(record.status.get("hash") or record.path.name)])


def _name_class(target: Any) -> str:
    """``Net`` of ``my_package.Net`` and of ``own/nets.py:Net``."""
    return re.split(r"[.:/]", str(target or ""))[-1]


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


def _list_lines(name: str, title: str, lines: Sequence[str]) -> Iterator[Section]:
    """What a reader would look for and does not find."""
    if lines:
        yield Section(name, title, render("lines.html.jinja", lines=lines))


def _list_changes(record: RunRecord, explained: Explained | None) -> Iterator[Section]:
    if explained is None:
        return
    choices = ", ".join(
        f"{group}={name}"
        if name
        else f"{group} of its own, {_name_class(record.config[group].get('_target_'))}"
        for group, name in explained.choices.items()
    )
    # where the command would not go by itself
    elsewhere = record.path.name != record.status.get("hash")
    place = [write_override("run_dir", str(record.path))] if elsewhere else []
    command = explained.command and f"{explained.command} {join_words(place)}".rstrip()
    rows = [
        [Cell(key.name), Cell(write_value(key.value)), _default_cell(key.default)]
        for key in explained.changed
        if not key.name.startswith("sha256.")
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
            command=command,
        ),
    )


def _default_cell(default: Any) -> Cell:
    # ??? is what stands for a value that everybody has to give
    return Cell("" if default in (None, "???") else write_value(default))


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
