"""Durations in words."""

from __future__ import annotations

import re

_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_WRITTEN = re.compile(r"(\d+(?:\.\d*)?) ?(s|min|h|d)")


def in_words(seconds: float) -> str:
    """A duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.0f} d"


def read_duration(written: str) -> float | None:
    """Seconds of a duration such as ``12 h`` or ``30d``, in the units of ``in_words``; None where
    it is none.
    """
    found = _WRITTEN.fullmatch(written)
    return float(found[1]) * _UNITS[found[2]] if found else None
