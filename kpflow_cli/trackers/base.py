"""What an experiment tracker owes a run that logs to it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Protocol, runtime_checkable

from kpflow_cli.config.keys import Key
from kpflow_cli.config.paths import read_path, refuse_unwritable
from kpflow_cli.errors import UserError

Folder = Annotated[
    str | None,
    Key("where its files go, each run's in a folder of its own; null: tracker/ in the run folder"),
]


@dataclass(frozen=True)
class TrackedRun:
    """The run that is logged.

    Attributes:
        hash: of its configuration, which is its name wherever it is shown.
        folder: ``tracker/`` in the run folder, not made yet.
        hyperparameters: its configuration by flat keys such as ``model.gain``.
    """

    hash: str
    folder: Path
    hyperparameters: Mapping[str, bool | int | float | str]


@runtime_checkable
class Tracker(Protocol):
    """Something that shows curves of numbers over steps. Any class with these methods is one.

    Its constructor takes the keys of its configuration, and raises UserError for all that it can
    tell before any work. Whatever a method raises ends the tracking, not the run.
    """

    def start(self, run: TrackedRun) -> None:
        """Begin, or begin again where the run is continued: what is logged then starts with the
        run's first step once more, the same values as before, and takes the place of all that was
        logged.
        """

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """The numbers of a step, all finite, by names such as ``ntk/effective_rank/full``; steps
        ascend.
        """

    def close(self) -> None:
        """The end of this process's work on the run, which may not have begun."""


def load_package(name: str) -> ModuleType:
    """A tracker's own package. Raises UserError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(
            f"tracker={name}: needs {name}; `pip install 'kpflow[{name}]'` brings it"
        ) from None


def read_folder(written: str | None) -> Path | None:
    """The folder that ``tracker.folder`` names, if any. Raises UserError for one that cannot be
    written.
    """
    if written is None:
        return None
    folder = read_path(written, "tracker.folder")
    refuse_unwritable(folder, "tracker.folder")
    return folder


def folder_of(run: TrackedRun, chosen: Path | None) -> Path:
    """Where the files of a run go."""
    return run.folder if chosen is None else chosen / run.hash
