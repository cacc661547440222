"""Verdicts: on the good side of the threshold, on the bad one, or too uncertain to tell."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from kpflow_cli.errors import UserError
from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.reproduction.claims import (
    Claim,
    at_least,
    at_most,
    collect_claims,
    list_claims,
    within,
)


@pytest.mark.parametrize(
    ("value", "stderr", "verdict"),
    [(2.0, 0.4, "holds"), (2.0, 0.6, "undecided"), (0.5, 0.3, "undecided"), (0.5, 0.2, "fails"),
     (1.0, 0.0, "holds"), (0.999, 0.0, "fails"),
     (math.nan, 0.0, "undecided"), (9.0, math.nan, "undecided"),
     (9.0, math.inf, "undecided"), (math.inf, 0.0, "holds")],
)  # fmt: skip
def test_verdict_of_a_lower_bound(value: float, stderr: float, verdict: str) -> None:
    assert at_least("x", Estimate(value, stderr, 60), 1, reason="").verdict == verdict
    assert at_most("x", Estimate(-value, stderr, 60), -1, reason="").verdict == verdict


@pytest.mark.parametrize(
    ("value", "stderr", "verdict"),
    [(2.05, 0.0, "holds"), (1.85, 0.0, "fails"), (2.05, 0.1, "undecided"), (3.0, 0.1, "fails")],
)
def test_verdict_of_an_interval(value: float, stderr: float, verdict: str) -> None:
    assert within("x", Estimate(value, stderr, 60), 2, 0.1, reason="").verdict == verdict


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(1.5, "holds"), (2.5, "holds"), (1.5 - 1e-9, "fails"), (2.5 + 1e-9, "fails")],
)
def test_a_plain_number_is_exact(value: float, verdict: str) -> None:
    claim = within("x", value, 2, 0.5, reason="")
    assert (claim.verdict, claim.threshold) == (verdict, "2 +- 0.5")
    assert claim.found == Estimate(value, 0.0, 0, "exact")


@pytest.mark.parametrize("groups", [2, 3, 7, 64])
def test_verdicts_use_students_quantile_at_the_number_of_groups(groups: int) -> None:
    reach = stats.t.ppf(0.975, groups - 1)
    for factor, verdict in ((0.999, "undecided"), (1.001, "holds")):
        assert at_least("x", Estimate(factor * reach, 1.0, groups), 0, reason="").verdict == verdict
        assert at_most("x", Estimate(-factor * reach, 1.0, groups), 0, reason="").verdict == verdict


def test_an_error_that_rests_on_one_group_decides_nothing_and_one_on_none_is_a_bound() -> None:
    assert at_least("x", Estimate(9.0, 1e-9, 1), 1, reason="").verdict == "undecided"
    values = (1.5, 1.4, 0.6, 0.4)
    assert [at_least("x", Estimate(value, 0.5), 1, reason="").verdict for value in values] == [
        "holds", "undecided", "undecided", "fails"
    ]  # fmt: skip


def test_an_identity_holds_as_such_and_fails_as_any_other() -> None:
    assert [
        at_most("x", value, 1, reason="", identity=True).verdict for value in (0.5, 2.0, math.nan)
    ] == [
        "identity",
        "fails",
        "undecided",
    ]


def test_row_and_text() -> None:
    claim = at_most("loss", Estimate(0.25, 0.01, 3, "seeds"), 0.5, reason="half")
    assert claim == Claim("loss", Estimate(0.25, 0.01, 3, "seeds"), "at most 0.5", "half", "holds")
    assert claim.row() == {
        "claim": "loss", "value": 0.25, "stderr": 0.01, "groups": 3, "of": "seeds",
        "threshold": "at most 0.5", "verdict": "holds"
    }  # fmt: skip
    assert list_claims([claim]).split() == [
        "holds",
        "loss:",
        "0.25",
        "+-",
        "0.01",
        "(3",
        "seeds)",
        "at",
        "most",
        "0.5:",
        "half",
    ]


def test_all_claims_of_a_folder_in_one_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no"):
        collect_claims(tmp_path)
    claims = {
        "fig10": [at_most("|a|", 0.5, 1, reason="")],
        "fig4b": [
            at_least("b", Estimate(0.25, 0.5, 9, "probes"), 1, reason=""),
            at_least("c", Estimate(2.0, 0.5), 1, reason=""),
            at_least("d", Estimate(2.0, math.nan), 1, reason=""),
        ],
    }
    for figure, found in claims.items():
        pd.DataFrame([claim.row() for claim in found]).to_csv(
            tmp_path / f"{figure}_claims.csv", index=False
        )
    assert collect_claims(tmp_path).splitlines()[2:] == [
        "| 4b | b | 0.25 +- 0.5 | 9 probes | at least 1 | undecided |",
        "| 4b | c | 2 +- 0.5 | bound | at least 1 | holds |",
        "| 4b | d | 2 | unknown | at least 1 | undecided |",
        r"| 10 | \|a\| | 0.5 | exact | at most 1 | holds |",
    ]


def test_claims_of_an_earlier_version_are_to_be_made_anew(tmp_path: Path) -> None:
    (tmp_path / "fig3_claims.csv").write_text(
        "claim,value,stderr,threshold,verdict\nx,1,0,at least 1,holds\n"
    )
    with pytest.raises(UserError, match="kpflow figure 3"):
        collect_claims(tmp_path)


def test_claims_that_are_not_as_they_were_written_are_not_shown(tmp_path: Path) -> None:
    row = at_least("rank", 3.0, 2.0, reason="the paper").row()
    path = tmp_path / "fig3_claims.csv"
    pd.DataFrame([row]).to_csv(path, index=False)
    known = {"sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}}
    (tmp_path / "fig3.json").write_text(json.dumps(known))
    assert "| 3 | rank | 3 |" in collect_claims(tmp_path)
    path.write_text(path.read_text().replace("3.0", "9.0"))
    with pytest.raises(UserError, match="not as it was written; `kpflow figure 3` writes it"):
        collect_claims(tmp_path)
