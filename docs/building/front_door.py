"""The API as its users see it: each name of ``kpflow_cli`` is described once, on the page api, by
the name under which it is imported; pages of the modules behind hold what else is theirs.
"""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import kpflow_cli as kp

ROOT = Path(kp.__file__).parent
# rooms and modules that hold more than public names of what a user may want
_OPEN_ROOMS = ("estimators", "operators", "ntk", "measures", "models", "trackers")
_OPEN_MODULES = ("losses", "plotting.style", "reproduction.claims")
_HOMES = {f"{module}.{name}" for name, module in kp._MODULES.items()}


def list_hidden_files() -> list[str]:
    """The files whose modules have no page."""
    return [str(path) for path in sorted(ROOT.rglob("*.py")) if not _has_page(path)]


def _has_page(path: Path) -> bool:
    parts = path.relative_to(ROOT).with_suffix("").parts
    package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if package else parts)
    shown = {module.removeprefix("kpflow_cli.") for module in kp._MODULES.values()}
    shown |= {*_OPEN_MODULES}
    holds_shown = package and any(module.startswith(f"{name}.") for module in shown)
    return not name or parts[0] in _OPEN_ROOMS or name in shown or holds_shown


def _skip(app: Sphinx, kind: str, name: str, described: Any, skip: bool, options: Any) -> bool:
    return skip or name in _HOMES


def _find(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, words: nodes.Element
) -> nodes.Element | None:
    """Where a public name stands that is referred to by its home. What is there in the program and
    has no page of its own, such as torch's classes, is no link; what is not there is a warning.
    """
    if node.get("refdomain") != "py":
        return None
    target, module = node["reftarget"], node.get("py:module")
    name = target.rpartition(".")[2]
    if name in kp.__all__ and target in (name, *_HOMES, f"kpflow_cli.ntk.{name}"):
        return env.get_domain("py").resolve_xref(
            env, node["refdoc"], app.builder, "obj", f"kpflow_cli.{name}", node, words
        )
    return words if _is_there(target) or _is_there(f"{module}.{target}") else None


def _is_there(name: str) -> bool:
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError):
        return False
    return True


def setup(app: Sphinx) -> dict[str, Any]:
    """Choose what has a page, and where references lead."""
    app.connect("autoapi-skip-member", _skip)
    app.connect("missing-reference", _find)
    return {"parallel_read_safe": True}
