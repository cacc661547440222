"""Classes and functions that a configuration names: ``package.module.Name``, or a Python file and a
name in it, ``path/to/file.py:Name``.
"""

from __future__ import annotations

import importlib.util
import pkgutil
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from kpflow_cli.errors import UserError, nearest


def import_name(written: str, key: str) -> Any:
    """What is of this name. Raises UserError, which begins with ``<key>=``, where there is none."""
    path, _, name = written.rpartition(":")
    if not path.endswith(".py"):
        let_own_modules_be_found()
        try:
            return pkgutil.resolve_name(written)
        except Exception as error:
            # whatever a module of the user's own does when it is imported
            raise UserError(f"{key}={written}: cannot be imported ({error})") from None
    try:
        module = _import_file(Path(path).expanduser().resolve())
    except Exception as error:
        raise UserError(f"{key}={written}: {path} cannot be imported ({error})") from None
    if not hasattr(module, name):
        names = [each for each, value in vars(module).items() if callable(value)]
        raise UserError(
            f"{key}={written}: {path} has no {name}{nearest(name, names)}; it has "
            f"{', '.join(names) or 'nothing that can be called'}"
        )
    return getattr(module, name)


@cache
def _import_file(path: Path) -> ModuleType:
    # its neighbours can be imported from it, as where it is run
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError("no such file")
    module = importlib.util.module_from_spec(spec)
    # under its own name unless that is another's, so that what refers to it by name finds it
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


def let_own_modules_be_found() -> None:
    """Modules in the current folder can be named by a configuration; last, so that they shadow
    nothing.
    """
    current = str(Path.cwd())
    if current not in sys.path:
        sys.path.append(current)
