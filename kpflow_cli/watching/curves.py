"""Curves of a line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kpflow_cli.run.schedule import geometric

_BLOCKS, _LETTERS = "▁▂▃▄▅▆▇█", "_.-~=+*#"
# of a value that is no number
_NO_NUMBER = "x"


def can_show_blocks(encoding: str | None) -> bool:
    """Whether a stream of this encoding can show block characters."""
    try:
        _BLOCKS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def draw_curve(values: Sequence[float], width: int, *, blocks: bool) -> str:
    """A character for each value, from the lowest to the highest; of more values than ``width``
    that many, the first, the last, and between them ever sparser, as checkpoints are.
    """
    levels = _BLOCKS if blocks else _LETTERS
    if len(values) > width:
        places = geometric(len(values) - 1, width) if width > 1 else (len(values) - 1,)
        values = [values[place] for place in places]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return _NO_NUMBER * len(values)
    low, high = min(finite), max(finite)

    def level(value: float) -> str:
        if not math.isfinite(value):
            return _NO_NUMBER
        # of values of any size, also where their difference overflows
        share = value / 2 - low / 2
        span = high / 2 - low / 2
        return levels[min(int(share / span * len(levels)), len(levels) - 1) if span else 3]

    return "".join(map(level, values))
