"""``import kpflow_cli as kp``: every name is there, loads late, and has an example that runs."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_runs import small_config

import kpflow_cli as kp
from kpflow_cli.run.runner import run

PACKAGES = [
    "kpflow_cli",
    *(found.name for found in pkgutil.walk_packages(kp.__path__, "kpflow_cli.") if found.ispkg),
]


@pytest.mark.parametrize("name", PACKAGES)
def test_every_name_that_a_package_offers_is_there(name: str) -> None:
    module = importlib.import_module(name)
    assert [each for each in getattr(module, "__all__", []) if not hasattr(module, each)] == []


@pytest.fixture(scope="module")
def example_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run in ``runs/example``."""
    folder = tmp_path_factory.mktemp("front_door")
    config = small_config("training.steps=2", "analysis.records=[]")
    run(config, folder / "runs" / "example", plots={})
    return folder


@pytest.mark.parametrize("name", kp.__all__)
def test_every_name_has_an_example_that_runs(
    name: str, example_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(example_run)
    torch.manual_seed(0)
    finder = doctest.DocTestFinder(recurse=False)
    (examples,) = finder.find(getattr(kp, name), name, module=False, globs={})
    assert examples.examples
    failures: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples, out=failures.append)
    assert not failures, "".join(failures)


def test_a_saved_run_has_the_network_of_every_step(example_run: Path) -> None:
    saved = kp.load_run(example_run / "runs" / "example")
    rows = saved.tables["measurements"].query("operator == 'k' and quantity == 'trace'")
    for step, value in zip(rows["step"], rows["value"], strict=True):
        assert kp.trace(saved.ntk(step).parameter_operator).value == pytest.approx(value, rel=1e-5)
    assert rows["value"].nunique() == len(saved.steps) == 3


@pytest.mark.parametrize(
    ("folder", "step", "message"),
    [("none", None, "none: no kpflow run there"), ("runs/example", 7, "step=7: unknown.*0, 1, 2")],
)
def test_a_run_or_step_that_is_not_there(
    folder: str, step: int | None, message: str, example_run: Path
) -> None:
    with pytest.raises(kp.UserError, match=message):
        kp.load_run(example_run / folder).ntk(step)


def test_importing_the_package_loads_neither_torch_nor_a_name() -> None:
    program = "import sys, kpflow_cli; assert 'torch' not in sys.modules; kpflow_cli.Estimate"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_type_checkers_see_the_names_that_are_loaded() -> None:
    tree = ast.parse(Path(kp.__file__).read_text())
    seen = {
        f"{node.module}.{alias.name}"
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {f"{module}.{name}" for name, module in kp._MODULES.items()}
    assert sorted(kp._MODULES) == kp.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'efective_rank'"):
        _ = kp.efective_rank
