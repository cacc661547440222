"""kpflow in a forked process, with a fault at any of its file calls.

A fork of a process that has imported torch and made a run starts in milliseconds, so that thousands
of faults are cheap.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from kpflow_cli.cli import main

_TIMEOUT = 60.0
# audit events of file calls; the first argument is the path
_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.listdir", "os.scandir")
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@dataclass(frozen=True)
class Fault:
    """What happens at a file call.

    Attributes:
        name: for the report.
        act: kills, raises, or signals; given the path.
        writing: whether it happens at calls only that write.
        lasts: whether it happens at every later call too.
    """

    name: str
    act: Callable[[str], None]
    writing: bool = False
    lasts: bool = False


def _raising(number: int) -> Callable[[str], None]:
    def act(path: str) -> None:
        raise OSError(number, os.strerror(number), path)

    return act


def _sending(number: signal.Signals) -> Callable[[str], None]:
    return lambda _path: signal.raise_signal(number)


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("SIGKILL", _sending(signal.SIGKILL)),
        Fault("SIGTERM", _sending(signal.SIGTERM)),
        Fault("SIGINT", _sending(signal.SIGINT)),
        Fault("ENOSPC", _raising(errno.ENOSPC), writing=True, lasts=True),
        Fault("EDQUOT", _raising(errno.EDQUOT), writing=True),
        Fault("EROFS", _raising(errno.EROFS), writing=True, lasts=True),
        Fault("EIO", _raising(errno.EIO)),
        Fault("EACCES", _raising(errno.EACCES)),
    )
}


@dataclass
class Injector:
    """Counts the file calls below a folder, and lets a fault happen at one of them."""

    place: Path
    fault: Fault | None
    at: int
    calls: int = 0
    active: bool = field(default=True)

    def install(self) -> None:
        """From now on, in this process."""
        sys.addaudithook(self._audit)
        for name in ("fsync", "stat"):
            self._watch_call(name)
        self._watch_streams()

    def call(self, path: str, *, writes: bool) -> None:
        """One file call."""
        inside = not path.startswith("/") or path.startswith(str(self.place))
        if not (self.active and inside) or (self.fault and self.fault.writing and not writes):
            return
        self.calls += 1
        due = self.calls == self.at or (
            self.fault is not None and self.fault.lasts and self.calls > self.at
        )
        if self.fault and due:
            self.fault.act(path)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS:
            return
        path = arguments[0] if arguments else None
        if isinstance(path, str | Path):
            reads = event in ("os.listdir", "os.scandir") or (
                event == "open" and not (arguments[2] or 0) & _WRITE_FLAGS
            )
            self.call(str(path), writes=not reads)

    def _watch_call(self, name: str) -> None:
        made = getattr(os, name)

        def watched(path: Any, *arguments: Any, **keywords: Any) -> Any:
            told = os.fspath(path) if isinstance(path, str | Path) else "."
            if not isinstance(path, int) or name == "fsync":
                self.call(told, writes=name == "fsync")
            return made(path, *arguments, **keywords)

        setattr(os, name, watched)

    def _watch_streams(self) -> None:
        opened, injector = Path.open, self

        def watched(path: Path, mode: str = "r", *arguments: Any, **keywords: Any) -> Any:
            stream = opened(path, mode, *arguments, **keywords)
            return _Stream(stream, path, injector) if set(mode) & set("wxa+") else stream

        Path.open = watched  # type: ignore[method-assign,assignment]


class _Stream:
    """A file that is written to; each call of it is a file call."""

    def __init__(self, stream: Any, path: Path, injector: Injector) -> None:
        self._stream, self._path, self._injector = stream, str(path), injector

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._injector.call(self._path, writes=True)
        finally:
            self._stream.close()

    def __getattr__(self, name: str) -> Any:
        if name in ("write", "flush"):
            self._injector.call(self._path, writes=True)
        return getattr(self._stream, name)


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: its exit status, negative for a signal; None for one that did not end.
        calls: its file calls.
    """

    status: int | None
    output: str
    errors: str
    calls: int

    def told(self) -> list[str]:
        """The lines of its errors that are not progress."""
        lines = self.errors.replace("\r", "\n").split("\n")
        return [line for line in lines if line.startswith("kpflow: ")]

    def wrongs(self) -> list[str]:
        """What may not be, whatever the fault."""
        if self.status is None:
            return ["endless"]
        found = []
        if "Traceback" in self.errors or "Exception ignored" in self.errors:
            found.append("traceback")
        if self.status in (1, 2, 130) and len(self.told()) != 1:
            found.append("not one line")
        if self.status not in (0, 1, 2, 130, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT):
            found.append(f"status {self.status}")
        return found


def run_forked(
    words: list[str],
    place: Path,
    fault: Fault | None = None,
    at: int = 0,
    timeout: float = _TIMEOUT,
) -> Ended:
    """``kpflow`` with these arguments in a folder, a fault at the file call of this number, from
    1.
    """
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder, name) for name in ("stdout", "stderr", "calls")]
        child = os.fork()
        if child == 0:
            _work(words, Injector(place, fault, at), outputs)
        status = _wait(child, timeout)
        texts = [path.read_text(errors="replace") if path.exists() else "" for path in outputs]
    return Ended(status, texts[0], texts[1], int(texts[2] or 0))


def _work(words: list[str], injector: Injector, outputs: list[Path]) -> NoReturn:
    status = 1
    try:
        os.setsid()
        os.chdir(injector.place)
        for descriptor, path in enumerate(outputs[:2], start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
        sys.stdout = sys.__stdout__ = io.TextIOWrapper(io.FileIO(1, "w", closefd=False))
        sys.stderr = sys.__stderr__ = io.TextIOWrapper(
            io.FileIO(2, "w", closefd=False), line_buffering=True
        )
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["kpflow", *words]
        injector.install()
        status = main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        injector.active = False
        traceback.print_exc()
    finally:
        injector.active = False
        sys.stdout.flush()
        sys.stderr.flush()
        outputs[2].write_text(str(injector.calls))
        os._exit(status)


def _wait(child: int, timeout: float) -> int | None:
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
