"""Verdicts: on the good side of the threshold, on the bad one, or too uncertain to tell."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from kpflow_cli.claims import Claim, at_least, at_most, collected, table, within
from kpflow_cli.errors import UserError


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


def test_all_claims_of_a_folder_in_one_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no"):
        collected(tmp_path)
    for figure, claim in (("fig10", at_most("|a|", 0.5, 1, reason="")), ("fig4b", at_least("b", 0.25, 1, stderr=0.5, reason=""))):
        pd.DataFrame([claim.row()]).to_csv(tmp_path / f"{figure}_claims.csv", index=False)
    assert collected(tmp_path).splitlines()[2:] == [
        "| 4b | b | 0.25 +- 0.5 | at least 1 | undecided |",
        r"| 10 | \|a\| | 0.5 | at most 1 | holds |",
    ]
