"""The paper-size figures that are kept: their claims are those of their numbers, and their
README shows them.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from kpflow_cli.reproduction.claims import collect_claims

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "figures" / "reference"
NAMES = sorted(path.name.removesuffix(".csv.gz") for path in REFERENCE.glob("*.csv.gz"))


@pytest.mark.parametrize("name", NAMES)
def test_kept_claims_are_those_of_the_kept_numbers(name: str) -> None:
    data = pd.read_csv(REFERENCE / f"{name}.csv.gz", keep_default_na=False, na_values=[""])
    claims = importlib.import_module(f"kpflow_cli.figures.{name}").claims(data)
    made = pd.DataFrame([claim.row() for claim in claims])
    kept = pd.read_csv(REFERENCE / f"{name}_claims.csv", dtype={"of": str}).fillna({"of": ""})
    pd.testing.assert_frame_equal(made, kept, check_dtype=False, rtol=1e-12)


def test_readme_shows_the_kept_claims() -> None:
    assert NAMES
    assert collect_claims(REFERENCE) in (REFERENCE / "README.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_kept_picture_is_drawn_from_the_kept_numbers(name: str) -> None:
    """A picture of other numbers is stale: `make gallery` draws all anew."""
    content = gzip.decompress((REFERENCE / f"{name}.csv.gz").read_bytes())
    path = REFERENCE / f"{name}.png"
    with Image.open(path) as picture:
        source = picture.text["Comment"]
    assert source == f"{name}.csv, sha256 {hashlib.sha256(content).hexdigest()}"
    assert path.stat().st_size < 150_000


def test_every_kept_picture_has_its_numbers() -> None:
    assert {path.stem for path in REFERENCE.glob("*.png")} <= set(NAMES)
