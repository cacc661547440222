"""pyproject.toml, constraints.txt and the locks agree: `make lock` writes the locks anew."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCKS = ("torch", "test", "lowest")
# by each extra that includes others: kpflow[optim,joblib]
_INCLUDED = re.compile(r"kpflow\[(.*)\]")


def requirements_of(extra: str) -> dict[str, Requirement]:
    """What kpflow needs with an extra, by name."""
    wanted = [*PROJECT["dependencies"]]
    pending = [extra]
    while pending:
        for line in EXTRAS[pending.pop()]:
            included = _INCLUDED.fullmatch(line)
            if included:
                pending += included[1].split(",")
            else:
                wanted.append(line)
    return {canonicalize_name(each.name): each for each in map(Requirement, wanted)}


def pins(name: str) -> dict[str, str]:
    """Versions by name, of those that every platform installs."""
    lines = (ROOT / name).read_text().splitlines()
    found = (re.match(r"([\w.-]+)==([\w.]+)(?: \\)?$", line) for line in lines)
    return {canonicalize_name(each[1]): each[2] for each in found if each}


def test_constraints_pin_every_dependency_within_its_bounds() -> None:
    pinned = pins("constraints.txt")
    for extra in ("dev", "mutants"):
        for name, requirement in requirements_of(extra).items():
            assert name in pinned, f"constraints.txt lacks {name}"
            assert requirement.specifier.contains(pinned[name]), name


def test_what_the_tests_need_is_locked_at_the_constraints() -> None:
    locked, pinned = pins("locks/test.txt") | pins("locks/torch.txt"), pins("constraints.txt")
    assert locked.keys() >= {
        each for extra in ("test", "docs", "browser") for each in requirements_of(extra)
    }
    assert {name: pinned.get(name) for name in locked} == locked


def test_torch_is_locked_apart_from_what_every_build_of_it_needs() -> None:
    """Builds without a GPU need no CUDA libraries."""
    text = (ROOT / "locks" / "test.txt").read_text()
    assert re.findall(r"^(?:torch|triton|nvidia.*|cuda.*)==", text, re.MULTILINE) == []
    needed = importlib.metadata.requires("torch") or []
    for requirement in map(Requirement, needed):
        if requirement.marker is None:
            assert canonicalize_name(requirement.name) in pins("locks/test.txt")


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    oldest = pins("locks/lowest.txt")
    for name, requirement in requirements_of("test").items():
        (bound,) = (each.version for each in requirement.specifier if each.operator in (">=", "=="))
        assert requirement.specifier.contains(oldest[name])
        assert _numbers(oldest[name]) == _numbers(bound), name


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_file_has_its_hash_and_no_place(name: str) -> None:
    text = (ROOT / "locks" / f"{name}.txt").read_text()
    entries = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]
    assert len(entries) > 20
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    assert "--index" not in text


def test_what_the_code_imports_is_declared() -> None:
    # where an extra is not installed, its names cannot be looked up
    installed = {"vl_convert": ["vl-convert-python"]} | dict(
        importlib.metadata.packages_distributions()
    )
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    for extra in EXTRAS.values():
        declared |= {canonicalize_name(Requirement(line).name) for line in extra}
    # parts of jinja2 and of hydra-submitit-launcher
    declared |= {"markupsafe", "submitit"}
    for folder in ("kpflow_cli", "tasks", "figures"):
        for path in (ROOT / folder).rglob("*.py"):
            for name in _top_level_imports(path) - {"kpflow_cli", *sys.stdlib_module_names}:
                brought_by = installed.get(name, [name])
                assert {canonicalize_name(each) for each in brought_by} & declared, (path, name)


def _top_level_imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _numbers(version: str) -> tuple[int, ...]:
    """1.26 and 1.26.0 are one."""
    found = [int(part) for part in version.split(".")]
    while found and found[-1] == 0:
        found.pop()
    return tuple(found)
