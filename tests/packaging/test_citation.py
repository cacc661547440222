"""CITATION.cff says of the software what pyproject.toml says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

import kpflow_cli

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_one_version() -> None:
    assert str(CITATION["version"]) == PROJECT["version"] == kpflow_cli.__version__


def test_one_name_licence_and_authors() -> None:
    assert CITATION["title"] == PROJECT["name"]
    assert CITATION["license"] == PROJECT["license"]
    assert [each["name"] for each in CITATION["authors"]] == [
        each["name"] for each in PROJECT["authors"]
    ]
    assert CITATION["authors"][0]["name"] in (ROOT / "LICENSE").read_text()
    assert CITATION["keywords"] == PROJECT["keywords"]


def test_the_paper_is_the_one_that_the_readme_links() -> None:
    (paper,) = CITATION["references"]
    assert f"[*{paper['title']}*]({paper['url']})" in (ROOT / "README.md").read_text()
    assert paper["url"] == PROJECT["urls"]["Paper"]
    assert [each["value"] for each in paper["identifiers"]] == [
        f"arXiv:{paper['url'].rpartition('/')[2]}"
    ]
