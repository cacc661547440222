"""docs/reliability.md from what the fault suite counted: ``make test-faults`` writes it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

from tally import RESULTS

from kpflow_cli.run import provenance

REPORT = Path(__file__).parents[2] / "docs" / "reliability.md"
# columns, and the outcomes that each counts
COLUMNS = {
    "injected": ("injected",),
    "survived": ("survived",),
    "refused": ("refused",),
    "lost": ("lost",),
    "silently wrong": ("silently wrong", "believed by table", "accepted", "ran a command"),
    "tracebacks": ("traceback",),
    "endless": ("endless",),
    "otherwise wrong": ("not one line", "status", "refused afterwards", "a folder called"),
}
HEAD = """\
# Reliability

What becomes of kpflow under faults, as counted by its own suite. `make test-faults` runs it (about
{minutes} minutes on 2 cores) and writes this page.

- **survived**: the work went on, or the same command continued it; all CSV files are those of an
  undisturbed run, byte for byte. Of bad input: it was a value that works.
- **refused**: one line on standard error that names what is wrong, and exit status 1 or 2.
- **lost**: the same command afterwards ended with other bytes, or not at all.
- **silently wrong**: damage that was believed, by the run, by `kpflow table`; a value taken for
  another.
- **tracebacks**, **endless**: that there were, and commands that did not end.

A file call is any opening, writing, flushing, renaming, removing, listing or looking up of a file
below the folder in which the command works. SIGKILL, SIGTERM and SIGINT are sent at the call; the
others are errors that the operating system gives in its place, ENOSPC and EROFS from that call on.
Of a run every call is tried, of a sweep and a figure every few. Bad input is drawn by hypothesis.
A process that is killed while it writes leaves a hidden temporary file, `.<name>.<digits>.partial`;
those of a run folder are removed at its next start.

"""


def main() -> None:
    """Write the page."""
    sections: dict[str, list[tuple[str, Counter[str]]]] = defaultdict(list)
    total: Counter[str] = Counter()
    for path in sorted(RESULTS.glob("*.json")):
        found = json.loads(path.read_text())
        section, fault = found.pop("section"), found.pop("fault")
        sections[section].append((fault, Counter(found)))
        total += Counter(found)
    pages = [HEAD.format(minutes=MINUTES)]
    pages.append(_table([(name, _sum(rows)) for name, rows in sections.items()] + [("all", total)]))
    for name, rows in sections.items():
        pages.append(f"\n## {name[0].upper()}{name[1:]}\n\n{_table(rows)}")
    versions = ", ".join(f"{name} {number}" for name, number in provenance.versions().items())
    pages.append(f"\nMade by `make test-faults` with {versions}; commit {provenance.commit()}.\n")
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text("".join(pages))
    print(REPORT)


MINUTES = 40


def _sum(rows: list[tuple[str, Counter[str]]]) -> Counter[str]:
    return sum((counts for _, counts in rows), Counter())


def _table(rows: list[tuple[str, Counter[str]]]) -> str:
    lines = [f"| fault | {' | '.join(COLUMNS)} |", "|---" * (1 + len(COLUMNS)) + "|"]
    for name, counts in rows:
        cells = [
            sum(count for each, count in counts.items() if each.startswith(outcomes))
            for outcomes in COLUMNS.values()
        ]
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
