"""Curves of a line of text."""

from __future__ import annotations

import math

import pytest

from kpflow_cli.watching.curves import can_show_blocks, draw_curve


@pytest.mark.parametrize(
    ("values", "blocks", "letters"),
    [
        ([], "", ""),
        (range(8), "▁▂▃▄▅▆▇█", "_.-~=+*#"),
        ([8, 1, 8], "█▁█", "#_#"),
        ([-1e-30, 0, 1e-30], "▁▅█", "_=#"),
        ([5], "▄", "~"),
        ([2, 2, 2], "▄▄▄", "~~~"),
        ([1, math.nan, 2, math.inf], "▁x█x", "_x#x"),
        ([math.nan, -math.inf], "xx", "xx"),
        # their difference is beyond what a float holds
        ([-1.7e308, 0, 1.7e308], "▁▅█", "_=#"),
    ],
)
def test_a_character_for_each_value(values: list[float], blocks: str, letters: str) -> None:
    assert draw_curve(list(values), 9, blocks=True) == blocks
    assert draw_curve(list(values), 9, blocks=False) == letters


@pytest.mark.parametrize("width", [1, 2, 7, 50])
def test_many_values(width: int) -> None:
    values = [0.0] * 999 + [1.0]
    drawn = draw_curve(values, width, blocks=True)
    assert len(drawn) == width
    # what is now is shown, and all that came before is not
    assert drawn == "▁" * (width - 1) + ("█" if width > 1 else "▄")
    assert draw_curve(values[::-1], width, blocks=True)[0] == ("█" if width > 1 else "▄")


def test_a_stream_tells_what_it_can_show() -> None:
    assert can_show_blocks("utf-8")
    assert not any(can_show_blocks(name) for name in ("ascii", "latin-1", "nonsense", None))
