"""What Hydra composes of overrides, once for each set of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hydra import compose
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from kpflow_cli.config.schema import GROUPS
from kpflow_cli.errors import UserError

# the chosen entry of each group by name, None where none is
Choices = dict[str, str | None]


@dataclass(frozen=True)
class Composition:
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
        self._known: dict[tuple[str, ...], Composition] = {}

    def at(self, point: Sequence[str]) -> Composition:
        """That of a point's overrides."""
        key = tuple(point)
        if key not in self._known:
            self._known[key] = _take_apart(
                compose(self._config_name, list(point), return_hydra_config=True)
            )
        return self._known[key]


def _take_apart(config: DictConfig) -> Composition:
    choices = {group: config.hydra.runtime.choices.get(group) for group in GROUPS}
    params, is_sweep = _params(config), config.hydra.mode == RunMode.MULTIRUN
    with open_dict(config):
        del config["hydra"]
    return Composition(config, choices, params, is_sweep)


def _params(config: DictConfig) -> DictConfig | dict[str, str]:
    """The values that Hydra's own node adds for keys to be swept."""
    sweeper = config.hydra.sweeper
    params = sweeper.get("params") if isinstance(sweeper, DictConfig) else sweeper
    if params is not None and not isinstance(params, DictConfig):
        raise UserError(f"hydra.sweeper={sweeper}: its params map keys to the values to sweep")
    return params or {}
