"""What a run's configuration has of its own: the choices that it is nearest to, the keys in which
it departs from them, the command that asks for it.

Read from the YAML files alone: nothing that a configuration names is imported or called.
"""

from __future__ import annotations

import functools
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from omegaconf import OmegaConf

from kpflow_cli.config.plugins import TARGET
from kpflow_cli.config.validation import with_later_keys
from kpflow_cli.run.identity import flatten_keys, same_values

# the groups that tell runs apart
_GROUPS = ("task", "model", "training", "analysis")
# what stands for itself in Hydra's grammar
_PLAIN_WORD = re.compile(r"[A-Za-z_./\-][\w./\-]*")
_FOLLOWS = re.compile(r"\$\{([\w.]+)\}")
_RESERVED = {"null", "true", "false", "nan", "inf", "yes", "no", "on", "off"}


@dataclass(frozen=True)
class ResolvedKey:
    """A key of a run.

    Attributes:
        default: that of the choices, None where they have no such key.
        is_changed: whether it departs from that.
    """

    name: str
    value: Any
    default: Any
    is_changed: bool


@dataclass(frozen=True)
class Explained:
    """A configuration beside the choices that it is nearest to.

    Attributes:
        choices: name of the nearest choice of each group; None where it has a class of the user's
            own, or none.
        keys: all of them, in their order.
        command: asks for the run; empty where no command does.
    """

    choices: dict[str, str | None]
    keys: tuple[ResolvedKey, ...]
    command: str

    @property
    def changed(self) -> list[ResolvedKey]:
        """Those that depart from the choices."""
        return [key for key in self.keys if key.is_changed]


def explain(identity: Mapping[str, Any]) -> Explained:
    """A configuration as run.json and config.yaml hold it: of ``kpflow run``, of ``kpflow measure``
    or of a loop of one's own.
    """
    config = with_later_keys(dict(identity))
    flat = flatten_keys(config)
    is_measured, is_recorded = "weights" in config, "recorded" in config
    base = _read_entry("measure" if is_measured else "config")
    usual = {"analysis": "trained"} if is_measured or is_recorded else _usual_choices()
    choices = {
        group: _nearest(group, config[group], flat, usual.get(group))
        for group in _GROUPS
        if group in config and not ((is_measured or is_recorded) and group == "model")
    }
    defaults = base | {
        group: _read_choice(group, choice) for group, choice in choices.items() if choice
    }
    there = _resolve(defaults, flat)
    keys = tuple(
        ResolvedKey(
            name,
            value,
            there.get(name),
            is_changed=name not in there or not same_values(there[name], value),
        )
        for name, value in flat.items()
    )
    explained = Explained(choices, keys, "")
    if is_recorded or (not is_measured and None in choices.values()):
        return explained
    start = ["kpflow", "measure" if is_measured else "run"]
    start += [f"{group}={name}" for group, name in choices.items() if name != usual.get(group)]
    words = [
        write_override(key.name, key.value, adds=key.name not in there)
        for key in explained.changed
        if not key.name.startswith("sha256.")
    ]
    words += [
        f"~{name}" for name in there if name not in flat and name.partition(".")[0] in choices
    ]
    return Explained(choices, keys, join_words([*start, *words]))


def join_words(words: Iterable[str]) -> str:
    """Words as a shell reads them; those with Hydra's own quotes in double ones, as people write
    them.
    """
    return " ".join(
        f'"{word}"' if "'" in word and not re.search(r'["$`\\!]', word) else shlex.quote(word)
        for word in words
    )


def write_override(name: str, value: Any, *, adds: bool = False) -> str:
    """``name=value`` as Hydra reads it."""
    return f"{'+' if adds else ''}{name}={_write(value)}"


def _write(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_write, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_write(key)}:{_write(each)}" for key, each in value.items()) + "}"
    if not isinstance(value, str):
        return json.dumps(value, default=str)
    if _PLAIN_WORD.fullmatch(value) and value.lower() not in _RESERVED:
        return value
    return "'" + re.sub(r"(\\*)'", r"\1\1\\'", re.sub(r"(\\+)$", r"\1\1", value)) + "'"


def _nearest(
    group: str, node: Mapping[str, Any], config: Mapping[str, Any], usual: str | None
) -> str | None:
    """The choice of a group with the fewest other keys, of those of the same class; of several
    the usual one.
    """
    found: dict[str, int] = {}
    own = flatten_keys(dict(node))
    for name in _list_choices(group):
        choice = _read_choice(group, name)
        if choice.get(TARGET) != node.get(TARGET):
            continue
        there = _resolve(choice, config)
        found[name] = sum(
            key not in there or key not in own or not same_values(there[key], own[key])
            for key in there.keys() | own.keys()
        )
    return min(found, key=lambda name: (found[name], name != usual, name), default=None)


def _resolve(defaults: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults by flat keys; one that follows another key has the value that a configuration, by
    flat keys too, has there.
    """
    return {
        name: config.get(follows[1], value)
        if isinstance(value, str) and (follows := _FOLLOWS.fullmatch(value))
        else value
        for name, value in flatten_keys(dict(defaults)).items()
    }


@functools.cache
def _usual_choices() -> dict[str, str]:
    """The choices of config.yaml."""
    written = _read_yaml("config.yaml")
    return {
        group: choice
        for each in written["defaults"]
        if isinstance(each, dict)
        for group, choice in each.items()
        if group in _GROUPS
    }


def _read_entry(name: str) -> dict[str, Any]:
    """The keys of a configuration outside its groups."""
    return {
        key: value
        for key, value in _read_yaml(f"{name}.yaml").items()
        if key not in ("defaults", "hydra")
    }


@functools.cache
def _list_choices(group: str) -> list[str]:
    folder = resources.files("kpflow_cli.configs") / group
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


@functools.cache
def _read_choice(group: str, name: str) -> dict[str, Any]:
    """A choice with those that it is made of."""
    written = dict(_read_yaml(f"{group}/{name}.yaml"))
    found: dict[str, Any] = {}
    for each in written.pop("defaults", ["_self_"]):
        found |= written if each == "_self_" else _read_choice(group, each)
    return found


@functools.cache
def _read_yaml(path: str) -> dict[str, Any]:
    written = (resources.files("kpflow_cli.configs") / path).read_text("utf-8")
    found: Any = OmegaConf.to_container(OmegaConf.create(written))
    return found or {}
