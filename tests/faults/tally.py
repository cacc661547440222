"""Counts of the fault suite: each test leaves its own as a JSON file, the report adds them up."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from injection import Ended

RESULTS = Path(os.environ.get("FAULT_RESULTS", "build/faults"))


@dataclass
class Tally:
    """What became of the faults of one kind.

    Attributes:
        section, fault: where they stand in the report.
        counts: ``injected``, ``survived``, ``refused`` and whatever went wrong, by name.
        wrongs: what went wrong, each in words.
    """

    section: str
    fault: str
    counts: Counter[str] = field(default_factory=Counter)
    wrongs: list[str] = field(default_factory=list)

    def add(self, outcome: str, where: str, wrongs: Iterable[str] = ()) -> None:
        """One fault that had an outcome, or went wrong."""
        found = list(wrongs)
        self.counts["injected"] += 1
        self.counts.update(found or [outcome])
        self.wrongs += [f"{self.fault} at {where}: {each}" for each in found]

    def judge(self, ended: Ended, where: str, *, lost: bool) -> None:
        """A command after a fault, or on what a fault left."""
        wrongs = ended.wrongs() + ["lost"] * (lost and ended.status == 0)
        self.add("survived" if ended.status == 0 else "refused", where, wrongs)

    def close(self) -> None:
        """Leave the counts, and fail where anything went wrong."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"\W+", "_", f"{self.section} {self.fault}")
        content = {"section": self.section, "fault": self.fault, **self.counts}
        (RESULTS / f"{name}.json").write_text(json.dumps(content))
        assert not self.wrongs, "\n".join(self.wrongs[:20])
