"""From a command line's overrides to the configurations of all its points, thousands in seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from omegaconf import DictConfig, OmegaConf

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
from kpflow_cli.config.compositions import Choices, Composition, Compositions
from kpflow_cli.config.declarations import keys_of
from kpflow_cli.config.plain_values import PointsOfOneStructure
from kpflow_cli.config.schema import Run
from kpflow_cli.config.validation import (
    check_plain,
    check_values,
    read_only,
    with_later_keys,
)
from kpflow_cli.errors import UserError


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
    bases: dict[tuple[str, ...], PointsOfOneStructure] = {}
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
            bases[structure] = PointsOfOneStructure(base)
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


def _compose_one(overrides: list[str], config_name: str) -> Composition:
    axes = list_axes(_parser().parse_overrides(overrides))
    several = any(axis.swept for axis in axes)
    found = None if several else Compositions(config_name).at(overrides)
    if found is None or found.params or found.is_sweep:
        told = [each for each in overrides if not each.startswith("hydra.searchpath")]
        raise UserError(f"{' '.join(told)}: asks for a grid of runs; `kpflow run -m` makes them")
    return found


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
