"""This process among others: its streams, which may be closed or lose their reader; the signals
that end it; the process that started it.
"""

from __future__ import annotations

import functools
import io
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

_TERMINATING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_LOOK_SECONDS = 1.0
# whoever sends a signal waits 5 seconds or more before it kills
_SAVING_SECONDS, _LINGERING_SECONDS = 4.0, 2.0


class Terminated(BaseException):
    """A signal that ends the process, as an error, so that what was begun is put in order."""

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(self.signal.name)


@contextmanager
def raising_termination() -> Iterator[None]:
    """Until the end of the block a signal that ends processes raises Terminated, Ctrl-C
    KeyboardInterrupt; in the main thread, where Python handles signals, and not where it is
    ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous: dict[signal.Signals, Any] = {
        each: signal.signal(each, _raise_terminated)
        for each in _TERMINATING
        if signal.getsignal(each) in (signal.SIG_DFL, signal.default_int_handler)
    }
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


def _raise_terminated(number: int, _frame: FrameType | None) -> NoReturn:
    _end_children()
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)


def _end_children() -> None:
    """Let the processes that this one has started save what they have, before what started them
    kills them.
    """
    children = multiprocessing.active_children()
    for child in children:
        child.terminate()
    until = time.monotonic() + _SAVING_SECONDS
    for child in children:
        child.join(max(0.0, until - time.monotonic()))


def end_by(number: signal.Signals) -> NoReturn:
    """End as a process that does not handle the signal, so that whoever waits sees what ended
    it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    sys.exit(128 + number)


class _Stream(io.FileIO):
    """A stream whose reader may leave, as ``head`` does, or whose disk may fill up: what nobody can
    read is dropped, and the work goes on.
    """

    def write(self, data: Any) -> int:
        try:
            written = super().write(data)
        except OSError:
            written = None
        return len(data) if written is None else written


def open_streams() -> None:
    """Standard output and error that cannot fail: where they are closed, what is written to them is
    dropped, and no other file takes their place.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = _tolerant(sys.stdout, sys.__stdout__, 1)
    sys.stderr = _tolerant(sys.stderr, sys.__stderr__, 2)


def _tolerant(stream: Any, original: Any, number: int) -> Any:
    if stream is not original:
        return stream
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return io.TextIOWrapper(
        io.BufferedWriter(_Stream(number, "wb", closefd=False)),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=number == 2 or os.isatty(number),
    )


def end_with_parent(parent: int) -> None:
    """From now on, where the process ``parent`` has started this one, its end is this one's:
    SIGTERM, upon which a run saves what it has.
    """
    if os.getppid() == parent:
        _watch(parent)


@functools.cache
def _watch(parent: int) -> None:
    if threading.current_thread() is threading.main_thread():
        # Ctrl-C is for the parent, which ends this process in its own way
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _end_last)
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_last(number: int, _frame: FrameType | None) -> NoReturn:
    """The first worker of a pool that dies is the death of the others: they too have to save."""
    time.sleep(_LINGERING_SECONDS)
    end_by(signal.Signals(number))


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    signal.raise_signal(signal.SIGTERM)
