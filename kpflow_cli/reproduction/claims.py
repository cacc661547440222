"""Claims as predicates: a measured value with its error against a threshold, and the verdict."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kpflow_cli.errors import UserError
from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.run.manifest import checksum
from kpflow_cli.run.whole_files import read_csv_bytes

Verdict = Literal["holds", "fails", "undecided", "identity"]

# Student's interval that a verdict is given from
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Claim:
    """A claim that was put to the test.

    Attributes:
        claim: what the value is, in words.
        found: as measured. Its ``num_probes`` are the groups that its error rests on, and its
            ``method`` says of what: probes, seeds, ...; an error that rests on none is a bound.
        threshold: in words, such as ``at most 0.1``.
        reason: why there.
        verdict: ``undecided`` where the 95 % interval reaches across the threshold, or the value or
            its error could not be measured; ``identity`` where mathematics leaves nothing else: a
            check of the program, as no network could make it fail.
    """

    claim: str
    found: Estimate
    threshold: str
    reason: str
    verdict: Verdict

    def row(self) -> dict[str, Any]:
        """Its row of a claims file."""
        found = self.found
        groups = {"groups": found.num_probes, "of": found.method if found.num_probes else ""}
        numbers = {"value": found.value, "stderr": found.standard_error, **groups}
        return {
            "claim": self.claim,
            **numbers,
            "threshold": self.threshold,
            "verdict": self.verdict,
        }


def at_least(
    claim: str, found: Estimate | float, bound: float, *, reason: str, identity: bool = False
) -> Claim:
    """Holds where the value is >= bound."""
    return _judge(claim, found, (bound, math.inf), f"at least {bound:g}", reason, identity)


def at_most(
    claim: str, found: Estimate | float, bound: float, *, reason: str, identity: bool = False
) -> Claim:
    """Holds where the value is <= bound."""
    return _judge(claim, found, (-math.inf, bound), f"at most {bound:g}", reason, identity)


def within(
    claim: str,
    found: Estimate | float,
    centre: float,
    reach: float,
    *,
    reason: str,
    identity: bool = False,
) -> Claim:
    """Holds where |value - centre| <= reach."""
    return _judge(
        claim, found, (centre - reach, centre + reach), f"{centre:g} +- {reach:g}", reason, identity
    )


def _judge(
    claim: str,
    found: Estimate | float,
    good: tuple[float, float],
    threshold: str,
    reason: str,
    identity: bool,
) -> Claim:
    estimate = found if isinstance(found, Estimate) else Estimate(found)
    verdict = _decide(_find_interval(estimate), good)
    return Claim(
        claim,
        estimate,
        threshold,
        reason,
        "identity" if identity and verdict == "holds" else verdict,
    )


def _find_interval(found: Estimate) -> tuple[float, float]:
    """Where the value is: Student's interval at the number of groups; of an error that rests on
    none, a bound, all that it reaches.
    """
    if found.num_probes == 0 and math.isfinite(found.standard_error):
        return found.value - found.standard_error, found.value + found.standard_error
    return found.interval(_CONFIDENCE)


def _decide(interval: tuple[float, float], good: tuple[float, float]) -> Verdict:
    """From where a value is and where it has to be; of NaN nothing is certain."""
    (low, high), (least, most) = interval, good
    if least <= low and high <= most:
        return "holds"
    return "fails" if high < least or low > most else "undecided"


def list_claims(claims: Iterable[Claim]) -> str:
    """The claims as lines of text, each with the reason of its threshold."""
    lines = []
    for claim in claims:
        row = claim.row()
        lines += [
            f"  {claim.verdict:<9}  {claim.claim}: {format_value(row)} ({name_source(row)})",
            f"  {'':<9}  {claim.threshold}: {claim.reason}",
        ]
    return "\n".join(lines)


def collect_claims(folder: Path) -> str:
    """Every ``fig*_claims.csv`` of a folder as one Markdown table, in the order of the figures'
    numbers.

    Raises UserError where there is none, and for one that an earlier version wrote.
    """
    files = {
        path.stem.removesuffix("_claims").removeprefix("fig"): path
        for path in folder.glob("fig[0-9]*_claims.csv")
    }
    if not files:
        raise UserError(
            f"{folder}: holds no fig*_claims.csv; `kpflow figure 3` makes one, in figures/output"
        )
    rows = [["figure", "claim", "value", "error from", "threshold", "verdict"], ["---"] * 6]
    for number in sorted(files, key=lambda name: (int(re.findall(r"\d+", name)[0]), name)):
        try:
            rows += [_row(number, claim) for claim in _read_claims(files[number], number)]
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{files[number]}: no file of claims ({reason})") from None
    return "\n".join(
        "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows
    )


def _row(number: str, claim: dict[Any, Any]) -> list[str]:
    return [
        number,
        claim["claim"],
        format_value(claim),
        name_source(claim),
        claim["threshold"],
        claim["verdict"],
    ]


def _read_claims(path: Path, number: str) -> list[dict[Any, Any]]:
    content = path.read_bytes()
    try:
        written = json.loads(path.with_name(f"fig{number}.json").read_text()).get("sha256", {})
    except (OSError, ValueError, AttributeError):
        written = {}
    if written.get(path.name, checksum(content)) != checksum(content):
        raise UserError(f"{path}: not as it was written; `kpflow figure {number}` writes it again")
    claims = read_csv_bytes(content)
    if "groups" not in claims:
        raise UserError(
            f"{path}: of an earlier version of kpflow; `kpflow figure {number}` makes it anew"
        )
    return claims.to_dict("records")


def format_value(row: Mapping[Any, Any]) -> str:
    """The value of a row of a claims file with its standard error, in words."""
    value, stderr = (float(row[name]) for name in ("value", "stderr"))
    return f"{value:.4g}" + (f" +- {stderr:.2g}" if stderr > 0 else "")


def name_source(row: Mapping[Any, Any]) -> str:
    """What the error of a claim rests on, from its row of a claims file, in words."""
    if row["groups"]:
        return f"{row['groups']} {row['of']}"
    return "exact" if row["stderr"] == 0 else "bound" if row["stderr"] > 0 else "unknown"
