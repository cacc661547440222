"""Claims as predicates: a measured value with its error against a threshold, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from kpflow_cli.errors import UserError

Verdict = Literal["holds", "fails", "undecided"]

# a verdict is given where this many standard errors do not reach across the threshold
_STANDARD_ERRORS = 2.0


@dataclass(frozen=True)
class Claim:
    """A claim that was put to the test.

    Attributes:
        claim: what ``value`` is, in words.
        value, stderr: as measured; ``stderr`` is 0 for a value that is exact or a worst case.
        threshold: the bound in words, such as ``at most 0.1``.
        reason: why there.
        verdict: ``undecided`` where the error is too large or unknown, or the value could not be measured.
    """

    claim: str
    value: float
    stderr: float
    threshold: str
    reason: str
    verdict: Verdict

    def row(self) -> dict[str, Any]:
        """Its row of a claims file."""
        return {name: getattr(self, name) for name in ("claim", "value", "stderr", "threshold", "verdict")}


def at_least(claim: str, value: float, bound: float, *, stderr: float = 0.0, reason: str) -> Claim:
    """Holds where value >= bound."""
    return Claim(claim, value, stderr, f"at least {bound:g}", reason, _verdict(value - bound, stderr))


def at_most(claim: str, value: float, bound: float, *, stderr: float = 0.0, reason: str) -> Claim:
    """Holds where value <= bound."""
    return Claim(claim, value, stderr, f"at most {bound:g}", reason, _verdict(bound - value, stderr))


def within(claim: str, value: float, centre: float, reach: float, *, stderr: float = 0.0, reason: str) -> Claim:
    """Holds where |value - centre| <= reach."""
    return Claim(claim, value, stderr, f"{centre:g} +- {reach:g}", reason, _verdict(reach - abs(value - centre), stderr))


def _verdict(margin: float, stderr: float) -> Verdict:
    """From how far a value is on the good side of its threshold."""
    if math.isnan(margin) or not math.isfinite(stderr):
        return "undecided"
    if margin >= _STANDARD_ERRORS * stderr:
        return "holds"
    return "fails" if margin < -_STANDARD_ERRORS * stderr else "undecided"


def table(claims: Iterable[Claim]) -> str:
    """The claims as lines of text, each with the reason of its threshold."""
    lines = []
    for claim in claims:
        lines += [
            f"  {claim.verdict:<9}  {claim.claim}: {_shown(claim.value, claim.stderr)}",
            f"  {'':<9}  {claim.threshold}: {claim.reason}",
        ]
    return "\n".join(lines)


def collected(folder: Path) -> str:
    """Every ``fig*_claims.csv`` of a folder as one Markdown table, in the order of the figures' numbers.

    Raises UserError where there is none.
    """
    files = {path.stem.removesuffix("_claims").removeprefix("fig"): path for path in folder.glob("fig*_claims.csv")}
    if not files:
        raise UserError(f"{folder}: holds no fig*_claims.csv; `kpflow figure 3` makes one, in figures/output")
    rows = [["figure", "claim", "value", "threshold", "verdict"], ["---"] * 5]
    for number in sorted(files, key=lambda number: (int("".join(filter(str.isdigit, number))), number)):
        for claim in pd.read_csv(files[number]).to_dict("records"):
            value = _shown(float(claim["value"]), float(claim["stderr"]))
            rows.append([number, claim["claim"], value, claim["threshold"], claim["verdict"]])
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows)


def _shown(value: float, stderr: float) -> str:
    return f"{value:.4g}" + (f" +- {stderr:.2g}" if stderr else "")
