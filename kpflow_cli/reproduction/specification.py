"""What ``configs/figure`` says of each figure: which runs it is drawn from, at which sizes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import cast

from omegaconf import MISSING, OmegaConf


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
        like: name of the figure that it shares all else with.
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
    """What ``configs/figure`` says of each figure, by name, in the order of their numbers."""
    folder = resources.files("kpflow_cli.configs") / "figure"
    specs = {}
    for entry in folder.iterdir():
        if entry.name.endswith(".yaml"):
            node = OmegaConf.merge(
                OmegaConf.structured(FigureSpec), OmegaConf.create(entry.read_text())
            )
            specs[entry.name.removesuffix(".yaml")] = cast(FigureSpec, OmegaConf.to_object(node))
    specs = {
        name: replace(specs[spec.like], shows=spec.shows) if spec.like else spec
        for name, spec in specs.items()
    }
    return dict(sorted(specs.items(), key=lambda item: (int(re.sub(r"\D", "", item[0])), item[0])))
