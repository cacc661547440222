"""Event files for TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from kpflow_cli.trackers.base import Folder, TrackedRun, folder_of, load_package, read_folder

# TensorBoard finds its files by this
_PREFIX = "events.out.tfevents."


class TensorBoard:
    """One event file for each time that the run is started or continued.

    Each begins with TensorBoard's mark of a restart at step 0, upon which its readers drop what
    earlier files hold. Records are written by this process itself, not by TensorBoard's thread, so
    that a full disk is noticed where it can be told. Values are kept in single precision.
    """

    def __init__(self, *, folder: Folder) -> None:
        load_package("tensorboard")
        self._folder = read_folder(folder)
        self._records: Any = None

    def start(self, run: TrackedRun) -> None:
        """As ``Tracker.start`` says."""
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder = folder_of(run, self._folder)
        folder.mkdir(parents=True, exist_ok=True)
        # readers take the files of a folder in the order of their names
        earlier = sorted(folder.glob(f"{_PREFIX}*.{run.hash}"))
        number = int(earlier[-1].name.removeprefix(_PREFIX).split(".")[0]) + 1 if earlier else 0
        stream = (folder / f"{_PREFIX}{number:010d}.{run.hash}").open("xb")
        self._records = RecordWriter(stream)
        self._write(file_version="brain.Event:2")
        self._write(session_log=SessionLog(status=SessionLog.START))
        self._write(summary=hparams_pb(dict(run.hyperparameters), trial_id=run.hash))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """As ``Tracker.log`` says."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        rows = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(step=step, summary=Summary(value=rows))

    def close(self) -> None:
        """As ``Tracker.close`` says."""
        if self._records is not None:
            self._records.close()

    def _write(self, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._records.write(Event(wall_time=time.time(), **content).SerializeToString())
        self._records.flush()
