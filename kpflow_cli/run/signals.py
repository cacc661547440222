"""SIGTERM and SIGUSR2, as a cluster sends them before it takes a machine away: kept until a run has
saved what it has.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGTERM, signal.SIGUSR2)


class StopSignals:
    """Within a ``with`` block these signals only leave a note, for the run to ask for at its next
    step.

    Outside the main thread, where Python handles no signals, it never receives one.
    """

    def __init__(self) -> None:
        self._received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def received(self) -> str:
        """Name of the signal that came, such as ``SIGTERM``; empty if none did."""
        return self._received.name if self._received else ""

    def pass_on(self) -> None:
        """Do what the signal would have done without us: by default end the process, in a job of
        submitit requeue it. May return.

        Raises SystemExit where that raises an error: whoever sent the signal wants an end of the
        process, not only of this run.
        """
        assert self._received
        came, self._received = self._received, None
        self._restore()
        try:
            signal.raise_signal(came)
        except Exception as error:
            raise SystemExit(f"{came.name}: {error}") from error
        self._install()

    def __enter__(self) -> Self:
        self._install()
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()
        if self._received:
            signal.raise_signal(self._received)

    def _install(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._previous = {each: signal.signal(each, self._receive) for each in _SIGNALS}

    def _restore(self) -> None:
        for each, handler in self._previous.items():
            signal.signal(each, handler)
        self._previous = {}

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self._received = signal.Signals(number)
