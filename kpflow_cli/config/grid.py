"""From a command line's overrides to the configurations of all its points, thousands in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import hydra
from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from kpflow_cli.config.command_line import explain_errors
from kpflow_cli.config.schema import GROUPS
from kpflow_cli.config.validation import check_values, read_only
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
        first = _combinations(_parser().parse_overrides(overrides))[0]
        return _compose_base(first, config_name)[0]


def compose_point(overrides: list[str], config_name: str) -> GridPoint:
    """The one point that the overrides ask for. Raises UserError for a bad override, a value that
    is not valid, and where they ask for a grid.
    """
    with _composing():
        return _check_point(*_compose_one(overrides, config_name), swept=())


def grid(overrides: list[str], config_name: str = "config") -> list[GridPoint]:
    """Every combination of comma-separated values, and of those that ``hydra.sweeper.params`` of
    the configuration adds for other keys.

    Raises UserError for a bad override or a value that is not valid, of any point.
    """
    with _composing():
        parser = _parser()
        given = parser.parse_overrides(overrides)
        config = compose(config_name, _combinations(given)[0], return_hydra_config=True)
        params = config.hydra.sweeper.get("params") or {}
        # the first of two overrides of one key gives way
        everything = [
            *parser.parse_overrides([f"{key}={values}" for key, values in params.items()]),
            *given,
        ]
        return _compose_points(_combinations(everything), everything, config_name)


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
    return OverridesParser.create(loaded.config_loader)


def _combinations(overrides: list[Override]) -> list[list[str]]:
    return [
        point
        for batch in BasicSweeper.split_arguments(overrides, max_batch_size=None)
        for point in batch
    ]


def _compose_points(
    points: list[list[str]], overrides: list[Override], config_name: str
) -> list[GridPoint]:
    """Hydra composes once for all points that differ in plain values only; these are
    then put in.
    """
    parser = _parser()
    by_key = {override.get_key_element(): override for override in overrides}
    swept = {key for key, override in by_key.items() if override.is_sweep_override()}
    plain: set[str] | None = None
    bases: dict[tuple[str, ...], tuple[DictConfig, Choices]] = {}
    parsed: dict[str, Any] = {}
    found = []
    for point in points:
        if plain is None:
            first, _ = _compose_base(point, config_name)
            plain = {
                key
                for key in swept
                if by_key[key].type is OverrideType.CHANGE and _is_value(first, key)
            }
        keys = [each.partition("=")[0] for each in point]
        structure = tuple(each for each, key in zip(point, keys, strict=True) if key not in plain)
        if structure not in bases:
            # with values, so that Hydra refuses a key that is not there
            bases[structure] = _compose_base(point, config_name)
        config, choices = bases[structure]
        for each, key in zip(point, keys, strict=True):
            if key in plain:
                if each not in parsed:
                    parsed[each] = parser.parse_override(each).value()
                OmegaConf.update(config, key, parsed[each])
        told = tuple(each for each, key in zip(point, keys, strict=True) if key in swept)
        found.append(_check_point(config, choices, told))
    return found


def _compose_one(overrides: list[str], config_name: str) -> tuple[DictConfig, Choices]:
    several = len(_combinations(_parser().parse_overrides(overrides))) > 1
    config = None if several else compose(config_name, overrides, return_hydra_config=True)
    if (
        config is None
        or config.hydra.sweeper.get("params")
        or config.hydra.mode == RunMode.MULTIRUN
    ):
        told = [each for each in overrides if not each.startswith("hydra.searchpath")]
        raise UserError(f"{' '.join(told)}: asks for a grid of runs; `kpflow run -m` makes them")
    return _take_apart(config)


def _compose_base(point: list[str], config_name: str) -> tuple[DictConfig, Choices]:
    return _take_apart(compose(config_name, point, return_hydra_config=True))


def _take_apart(config: DictConfig) -> tuple[DictConfig, Choices]:
    """The configuration without Hydra's part, and what that says of the choices."""
    choices = {group: config.hydra.runtime.choices.get(group) for group in GROUPS}
    with open_dict(config):
        del config["hydra"]
    return config, choices


def _check_point(config: DictConfig, choices: Choices, swept: tuple[str, ...]) -> GridPoint:
    values = check_values(config)
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
