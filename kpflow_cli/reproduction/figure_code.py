"""The code of one figure, and its tables as files."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from kpflow_cli.errors import UserError
from kpflow_cli.reproduction.claims import Claim
from kpflow_cli.run.manifest import checksum
from kpflow_cli.run.whole_files import csv_bytes, read_csv_bytes, write_whole

if TYPE_CHECKING:
    from kpflow_cli.run.folder import Drawing


@dataclass(frozen=True)
class Figure:
    """A figure's code, which knows nothing of configurations and files.

    Attributes:
        name: such as ``fig4``.
        data: from the CSV files of its runs, each stem one table with columns ``run`` and ``seed``,
            to all that is drawn.
        draw, claims: from that table.
    """

    name: str
    data: Callable[[dict[str, pd.DataFrame]], pd.DataFrame]
    draw: Callable[[pd.DataFrame], Drawing]
    claims: Callable[[pd.DataFrame], list[Claim]]


def load_figure(name: str) -> Figure:
    """The code of a figure. Raises UserError where it cannot be imported."""
    try:
        code = importlib.import_module(f"kpflow_cli.figures.{name}")
        return Figure(name, code.data, code.draw, code.claims)
    except Exception as error:
        # matplotlib itself, for one, where it cannot read a configuration of the user's
        raise UserError(f"its code cannot be imported ({error})") from None


def read_figure_table(content: bytes) -> pd.DataFrame:
    """What is drawn, from the content of ``figN.csv``."""
    return read_csv_bytes(content, keep_default_na=False, na_values=[""])


def write_numbers(
    name: str, content: bytes, claims: list[Claim], origin: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """``figN.csv`` of that content, ``figN_claims.csv``, and ``figN.json``: what made them, and
    their checksums. Returns what that says.
    """
    rows = pd.DataFrame([claim.row() for claim in claims])
    contents = {f"{name}.csv": content, f"{name}_claims.csv": csv_bytes(rows)}
    for file_name, each in contents.items():
        write_whole(folder / file_name, each)
    checksums = {file_name: checksum(each) for file_name, each in contents.items()}
    whole = {**origin, "sha256": checksums}
    write_whole(folder / f"{name}.json", (json.dumps(whole, indent=2) + "\n").encode())
    return whole
