"""What the command line tells in one line instead of a traceback."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable
from pathlib import Path

_CONTINUES = "once it can, the same command continues"


class UserError(Exception):
    """A mistake in what the user asked for; told in one line, exit status 2.

    Example:
        >>> import kpflow_cli as kp
        >>> print(kp.UserError.unknown("dtype", "float46", ["float32", "float64"]))
        dtype=float46: unknown (did you mean 'float64'?); valid: float32, float64
    """

    @classmethod
    def unknown(cls, key: str, value: object, valid: Iterable[str]) -> UserError:
        """``key=value`` is none of the valid choices; names them and the nearest."""
        return cls(
            f"{key}={value}: unknown{nearest(str(value), valid)}; valid: {', '.join(sorted(valid))}"
        )


class InUseError(UserError):
    """A run folder that another process works in."""


class FailedRunError(Exception):
    """Sound input, but the work failed (training diverged, a verification does not hold); told in
    one line, exit status 1.

    Example:
        >>> import kpflow_cli as kp
        >>> raise kp.FailedRunError("training diverged")
        Traceback (most recent call last):
            ...
        kpflow_cli.errors.FailedRunError: training diverged
    """


class DivergedError(FailedRunError):
    """Training whose ``loss`` is not a finite number."""

    def __init__(self, told: str, loss: float = math.nan) -> None:
        super().__init__(told)
        self.loss = loss


class DamagedFileError(UserError):
    """A file that is not as kpflow wrote it."""


class UnwrittenFileError(FailedRunError):
    """A file that the machine did not let be written: a full disk, a lost folder."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"{path}: cannot be written ({reason_of(error)}); {_CONTINUES}")


class LostFolderError(UnwrittenFileError):
    """A run folder that was removed or renamed while a run worked in it."""

    def __init__(self, path: Path) -> None:
        Exception.__init__(
            self,
            f"run_dir={path}: was removed or renamed while the run worked in it; the same command, "
            "with run_dir= the folder's new name if it has one, continues",
        )


def reason_of(error: OSError) -> str:
    """What the operating system said, in words."""
    return error.strerror or (os.strerror(error.errno) if error.errno else str(error))


def describe_machine_error(error: BaseException) -> str | None:
    """The line that tells of a file or memory that the machine did not give; None of any other
    error.
    """
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{reason_of(error)}; {_CONTINUES}"
    told = str(error)
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "allocate memory" in told)
    ):
        asked = told.partition("you tried to allocate ")[2].partition(" bytes")[0]
        size = f" for {int(asked) / 2**30:.3g} GiB" if asked.isdigit() else ""
        return f"not enough memory{size}; smaller sizes need less, and {_CONTINUES}"
    return None


def nearest(word: str, valid: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the closest of the valid words, empty if none is close."""
    close = difflib.get_close_matches(word, list(valid), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
