"""Who may import whom: data flows from the configuration to the figures and never back."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"kpflow_cli": ROOT / "kpflow_cli"} | {
    f"kpflow_cli.{name}": ROOT / name for name in ("tasks", "figures", "configs")
}

# for each package or module: what it may import of kpflow; the longest matching name counts. Tasks
# and figures are named by the configuration and by the command, never by the engine.
ALLOWED: dict[str, tuple[str, ...]] = {
    # the front door names what it opens on
    "": (
        "config.keys",
        "errors",
        "estimators",
        "measures",
        "models",
        "ntk",
        "operators",
        "recorder",
        "run",
        "task",
        "tracing",
    ),
    "__main__": ("cli",),
    "cli": ("__version__", "errors", "process", "commands", "config.columns"),
    "commands": (
        "attempts",
        "commands",
        "comparison",
        "errors",
        "config",
        "array_files",
        "run.existing_plan",
        "run.finished",
        "run.identity",
        "run.reading",
        "run.runner",
        "run.standing",
        "listing",
        "watching",
        "sweeps.command",
        "sweeps.table",
        "report",
        "reproduction",
        "verification",
        "benchmarks",
        "plotting",
        "tasks",
        "figures",
    ),
    "attempts": ("errors",),
    "errors": (),
    "process": (),
    "durations": (),
    "progress_bar": (),
    "task": (),
    "losses": ("errors", "task"),
    "array_files": ("errors",),
    "named_code": ("errors",),
    # a loop of one's own in place of a command
    "recorder": (
        "config.validation",
        "errors",
        "losses",
        "measures.evaluation",
        "models.existing",
        "plotting.loading",
        "run",
        "task",
    ),
    "weights": ("weights", "errors"),
    "configs": (),
    # algebra knows no network, tracing no NTK, networks no runs
    "operators": ("operators", "errors"),
    "estimators": ("estimators", "operators"),
    "tracing": ("tracing", "errors"),
    "ntk": ("ntk", "tracing", "operators", "errors"),
    "models": ("models", "ntk", "tracing", "config.keys", "errors"),
    "config": ("config", "errors", "named_code"),
    # of a run they know what is logged
    "trackers": ("trackers", "config.keys", "config.paths", "errors"),
    # what tasks and models say of their keys with
    "config.keys": (),
    "measures": (
        "measures",
        "estimators",
        "operators",
        "ntk",
        "models.base",
        "tracing",
        "config.schema",
        "task",
        "errors",
        "losses",
    ),
    "measures.records": (
        "measures.records",
        "errors",
        "losses",
        "estimators",
        "operators",
        "ntk",
        "models",
        "measures.evaluation",
        "task",
    ),
    "run": (
        "run",
        "__version__",
        "durations",
        "progress_bar",
        "errors",
        "losses",
        "config.plugins",
        "config.schema",
        "config.validation",
        "array_files",
        "estimators.estimate",
        "measures",
        "models",
        "named_code",
        "ntk",
        "task",
        "tracing",
        "trackers",
        "weights",
    ),
    # the folder's rooms: what is in it, what it is read by, what it is written by
    "run.layout": (),
    "run.identity": (),
    "run.whole_files": ("errors",),
    "run.manifest": ("run.layout",),
    "run.reading": (
        "errors",
        "run.identity",
        "run.layout",
        "run.manifest",
        "run.whole_files",
    ),
    "run.adding": ("run.layout", "run.manifest", "run.whole_files"),
    "run.seals": ("run.manifest",),
    "run.checkpoints": ("__version__", "errors", "run.identity", "run.seals"),
    "run.ownership": ("errors", "run.identity", "run.layout", "run.manifest", "run.whole_files"),
    "run.standing": ("run.layout", "run.reading"),
    "run.removing": ("errors", "run.layout", "run.ownership"),
    "run.folder": (
        "__version__",
        "errors",
        "run.checkpoints",
        "run.identity",
        "run.layout",
        "run.manifest",
        "run.ownership",
        "run.reading",
        "run.seals",
        "run.whole_files",
    ),
    "run.randomness": (),
    "run.signals": (),
    "run.provenance": ("__version__",),
    "sweeps": (
        "sweeps",
        "config",
        "run",
        "measures",
        "ntk",
        "process",
        "progress_bar",
        "errors",
        "task",
    ),
    # what a folder says, and its end: no run is begun or gone on with
    "listing": (
        "attempts",
        "listing",
        "config.plugins",
        "config.paths",
        "config.validation",
        "durations",
        "errors",
        "run.identity",
        "run.layout",
        "run.reading",
        "run.removing",
        "run.standing",
        "sweeps.sweep_file",
    ),
    "watching": (
        "watching",
        "durations",
        "errors",
        "estimators.estimate",
        "run.layout",
        "run.manifest",
        "run.reading",
        "run.schedule",
        "run.standing",
    ),
    "reproduction": (
        "attempts",
        "reproduction",
        "__version__",
        "config",
        "durations",
        "estimators.estimate",
        "errors",
        "plotting.margin",
        "run.folder",
        "run.manifest",
        "run.reading",
        "run.whole_files",
        "run.provenance",
        "sweeps",
    ),
    "comparison": (
        "comparison",
        "config",
        "errors",
        "estimators.estimate",
        "run.identity",
        "run.layout",
        "run.manifest",
        "run.reading",
        "run.standing",
        "sweeps",
    ),
    "report": (
        "report",
        "__version__",
        "comparison",
        "config",
        "durations",
        "errors",
        "estimators.estimate",
        "plotting",
        "reproduction",
        "run.adding",
        "run.identity",
        "run.layout",
        "run.manifest",
        "run.reading",
        "run.standing",
        "run.summary",
        "run.whole_files",
        "sweeps",
    ),
    "verification": (
        "verification",
        "errors",
        "progress_bar",
        "measures",
        "models",
        "ntk",
        "tracing",
        "run.plan",
    ),
    "benchmarks": (
        "benchmarks",
        "config.keys",
        "config.paths",
        "config.schema",
        "errors",
        "estimators",
        "measures",
        "models",
        "ntk",
        "operators",
        "progress_bar",
        "run.folder",
        "run.identity",
        "run.whole_files",
        "run.provenance",
        "task",
    ),
    "plotting": ("plotting",),
    # plug-ins: named by the configuration and by the commands, never by the engine
    "tasks": ("array_files", "task", "errors", "models.base", "config.keys"),
    # tasks of one family
    "tasks.multitask": ("tasks.memory_pro", "task", "config.keys"),
    "figures": ("figures", "plotting", "reproduction.claims", "estimators.estimate"),
}
ALLOWED = {
    f"kpflow_cli.{rule}".rstrip("."): tuple(f"kpflow_cli.{name}" for name in names)
    for rule, names in ALLOWED.items()
}
HYDRA_USERS = {
    "kpflow_cli.config.combinations",
    "kpflow_cli.config.command_line",
    "kpflow_cli.config.compositions",
    "kpflow_cli.config.grid",
    "kpflow_cli.sweeps.launchers",
}


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
            base = (
                ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
                if node.level
                else ""
            )
            source = ".".join(part for part in (base, node.module) if part)
            names |= {f"{source}.{alias.name}" for alias in node.names}
    return names


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("module", sorted(_modules()))
def test_module_imports_only_what_it_may(module: str) -> None:
    imported = _imports(module, _modules()[module])
    rules = [
        rule
        for rule in ALLOWED
        if module == rule or (rule != "kpflow_cli" and _within(module, rule))
    ]
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
