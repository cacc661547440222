"""Verdicts: on the good side of the threshold, on the bad one, or too uncertain to tell."""

from __future__ import annotations

import math

import pytest

from kpflow_cli.claims import Claim, at_least, at_most, table, within


@pytest.mark.parametrize(
    ("value", "stderr", "verdict"),
    [(2.0, 0.4, "holds"), (2.0, 0.6, "undecided"), (0.5, 0.3, "undecided"), (0.5, 0.2, "fails"), (1.0, 0.0, "holds"), (0.999, 0.0, "fails"),
     (math.nan, 0.0, "undecided"), (9.0, math.nan, "undecided"), (9.0, math.inf, "undecided"), (math.inf, 0.0, "holds")],
)  # fmt: skip
def test_verdict_of_a_lower_bound(value: float, stderr: float, verdict: str) -> None:
    assert at_least("x", value, 1, stderr=stderr, reason="").verdict == verdict
    assert at_most("x", -value, -1, stderr=stderr, reason="").verdict == verdict


@pytest.mark.parametrize(
    ("value", "stderr", "verdict"), [(2.05, 0.0, "holds"), (1.85, 0.0, "fails"), (2.05, 0.1, "undecided"), (3.0, 0.1, "fails")]
)
def test_verdict_of_an_interval(value: float, stderr: float, verdict: str) -> None:
    assert within("x", value, 2, 0.1, stderr=stderr, reason="").verdict == verdict


def test_row_and_text() -> None:
    claim = at_most("loss", 0.25, 0.5, stderr=0.01, reason="half")
    assert claim == Claim("loss", 0.25, 0.01, "at most 0.5", "half", "holds")
    assert list(claim.row()) == ["claim", "value", "stderr", "threshold", "verdict"]
    assert table([claim]).split() == ["holds", "loss:", "0.25", "+-", "0.01", "at", "most", "0.5:", "half"]
