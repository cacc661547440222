"""What a run's task and model are called."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from kpflow_cli.config.plugins import TARGET


def name_choices(folder: Path, config: Mapping[str, Any], run_hash: object) -> tuple[str, str]:
    """Names of task and model: those that the folder is under, where it has the place that a run
    is given, else the program's own choices of the same class, else the names of the classes. What
    `kpflow measure` made has the task ``measure``, a loop of one's own ``loop``.

    Args:
        config: keys such as ``model.units``.
        run_hash: of the configuration.
    """
    if "inputs" in config and "weights" in config:
        target = str(config.get("model.target") or "run")
        return "measure", target.replace(":", ".").rpartition(".")[2]
    if "recorded.network" in config:
        return "loop", str(config["recorded.network"])
    there = {"task": folder.parent.parent.name, "model": folder.parent.name}
    own = {group: _choices_of_class(group, config) for group in there}
    if folder.name == run_hash and any(there[group] in own[group] for group in there):
        return there["task"], there["model"]
    task, model = (own[group][0] if own[group] else _class(group, config) for group in there)
    return task, model


def _choices_of_class(group: str, config: Mapping[str, Any]) -> list[str]:
    """Choices of a group that are made by the class of a configuration."""
    own = _own_choices(group)
    inner, outer = (str(config.get(f"{group}.{key}")) for key in ("target", TARGET))
    return own.get(inner) or own.get(outer) or []


def _class(group: str, config: Mapping[str, Any]) -> str:
    return str(config.get(f"{group}.{TARGET}", "-")).rpartition(".")[2]


@functools.cache
def _own_choices(group: str) -> dict[str, list[str]]:
    """The program's choices by the class that they stand for: the one that they hand over to, or
    their own.
    """
    found: dict[str, list[str]] = {}
    for entry in (resources.files("kpflow_cli.configs") / group).iterdir():
        if entry.name.endswith(".yaml"):
            written: Any = OmegaConf.create(entry.read_text("utf-8"))
            missing = OmegaConf.is_missing(written, "target")
            inner = None if missing else written.get("target")
            name = inner or written.get(TARGET)
            found.setdefault(str(name), []).append(entry.name.removesuffix(".yaml"))
    return {name: sorted(choices) for name, choices in found.items()}
