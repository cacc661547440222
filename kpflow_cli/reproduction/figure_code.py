"""The code of one figure, and what it leaves of a table: pictures and claims."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from kpflow_cli.errors import UserError
from kpflow_cli.reproduction.claims import Claim
from kpflow_cli.run.whole_files import csv_bytes, write_whole

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
    return pd.read_csv(io.BytesIO(content), keep_default_na=False, na_values=[""])


def claims_bytes(claims: list[Claim]) -> bytes:
    """The content of ``figN_claims.csv``."""
    return csv_bytes(pd.DataFrame([claim.row() for claim in claims]))


def save_pictures(drawing: Drawing, place: Path, made_by: str) -> None:
    """As ``<place>.pdf`` and ``.png``, both of which say what made them."""
    for suffix, metadata in (
        ("pdf", {"Creator": made_by, "CreationDate": None}),
        ("png", {"Software": made_by}),
    ):
        buffer = io.BytesIO()
        drawing.savefig(buffer, format=suffix, metadata=metadata)
        write_whole(place.with_suffix(f".{suffix}"), buffer.getvalue())
