"""The configuration groups: their choices, with a line each."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from kpflow_cli.config.schema import GROUPS


def describe_choices(
    groups: Iterable[str] = GROUPS, config_dir: Path | None = None
) -> dict[str, dict[str, str]]:
    """For each group its choices, those in a folder of the user's own included, each with the line
    that describes it: the first comment of its YAML file that is not for Hydra.
    """
    own: list[Traversable] = [config_dir] if config_dir else []
    found = {}
    for group in groups:
        # the program's own choices come first where a name is there twice, as they do for Hydra
        entries = {
            entry.name.removesuffix(".yaml"): entry
            for root in (*own, resources.files("kpflow_cli.configs"))
            if (root / group).is_dir()
            for entry in (root / group).iterdir()
            if entry.name.endswith(".yaml")
        }
        found[group] = {name: _describe(entries[name].read_text()) for name in sorted(entries)}
    return found


def _describe(written: str) -> str:
    comments = [line.lstrip("# ") for line in written.splitlines() if line.startswith("#")]
    return next((line for line in comments if not line.startswith("@package")), "")
