"""The pages of docs/: every public name is described, links lead to pages."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path, PurePosixPath
from types import ModuleType

import pytest

import kpflow_cli as kp
from kpflow_cli.config.declarations import keys_of
from kpflow_cli.config.schema import Run

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))


def test_the_formulas_are_checked() -> None:
    with_cells = {page.stem for page in PAGES if "\n```{code-cell}\n" in page.read_text()}
    assert with_cells == {"theory", "estimates"}


def test_the_api_page_describes_every_public_name_once() -> None:
    page = (ROOT / "docs" / "api.rst").read_text()
    described = re.findall(r"^\.\. auto\w+:: kpflow_cli\.(\w+)$", page, re.MULTILINE)
    assert sorted(described) == kp.__all__


def test_every_page_is_in_the_contents() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    contents = "\n".join(re.findall(r"```\{toctree\}\n(.*?)```", index, re.DOTALL))
    listed = set(re.findall(r"^(?:.* <)?(\w+)>?$", contents, re.MULTILINE))
    assert listed == {page.stem for page in PAGES if page.stem != "index"} | {"api"}


def _load(name: str) -> ModuleType:
    pytest.importorskip("sphinx", reason="the extra kpflow[docs]")
    path = ROOT / "docs" / "building" / f"{name}.py"
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_tables_of_keys_have_every_key_its_values_and_its_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "building")
    tabulate = _load("configuration_keys")._tabulate
    values = dict.fromkeys(keys_of(Run).declared, 1) | {"device": "cuda", "run_dir": "???"}
    rows = [row.astext().split("\n\n") for row in tabulate("", keys_of(Run), values)[0][-1]]
    assert [row[0] for row in rows] == list(values)
    assert ["dtype", "precision of training and measuring", "float32, float64", "1"] in rows
    assert {row[0]: row[3] for row in rows}["run_dir"] == "to be given"
    missing = tabulate("model.", keys_of(Run), {"seed": 0})
    assert missing.astext().count("the class's own") == len(values) - 1


@pytest.mark.parametrize(
    ("written", "mended"),
    [
        ("[a page](../configs/README.md#sweeps)", "[a page](/configurations.md#sweeps)"),
        ("[another](../docs/reliability.md)", "[another](/reliability.md)"),
        ("[code](../kpflow_cli/task.py)", "code"),
        ("[elsewhere](https://hydra.cc)", "[elsewhere](https://hydra.cc)"),
        ("![drawn](../figures/reference/fig4.png)", "![drawn](../figures/reference/fig4.png)"),
    ],
)
def test_links_lead_to_pages(written: str, mended: str) -> None:
    assert _load("repository_links").mend_links(written, PurePosixPath("tasks")) == mended


@pytest.mark.parametrize(
    ("written", "escaped"),
    [
        ("P K P^* and ||A||_F", r"P K P^\* and \|\|A\|\|_F"),
        ("``P^*`` stays, trial_ not", r"``P^*`` stays, trial\_ not"),
        (">>> 2 * 3\n6\n\na * b", ">>> 2 * 3\n6\n\na \\* b"),
    ],
)
def test_docstrings_are_no_markup(written: str, escaped: str) -> None:
    assert _load("docstrings").escape(written) == escaped
