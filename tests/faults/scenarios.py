"""Commands small enough for thousands of them, and what they are to leave."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from injection import Ended, Fault, run_forked

TINY = [
    "task=memorypro",
    "task.stimulus_steps=1",
    "task.memory_steps=1",
    "task.response_steps=1",
    "task.evaluation_trials=2",
    "model.units=3",
    "training.steps=3",
    "training.batch_size=2",
    "training.evaluation_interval=1",
    "analysis.checkpoints=2",
    "save_interval=1",
    "analysis.measures=[v]",
    "analysis.records=[outputs]",
    "analysis.eigenvalues=2",
    "threads=1",
]


class FakeDrawing:
    """Stands for a plot, which takes longer than the rest of such a run."""

    def savefig(self, file: Any, **_: Any) -> None:
        file.write(b"drawing")


@dataclass(frozen=True)
class Scenario:
    """A command and what it is to leave.

    Attributes:
        words: the command's arguments.
        place: the folder it works in, where nothing else is.
        expected: bytes of the CSV files that it leaves undisturbed, by their path there.
        calls: its file calls, and those of them that write.
    """

    words: list[str]
    place: Path
    expected: dict[str, bytes]
    calls: dict[bool, int]

    def clear(self) -> None:
        """Make the folder empty."""
        for entry in self.place.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def run(self, fault: Fault | None = None, at: int = 0) -> Ended:
        """The command, once."""
        return run_forked(self.words, self.place, fault, at)

    def is_whole(self) -> bool:
        """Whether the folder holds what an undisturbed command leaves, and no run folder anything
        half.
        """
        halves = [
            path
            for folder in self.place.rglob("checkpoints")
            for path in folder.parent.rglob(".*.partial")
        ]
        return tables_below(self.place) == self.expected and not halves


def tables_below(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*.csv")}


def scenario(words: list[str], place: Path) -> Scenario:
    """A command, tried undisturbed."""
    place.mkdir()
    nothing = Fault("none", lambda _path: None, writing=True)
    done = run_forked(words, place)
    assert done.status == 0, done.errors
    found = Scenario(words, place, tables_below(place), {})
    assert found.expected
    found.clear()
    writes = found.run(nothing, -1)
    found.clear()
    found.calls.update({False: done.calls, True: writes.calls})
    return found
