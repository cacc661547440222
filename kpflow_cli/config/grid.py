"""From a command line's overrides to the configurations of all its points, thousands in seconds."""

from __future__ import annotations

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
from kpflow_cli.config.schema import GROUPS
from kpflow_cli.config.validation import check_plain, check_values, read_only
from kpflow_cli.errors import UserError

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
        return _Composed(config_name).at(first).config


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


def grid(overrides: list[str], config_name: str = "config") -> list[GridPoint]:
    """Every combination of comma-separated values, and of those that ``hydra.sweeper.params`` of
    the configuration adds for other keys.

    Raises UserError for a bad override or a value that is not valid, of any point, and for more
    points than a sweep has.
    """
    with _composing():
        parser = _parser()
        given = parser.parse_overrides(force_params(overrides))
        composed = _Composed(config_name)
        params = write_params(composed.at(first_point(list_axes(given))).params)
        # the first of two overrides of one key gives way
        axes = list_axes([*parser.parse_overrides(params), *given])
        return _compose_points(axes, composed)


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


def _compose_points(axes: Sequence[Axis], composed: _Composed) -> list[GridPoint]:
    """Hydra composes once for all points that differ in plain values only; these are then put
    in.
    """
    parser = _parser()
    first = composed.at(first_point(axes)).config
    swept = {axis.key for axis in axes if axis.swept}
    plain = {
        axis.key
        for axis in axes
        if axis.swept and axis.override.type is OverrideType.CHANGE and _is_value(first, axis.key)
    }
    bases: dict[tuple[str, ...], _Base] = {}
    parsed: dict[str, Any] = {}
    found = []
    for point in list_points(axes):
        of_axes = list(zip(axes, point, strict=True))
        structure = tuple(each for axis, each in of_axes if axis.key not in plain)
        if structure not in bases:
            # with values, so that Hydra refuses a key that is not there
            bases[structure] = _Base(composed.at(point))
        changed = {axis.key: each for axis, each in of_axes if axis.key in plain}
        for each in changed.values():
            if each not in parsed:
                parsed[each] = parser.parse_override(each).value()
        values = bases[structure].values({key: parsed[each] for key, each in changed.items()})
        told = tuple(each for axis, each in of_axes if axis.key in swept)
        found.append(_make_point(values, bases[structure].choices, told))
    return found


class _Base:
    """What the points have in common that differ in plain values only."""

    def __init__(self, composition: _Composition) -> None:
        self.choices, self._config = composition.choices, composition.config
        self._written: Any = OmegaConf.to_container(self._config)
        self._follows = _interpolates(self._written)

    def values(self, changed: dict[str, Any]) -> dict[str, Any]:
        """The checked values with some of them changed."""
        if self._follows or _interpolates(changed):
            for key, value in changed.items():
                OmegaConf.update(self._config, key, value)
            return check_values(self._config)
        values = dict(self._written)
        for key, value in changed.items():
            *groups, name = key.split(".")
            node = values
            for group in groups:
                node[group] = dict(node[group])
                node = node[group]
            node[name] = value
        return check_plain(values)


def _interpolates(node: object) -> bool:
    """Whether a value follows another, anywhere in plain values."""
    if isinstance(node, dict | list):
        return any(map(_interpolates, node.values() if isinstance(node, dict) else node))
    return isinstance(node, str) and "${" in node


def _compose_one(overrides: list[str], config_name: str) -> _Composition:
    axes = list_axes(_parser().parse_overrides(overrides))
    several = any(axis.swept for axis in axes)
    found = None if several else _Composed(config_name).at(overrides)
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


class _Composed:
    """Compositions by their overrides: each takes a tenth of a second, and a grid's first point is
    asked for several times.
    """

    def __init__(self, config_name: str) -> None:
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
    """Whether a key holds a plain value; a group of choices holds more."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return (
        isinstance(node, DictConfig)
        and name in node
        and not OmegaConf.is_config(node._get_node(name))
    )


def value_at(values: dict[str, Any], key: str) -> Any:
    """The value of a key such as ``model.gain`` in plain values."""
    found: Any = values
    for name in key.split("."):
        found = found[name]
    return found
