"""From a command line's overrides to the configurations of all its points, thousands in seconds."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import hydra
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from kpflow_cli.config.combinations import (
    Axis,
    first_point,
    force_params,
    list_axes,
    list_points,
    make_parser,
    write_params,
)
from kpflow_cli.config.command_line import explain_errors
from kpflow_cli.config.declarations import keys_of
from kpflow_cli.config.schema import GROUPS, Run
from kpflow_cli.config.validation import (
    check_plain,
    check_values,
    read_only,
    resolve,
    with_later_keys,
)
from kpflow_cli.errors import UserError

# one value that follows one other, of any depth that a person would write
_REFERENCE, _DEEPEST = re.compile(r"\$\{([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\}"), 8

# the chosen entry of each group by name, None where none is
Choices = dict[str, str | None]


@dataclass(frozen=True)
class GridPoint:
    """One configuration.

    Attributes:
        values: its configuration, checked.
        choices: name of the chosen entry of each group, such as ``{"task": "memorypro", ...}``.
        swept: overrides that tell it apart from the other points.
    """

    values: dict[str, Any]
    choices: dict[str, str]
    swept: tuple[str, ...]

    @property
    def config(self) -> DictConfig:
        """Its configuration, read-only."""
        return read_only(self.values)


def compose_config(overrides: list[str], config_name: str) -> DictConfig:
    """The configuration of the first point that the overrides ask for, not checked. Raises
    UserError for a bad override.
    """
    with _composing():
        first = first_point(list_axes(_parser().parse_overrides(overrides)))
        return Compositions(config_name).at(first).config


def compose_point(overrides: list[str], config_name: str) -> GridPoint:
    """The one point that the overrides ask for. Raises UserError for a bad override, a value that
    is not valid, and where they ask for a grid.
    """
    with _composing():
        found = _compose_one(overrides, config_name)
        return _make_point(check_values(found.config), found.choices, swept=())


def compose_one(overrides: list[str], config_name: str) -> DictConfig:
    """The one configuration that the overrides ask for, not checked. Raises UserError for a bad
    override, and where they ask for a grid.
    """
    with _composing():
        return _compose_one(overrides, config_name).config


def grid(
    overrides: list[str],
    config_name: str = "config",
    known: Compositions | None = None,
    *,
    checked: bool = True,
) -> list[GridPoint]:
    """Every combination of comma-separated values, and of those that ``hydra.sweeper.params`` of
    the configuration adds for other keys.

    ``known`` are compositions of grids before, which this one shares. Values that are ``checked``
    are held against the keys of tasks and models, whose classes bring torch with them; those that
    are not are good for whoever counts runs that are there, and of the type of the value that they
    replace. Raises UserError for a bad override or a value that is not valid, of any point, and for
    more points than a sweep has.
    """
    with _composing():
        parser = _parser()
        given = parser.parse_overrides(force_params(overrides))
        composed = known or Compositions(config_name)
        structure = [axis for axis in list_axes(given) if not _may_be_value(axis)]
        params = write_params(composed.at(first_point(structure)).params)
        # the first of two overrides of one key gives way
        axes = list_axes([*parser.parse_overrides(params), *given])
        return _compose_points(axes, composed, checked=checked)


@contextmanager
def _composing() -> Iterator[None]:
    with (
        explain_errors(),
        hydra.initialize_config_module("kpflow_cli.configs", version_base="1.3"),
    ):
        yield


def _params(config: DictConfig) -> DictConfig | dict[str, str]:
    """The values that Hydra's own node adds for keys to be swept."""
    sweeper = config.hydra.sweeper
    params = sweeper.get("params") if isinstance(sweeper, DictConfig) else sweeper
    if params is not None and not isinstance(params, DictConfig):
        raise UserError(f"hydra.sweeper={sweeper}: its params map keys to the values to sweep")
    return params or {}


def _parser() -> OverridesParser:
    """It knows the choices of the groups, which glob() asks for."""
    loaded = GlobalHydra.instance().hydra
    assert loaded is not None
    return make_parser(loaded.config_loader)


def _may_be_value(axis: Axis) -> bool:
    """Whether an override can be one of a plain value, rather than of what is composed: a key of
    the run, or one within a group.
    """
    key = axis.key
    within = "." in key and not key.startswith("hydra.") and "@" not in key and "/" not in key
    return axis.override.type is OverrideType.CHANGE and (within or key in keys_of(Run).declared)


