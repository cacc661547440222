"""Points that differ in plain values only: these are put in without Hydra, and what follows them is
followed.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from omegaconf import OmegaConf

from kpflow_cli.config.compositions import Composition
from kpflow_cli.config.validation import resolve

# one value that follows one other, of any depth that a person would write
_REFERENCE, _DEEPEST = re.compile(r"\$\{([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\}"), 8


class PointsOfOneStructure:
    """What the points have in common that differ in plain values only."""

    def __init__(self, composition: Composition) -> None:
        self.choices, self._config = composition.choices, composition.config
        written: Any = OmegaConf.to_container(self._config)
        self._written: dict[str, Any] = written
        self._following = _list_following(written)

    def typed(self, key: str, value: Any) -> Any:
        """A value of the type of the one that it replaces, as far as whole numbers go; of no type
        that would not hold it exactly.
        """
        whole = type(value) is int and abs(value) < 2**53
        return float(value) if whole and isinstance(value_at(self._written, key), float) else value

    def values(self, changed: dict[str, Any]) -> dict[str, Any]:
        """All values with some of them changed."""
        values = dict(self._written)
        copied: dict[str, dict[str, Any]] = {"": values}
        for key, value in changed.items():
            _put(copied, key, value)
        try:
            for key, written in self._following.items():
                if value_at(values, key) == written:
                    _put(copied, key, _follow(values, written))
        except _NotPlainError:
            return self._resolve(changed)
        return self._resolve(changed) if _interpolates(changed) else values

    def _resolve(self, changed: dict[str, Any]) -> dict[str, Any]:
        """The same by OmegaConf, which knows every way in which one value follows others."""
        config = copy.deepcopy(self._config)
        for key, value in changed.items():
            OmegaConf.update(config, key, value)
        return resolve(config)


def _put(copied: dict[str, dict[str, Any]], key: str, value: Any) -> None:
    """Set a value in ``copied[""]``; the groups on the way are copied once, and remembered by their
    keys.
    """
    group, _, name = key.rpartition(".")
    if group not in copied:
        _put(copied, group, dict(value_at(copied[""], group)))
        copied[group] = value_at(copied[""], group)
    copied[group][name] = value


class _NotPlainError(Exception):
    """A value follows others in a way that is left to OmegaConf."""


def _list_following(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Each value that follows others, as it is written, by its key."""
    found: dict[str, Any] = {}
    for name, value in node.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            found |= _list_following(value, f"{key}.")
        elif _interpolates(value):
            found[key] = value
    return found


def _follow(values: dict[str, Any], written: Any, depth: int = 0) -> Any:
    """The plain value that ``${some.key}`` leads to."""
    named = _REFERENCE.fullmatch(written) if isinstance(written, str) else None
    if named is None or depth > _DEEPEST:
        raise _NotPlainError
    try:
        value = value_at(values, named[1])
    except (KeyError, TypeError):
        raise _NotPlainError from None
    if isinstance(value, dict | list):
        raise _NotPlainError
    return _follow(values, value, depth + 1) if _interpolates(value) else value


def _interpolates(node: object) -> bool:
    """Whether a value follows another, anywhere in plain values."""
    if isinstance(node, dict | list):
        return any(map(_interpolates, node.values() if isinstance(node, dict) else node))
    return isinstance(node, str) and "${" in node


def value_at(values: dict[str, Any], key: str) -> Any:
    """The value of a key such as ``model.gain`` in plain values."""
    found: Any = values
    for name in key.split("."):
        found = found[name]
    return found
