"""From a command line's overrides to the configurations of all its points, thousands in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import hydra
from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from kpflow_cli.config.command_line import explained, register_help
from kpflow_cli.config.schema import GROUPS
from kpflow_cli.config.validation import checked_values


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


def grid(overrides: list[str]) -> list[GridPoint]:
    """Every combination of comma-separated values, and of those that ``hydra.sweeper.params`` of
    the configuration adds for other keys.

    Raises UserError for a bad override or a value that is not valid, of any point.
    """
    register_help()
    try:
        with hydra.initialize_config_module("kpflow_cli.configs", version_base="1.3"):
            parser = OverridesParser.create()
            given = parser.parse_overrides(overrides)
            config = compose("config", _combinations(given)[0], return_hydra_config=True)
            params = config.hydra.sweeper.get("params") or {}
            # the first of two overrides of one key gives way
            everything = [
                *parser.parse_overrides([f"{key}={values}" for key, values in params.items()]),
                *given,
            ]
            return _composed(_combinations(everything), everything)
    except (HydraException, OmegaConfBaseException) as error:
        raise explained(error) from None


def _combinations(overrides: list[Override]) -> list[list[str]]:
    return [
        point
        for batch in BasicSweeper.split_arguments(overrides, max_batch_size=None)
        for point in batch
    ]


def _composed(points: list[list[str]], overrides: list[Override]) -> list[GridPoint]:
    """Hydra composes once for all points that differ in plain values only; these are
    then put in.
    """
    parser = OverridesParser.create()
    by_key = {override.get_key_element(): override for override in overrides}
    swept = {key for key, override in by_key.items() if override.is_sweep_override()}
    plain: set[str] | None = None
    bases: dict[tuple[str, ...], tuple[DictConfig, dict[str, str]]] = {}
    parsed: dict[str, Any] = {}
    found = []
    for point in points:
        if plain is None:
            first, _ = _base(point)
            plain = {
                key
                for key in swept
                if by_key[key].type is OverrideType.CHANGE and _is_value(first, key)
            }
        keys = [each.partition("=")[0] for each in point]
        structure = tuple(each for each, key in zip(point, keys, strict=True) if key not in plain)
        if structure not in bases:
            # with values, so that Hydra refuses a key that is not there
            bases[structure] = _base(point)
        config, choices = bases[structure]
        for each, key in zip(point, keys, strict=True):
            if key in plain:
                if each not in parsed:
                    parsed[each] = parser.parse_override(each).value()
                OmegaConf.update(config, key, parsed[each])
        found.append(
            GridPoint(
                checked_values(config),
                choices,
                tuple(each for each, key in zip(point, keys, strict=True) if key in swept),
            )
        )
    return found


def _base(point: list[str]) -> tuple[DictConfig, dict[str, str]]:
    config = compose("config", point, return_hydra_config=True)
    choices = {group: str(config.hydra.runtime.choices[group]) for group in GROUPS}
    with open_dict(config):
        del config["hydra"]
    return config, choices


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
