"""The list of runs: for people a table in text, for programs CSV."""

from __future__ import annotations

import csv
import io
import textwrap
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from kpflow_cli.durations import in_words
from kpflow_cli.listing.differences import differences, uncommon
from kpflow_cli.listing.listed_run import ListedRun
from kpflow_cli.listing.selection import write_value
from kpflow_cli.run.standing import STANDINGS

_HEADINGS = ("task", "model", "run", "status", "step", "age", "size")
_TO_THE_RIGHT = {"step", "age", "size"}
_SHORTEST_HASH = 6
# of the keys of a run, and of a value: CSV has all of them
_MOST_WORDS, _LONGEST_VALUE = 8, 32


def lay_out_runs(runs: Sequence[ListedRun], now: float, width: int) -> str:
    """A line for each run, in lines of at most ``width`` characters where that can be: what it is,
    how far, and in what it differs from the others; then one of them all.

    Args:
        now: seconds since the epoch, from which ages are counted.
    """
    names = _name_runs(runs)
    rows = [dict(zip(_HEADINGS, _cells(run, names[run.path], now), strict=True)) for run in runs]
    widths = {
        heading: max(len(heading), *(len(row[heading]) for row in rows)) for heading in _HEADINGS
    }
    told = [_tell(each) for each in uncommon(runs)]
    head = dict(zip(_HEADINGS, _HEADINGS, strict=True))
    lines = _line(head, widths, ["differs in"] if any(told) else [], width)
    for row, text in zip(rows, told, strict=True):
        lines += _line(row, widths, text, width)
    return "\n".join([*lines, "", sum_up(runs)])


def sum_up(runs: Sequence[ListedRun]) -> str:
    """``5 runs: 3 complete, 2 running; 12 MB``."""
    counts = Counter(run.status for run in runs)
    kinds = ", ".join(f"{counts[each]} {each}" for each in STANDINGS if counts[each])
    total = size_in_words(sum(run.size for run in runs))
    return f"{len(runs)} run{'s' if len(runs) != 1 else ''}: {kinds}; {total}"


def write_csv(runs: Sequence[ListedRun]) -> str:
    """A row for each run, with the keys in which they differ as columns of their own."""
    different = differences(runs)
    keys = list(dict.fromkeys(key for each in different for key in each))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    own = ("path", "task", "model", "hash", "status", "step", "steps", "written", "bytes")
    writer.writerow([*own, "kpflow", "error", *keys])
    for run, there in zip(runs, different, strict=True):
        written = datetime.fromtimestamp(run.written, UTC).isoformat(timespec="seconds")
        cells = [run.path, run.task, run.model, run.hash, run.status, run.step, run.steps, written]
        values = [write_value(there[key]) if key in there else "" for key in keys]
        writer.writerow([*cells, run.size, run.version, run.error, *values])
    return stream.getvalue()


def size_in_words(count: int) -> str:
    """Bytes for people: ``12 MB`` are 12 million."""
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.3g} {units[0]}"


def _cells(run: ListedRun, name: str, now: float) -> tuple[str, ...]:
    far = "-" if run.step is None else f"{run.step}/{'-' if run.steps is None else run.steps}"
    age = in_words(max(0.0, now - run.written)) if run.written else "-"
    return run.task, run.model, name, run.status, far, age, size_in_words(run.size)


def _name_runs(runs: Sequence[ListedRun]) -> dict[Path, str]:
    """As much of its hash as tells a run from the others, for one where a run is put by itself:
    ``<task>/<model>/<hash>``; the path of another.
    """
    hashes = {run.hash for run in runs}
    length = _SHORTEST_HASH
    while len({each[:length] for each in hashes}) < len(hashes):
        length += 1
    return {
        run.path: run.hash[:length]
        if run.path.parts[-3:] == (run.task, run.model, run.hash)
        else str(run.path)
        for run in runs
    }


def _tell(different: dict[str, object]) -> list[str]:
    """``key=value`` words."""
    words = []
    for key, value in different.items():
        written = write_value(value)
        if len(written) > _LONGEST_VALUE:
            written = f"{written[: _LONGEST_VALUE - 3]}..."
        words.append(f"{key}={written}")
    more = len(words) - _MOST_WORDS
    return [*words[:_MOST_WORDS], f"and {more} more"] if more > 0 else words


def _line(cells: dict[str, str], widths: dict[str, int], told: list[str], width: int) -> list[str]:
    """A row, with what is told of it to the right where there is room, else below."""
    head = "  ".join(
        cells[heading].rjust(widths[heading])
        if heading in _TO_THE_RIGHT
        else cells[heading].ljust(widths[heading])
        for heading in _HEADINGS
    )
    if not told:
        return [head]
    beside = width - len(head) - 2 >= max(map(len, told))
    indent = len(head) + 2 if beside else 4
    lines = textwrap.wrap(
        " ".join(told), max(width - indent, 1), break_long_words=False, break_on_hyphens=False
    )
    first = [f"{head}  {lines.pop(0)}"] if beside else [head]
    return [*first, *(" " * indent + line for line in lines)]
