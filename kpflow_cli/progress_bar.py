"""How work shows how far it is: a bar on a terminal, elsewhere, as in a log file, a line now and
then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

from tqdm import tqdm

# seconds: between lines, and until the first, which can tell by then how long it will take
EVERY, FIRST = 60.0, 10.0
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


class ProgressBar(tqdm):  # type: ignore[misc]
    """tqdm's bar on standard error. Where that is no terminal, whole lines in its place: the first
    after 10 seconds, another a minute later at the soonest, and one at the end, without which
    neither the end nor what came after the last minute would show. A bar that is not to stay where
    it ends (``leave=False``), or shows after a delay only (``delay``), and ends before its first
    line, has none.

    Args:
        in_logs: whether there are lines without a terminal; not of what writes a line of each piece
            of work anyway.
        left: seconds that are left, None where that is not known yet; in place of what the mean
            rate makes of it.
        options: of tqdm.
    """

    disable: bool

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        *,
        in_logs: bool = True,
        left: Callable[[], float | None] | None = None,
        bar_format: str = _BAR,
        **options: Any,
    ) -> None:
        self.on_terminal = sys.stderr.isatty()
        self._left, self._told = left, False
        self._next_line = monotonic() + max(FIRST, options.get("delay", 0.0))
        if left is not None:
            bar_format = bar_format.replace("{remaining}", "{left}")
        if not self.on_terminal:
            # how often a line is due is decided where it is written
            options |= {"mininterval": 0.0, "miniters": 1, "dynamic_ncols": False}
            options["disable"] = options.get("disable", False) or not in_logs
            title = f"{options['desc']}: " if options.get("desc") else ""
            bar_format = bar_format.replace("{l_bar}{bar}|", title + "{percentage:.0f}%")
            bar_format = bar_format.replace(" |{bar}|", "")
        super().__init__(iterable, bar_format=bar_format, **options)

    @property
    def format_dict(self) -> dict[str, Any]:
        """As tqdm's, and ``left``."""
        left = None if self._left is None else self._left()
        told = "?" if left is None else self.format_interval(left)
        return {**super().format_dict, "left": told}

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Show how far it is; without a terminal only where a line is due."""
        if self.on_terminal:
            return bool(super().display(msg, pos))
        if msg != "" and monotonic() >= self._next_line:
            self._write_line()
        return False

    def clear(self, *args: Any, **options: Any) -> None:
        """Make room for a line of something else; lines leave room as they are."""
        if self.on_terminal:
            super().clear(*args, **options)

    def close(self) -> None:
        """Show the end; once."""
        if self.disable or self.on_terminal:
            super().close()
            return
        due = self.leave and self.format_dict["elapsed"] >= self.delay
        if due or self._told:
            self._write_line()
        self.disable = True
        self._decr_instances(self)

    def _write_line(self) -> None:
        self._next_line, self._told = monotonic() + EVERY, True
        print(str(self).strip(), file=self.fp, flush=True)
