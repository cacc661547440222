"""What the command line tells in one line instead of a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


def nearest(word: str, valid: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the closest of the valid words, empty if none is close."""
    close = difflib.get_close_matches(word, list(valid), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
