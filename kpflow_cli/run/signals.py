"""Signals that ask a run to end, as a cluster sends them before it takes a machine away: kept until
the run has saved what it has.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

# not every operating system has all of them
_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2")
    if hasattr(signal, name)
)


class Stopped(BaseException):
    """Leaves a part of the work that a signal may break off."""


class StopSignals:
    """Within a ``with`` block these signals only leave a note, for the run to ask for at its next
    step; within ``breaking_off`` they raise Stopped at once.

    Outside the main thread, where Python handles no signals, it never receives one. A signal that
    the process ignores it ignores too.
    """

    def __init__(self) -> None:
        self._received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}
        self._breaks_off = False

    @property
    def received(self) -> str:
        """Name of the signal that came, such as ``SIGTERM``; empty if none did."""
        return self._received.name if self._received else ""

    @contextmanager
    def breaking_off(self) -> Iterator[None]:
        """For work that can be dropped at any moment. Raises Stopped when a signal comes, or came
        before.
        """
        self._breaks_off = True
        try:
            if self._received:
                raise Stopped
            yield
        finally:
            self._breaks_off = False

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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._restore()
        if self._received:
            signal.raise_signal(self._received)
        return kind is Stopped

    def _install(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._previous = {
                each: signal.signal(each, self._receive)
                for each in _SIGNALS
                if signal.getsignal(each) is not signal.SIG_IGN
            }

    def _restore(self) -> None:
        for each, handler in self._previous.items():
            signal.signal(each, handler)
        self._previous = {}

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self._received and number == signal.SIGINT:
            # whoever presses Ctrl-C twice does not want to wait for the end of a step
            raise KeyboardInterrupt
        self._received = signal.Signals(number)
        if self._breaks_off:
            self._breaks_off = False
            raise Stopped
