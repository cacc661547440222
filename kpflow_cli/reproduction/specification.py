"""What ``configs/figure`` says of each figure: which runs it is drawn from, at which sizes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib import resources
from typing import cast

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kpflow_cli.errors import UserError


@dataclass
class FigureProfile:
    """How large the runs of a figure are.

    Attributes:
        overrides: for all of its runs.
        runs: for the runs of one name, after all others.
        seeds: each run is made with every one of them.
        minutes: it takes on 2 cores, as measured.
    """

    overrides: list[str] = field(default_factory=list)
    runs: dict[str, list[str]] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [0])
    minutes: float = 0.0


@dataclass
class FigureSpec:
    """``configs/figure/<name>.yaml``: the runs that a figure is drawn from, as overrides of
    config.yaml.

    Attributes:
        shows: what the figure shows, in a line.
        like: name of a figure whose networks it has too: all that is said there holds here, but for
            what is said anew or added.
        overrides: for all of its runs.
        runs: name and further overrides of each; with several values of a key, as many runs of one
            name.
        axes: keys that may have several values; a column each in what the figure is drawn from.
        profiles: by name.
    """

    shows: str = MISSING
    like: str | None = None
    overrides: list[str] = field(default_factory=list)
    runs: dict[str, list[str]] = field(default_factory=dict)
    axes: list[str] = field(default_factory=list)
    profiles: dict[str, FigureProfile] = field(default_factory=dict)


def read_figure_specs() -> dict[str, FigureSpec]:
    """What ``configs/figure`` says of each figure, by name, in the order of their numbers.

    Raises UserError for a key that there is not, a value of another type, and for a figure that is
    like one that is not there.
    """
    folder = resources.files("kpflow_cli.configs") / "figure"
    nodes = {
        entry.name.removesuffix(".yaml"): cast(DictConfig, OmegaConf.create(entry.read_text()))
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    }
    names = sorted(nodes, key=lambda name: (int(re.sub(r"\D", "", name)), name))
    return {name: _read(name, nodes) for name in names}


def _read(name: str, nodes: dict[str, DictConfig]) -> FigureSpec:
    try:
        return cast(FigureSpec, OmegaConf.to_object(_merge(name, nodes)))
    except OmegaConfBaseException as error:
        raise UserError(f"configs/figure/{name}.yaml: {str(error).splitlines()[0]}") from None


def _merge(name: str, nodes: dict[str, DictConfig]) -> DictConfig:
    """What is said of a figure, over what is said of the one that it is like."""
    own = nodes[name]
    like = own.get("like")
    if like is None:
        base = OmegaConf.structured(FigureSpec)
    elif like in nodes:
        base = _merge(like, nodes)
    else:
        raise UserError.unknown(f"configs/figure/{name}.yaml: like", like, nodes)
    return cast(DictConfig, OmegaConf.merge(base, own))
