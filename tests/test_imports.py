"""Who may import whom: data flows from the configuration to the figures and never back."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"kpflow_cli": ROOT / "kpflow_cli"} | {f"kpflow_cli.{name}": ROOT / name for name in ("tasks", "figures", "configs")}

# for each package or module: what it may import of kpflow; the longest matching name counts. Tasks and figures are named by the
# configuration and by the command, never by the engine.
ALLOWED = {
    "kpflow_cli": (),
    "kpflow_cli.__main__": ("kpflow_cli.cli",),
    "kpflow_cli.cli": (
        "kpflow_cli.__version__",
        "kpflow_cli.errors",
        "kpflow_cli.configuration",
        "kpflow_cli.claims",
        "kpflow_cli.figure_command",
        "kpflow_cli.store",
        "kpflow_cli.runner",
        "kpflow_cli.sweeps",
        "kpflow_cli.validation",
        "kpflow_cli.verification",
        "kpflow_cli.benchmarks",
        "kpflow_cli.tasks",
        "kpflow_cli.figures",
    ),
    "kpflow_cli.configuration": ("kpflow_cli.errors", "kpflow_cli.schema", "kpflow_cli.validation"),
    "kpflow_cli.sweeps": (
        "kpflow_cli.sweeps",
        "kpflow_cli.configuration",
        "kpflow_cli.errors",
        "kpflow_cli.measurements",
        "kpflow_cli.operators",
        "kpflow_cli.plan",
        "kpflow_cli.provenance",
        "kpflow_cli.runner",
        "kpflow_cli.schema",
        "kpflow_cli.store",
        "kpflow_cli.validation",
    ),
    "kpflow_cli.runner": (
        "kpflow_cli.errors",
        "kpflow_cli.signals",
        "kpflow_cli.plan",
        "kpflow_cli.measured",
        "kpflow_cli.measurements",
        "kpflow_cli.operators",
        "kpflow_cli.records",
        "kpflow_cli.tables",
        "kpflow_cli.store",
        "kpflow_cli.progress",
        "kpflow_cli.provenance",
        "kpflow_cli.validation",
    ),
    "kpflow_cli.plan": (
        "kpflow_cli.errors",
        "kpflow_cli.measured",
        "kpflow_cli.models.sites",
        "kpflow_cli.models.tracing",
        "kpflow_cli.operators",
        "kpflow_cli.randomness",
        "kpflow_cli.records",
        "kpflow_cli.task",
        "kpflow_cli.training",
        "kpflow_cli.validation",
    ),
    "kpflow_cli.progress": ("kpflow_cli.estimators.estimate", "kpflow_cli.measured"),
    "kpflow_cli.verification": (
        "kpflow_cli.errors",
        "kpflow_cli.measurements",
        "kpflow_cli.models.attention",
        "kpflow_cli.models.sites",
        "kpflow_cli.models.tracing",
        "kpflow_cli.models.watched_module",
        "kpflow_cli.operators",
        "kpflow_cli.plan",
    ),
    "kpflow_cli.benchmarks": (
        "kpflow_cli.benchmarks",
        "kpflow_cli.errors",
        "kpflow_cli.estimators",
        "kpflow_cli.measured",
        "kpflow_cli.measurements",
        "kpflow_cli.models",
        "kpflow_cli.operators",
        "kpflow_cli.provenance",
        "kpflow_cli.store",
        "kpflow_cli.task",
    ),
    "kpflow_cli.claims": ("kpflow_cli.errors", "kpflow_cli.estimators.estimate"),
    "kpflow_cli.figure_command": (
        "kpflow_cli.configuration",
        "kpflow_cli.errors",
        "kpflow_cli.figure",
        "kpflow_cli.figure_runs",
        "kpflow_cli.schema",
        "kpflow_cli.store",
    ),
    "kpflow_cli.figure": (
        "kpflow_cli.__version__",
        "kpflow_cli.claims",
        "kpflow_cli.figure_runs",
        "kpflow_cli.provenance",
        "kpflow_cli.store",
    ),
    "kpflow_cli.figure_runs": (
        "kpflow_cli.errors",
        "kpflow_cli.schema",
        "kpflow_cli.store",
        "kpflow_cli.sweeps",
        "kpflow_cli.validation",
    ),
    "kpflow_cli.configs": (),
    "kpflow_cli.errors": (),
    "kpflow_cli.models": ("kpflow_cli.models", "kpflow_cli.errors"),
    "kpflow_cli.operators": (
        "kpflow_cli.operators",
        "kpflow_cli.models.linearized_pass",
        "kpflow_cli.models.site_mode",
        "kpflow_cli.models.site_rows",
        "kpflow_cli.models.sites",
        "kpflow_cli.models.tracing",
        "kpflow_cli.errors",
    ),
    "kpflow_cli.estimators": (
        "kpflow_cli.estimators",
        "kpflow_cli.operators.base",
        "kpflow_cli.operators.gram",
        "kpflow_cli.operators.reductions",
    ),
    "kpflow_cli.task": (),
    "kpflow_cli.randomness": (),
    "kpflow_cli.training": (
        "kpflow_cli.models.sites",
        "kpflow_cli.models.tracing",
        "kpflow_cli.models.watched_module",
        "kpflow_cli.task",
        "kpflow_cli.randomness",
        "kpflow_cli.errors",
    ),
    "kpflow_cli.measurements": (
        "kpflow_cli.errors",
        "kpflow_cli.estimators",
        "kpflow_cli.factors",
        "kpflow_cli.measured",
        "kpflow_cli.operators",
    ),
    "kpflow_cli.factors": ("kpflow_cli.estimators", "kpflow_cli.measured", "kpflow_cli.operators"),
    "kpflow_cli.measured": ("kpflow_cli.errors", "kpflow_cli.estimators", "kpflow_cli.operators"),
    "kpflow_cli.records": (
        "kpflow_cli.records",
        "kpflow_cli.estimators",
        "kpflow_cli.operators",
        "kpflow_cli.models",
        "kpflow_cli.task",
        "kpflow_cli.training",
    ),
    "kpflow_cli.tables": ("kpflow_cli.measured",),
    "kpflow_cli.store": ("kpflow_cli.__version__", "kpflow_cli.errors"),
    "kpflow_cli.provenance": ("kpflow_cli.__version__",),
    "kpflow_cli.schema": (),
    "kpflow_cli.signals": (),
    "kpflow_cli.validation": ("kpflow_cli.errors", "kpflow_cli.schema"),
    "kpflow_cli.tasks": ("kpflow_cli.task", "kpflow_cli.errors", "kpflow_cli.models.sites"),
    "kpflow_cli.figures": ("kpflow_cli.figures", "kpflow_cli.claims", "kpflow_cli.estimators.estimate", "kpflow_cli.store"),
}
HYDRA_USERS = {"kpflow_cli.cli", "kpflow_cli.configuration", "kpflow_cli.sweeps.grid", "kpflow_cli.sweeps.launchers"}


def _modules() -> dict[str, Path]:
    found = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


def _imports(module: str, path: Path) -> set[str]:
    """Names of all modules imported anywhere in a file, relative ones made absolute."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            names |= {f"{source}.{alias.name}" for alias in node.names}
    return names


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("module", sorted(_modules()))
def test_module_imports_only_what_it_may(module: str) -> None:
    imported = _imports(module, _modules()[module])
    rules = [rule for rule in ALLOWED if module == rule or (rule != "kpflow_cli" and _within(module, rule))]
    assert rules, f"no rule for {module}"
    allowed = ALLOWED[max(rules, key=len)]
    for name in imported:
        if _within(name, "kpflow_cli"):
            assert any(_within(name, permitted) for permitted in allowed), name
    if module not in HYDRA_USERS:
        assert not any(_within(name, "hydra") for name in imported)


def test_rules_speak_of_modules_that_exist() -> None:
    modules = _modules()
    assert all(rule in modules for rule in ALLOWED)
    assert modules.keys() >= HYDRA_USERS