def _compose_points(
    axes: Sequence[Axis], composed: Compositions, *, checked: bool
) -> list[GridPoint]:
    """Hydra composes once for all points that differ in plain values only; these are then put
    in.
    """
    finish = check_plain if checked else with_later_keys
    parser = _parser()
    first = composed.at(first_point([axis for axis in axes if not _may_be_value(axis)])).config
    swept = {axis.key for axis in axes if axis.swept}
    plain = {axis.key for axis in axes if _may_be_value(axis) and _is_value(first, axis.key)}
    bases: dict[tuple[str, ...], _Base] = {}
    parsed: dict[str, Any] = {}
    found = []
    for point in list_points(axes):
        of_axes = list(zip(axes, point, strict=True))
        structure = tuple(each for axis, each in of_axes if axis.key not in plain)
        if structure not in bases:
            base = composed.at(structure)
            if not all(_is_value(base.config, key) for key in plain):
                # with values, so that Hydra refuses a key that is not there
                base = composed.at(point)
            bases[structure] = _Base(base)
        changed = {axis.key: each for axis, each in of_axes if axis.key in plain}
        for each in changed.values():
            if each not in parsed:
                parsed[each] = parser.parse_override(each).value()
        given = {key: parsed[each] for key, each in changed.items()}
        if not checked:
            given = {key: bases[structure].typed(key, value) for key, value in given.items()}
        values = bases[structure].values(given)
        told = tuple(each for axis, each in of_axes if axis.key in swept)
        found.append(_make_point(finish(values), bases[structure].choices, told))
    return found


class _Base:
    """What the points have in common that differ in plain values only."""

    def __init__(self, composition: _Composition) -> None:
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


def _compose_one(overrides: list[str], config_name: str) -> _Composition:
    axes = list_axes(_parser().parse_overrides(overrides))
    several = any(axis.swept for axis in axes)
    found = None if several else Compositions(config_name).at(overrides)
    if found is None or found.params or found.is_sweep:
        told = [each for each in overrides if not each.startswith("hydra.searchpath")]
        raise UserError(f"{' '.join(told)}: asks for a grid of runs; `kpflow run -m` makes them")
    return found


@dataclass(frozen=True)
class _Composition:
    """What Hydra makes of overrides: the configuration without Hydra's own node, and what that says
    of the choices, of keys to be swept, and whether it asks for a sweep.
    """

    config: DictConfig
    choices: Choices
    params: DictConfig | dict[str, str]
    is_sweep: bool


class Compositions:
    """What Hydra has composed, by its overrides: each takes a tenth of a second, and several grids
    share most of them.
    """

    def __init__(self, config_name: str = "config") -> None:
        self._config_name = config_name
        self._known: dict[tuple[str, ...], _Composition] = {}

    def at(self, point: Sequence[str]) -> _Composition:
        """That of a point's overrides."""
        key = tuple(point)
        if key not in self._known:
            self._known[key] = _take_apart(
                compose(self._config_name, list(point), return_hydra_config=True)
            )
        return self._known[key]


def _take_apart(config: DictConfig) -> _Composition:
    choices = {group: config.hydra.runtime.choices.get(group) for group in GROUPS}
    params, is_sweep = _params(config), config.hydra.mode == RunMode.MULTIRUN
    with open_dict(config):
        del config["hydra"]
    return _Composition(config, choices, params, is_sweep)


def _make_point(values: dict[str, Any], choices: Choices, swept: tuple[str, ...]) -> GridPoint:
    for group, name in choices.items():
        if name is None:
            raise UserError(f"{group}: choose one, by its name alone; `kpflow list` names them")
    return GridPoint(values, {group: str(name) for group, name in choices.items()}, swept)


def _is_value(config: DictConfig, key: str) -> bool:
    """Whether a key holds a plain value or a list of them; a group of choices holds more."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return (
        isinstance(node, DictConfig)
        and name in node
        and not OmegaConf.is_dict(node._get_node(name))
    )


def value_at(values: dict[str, Any], key: str) -> Any:
    """The value of a key such as ``model.gain`` in plain values."""
    found: Any = values
    for name in key.split("."):
        found = found[name]
    return found
