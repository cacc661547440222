"""Figures drawn again from the numbers that a folder keeps of them: no runs, no training."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kpflow_cli import __version__
from kpflow_cli.attempts import Failure, raise_failures
from kpflow_cli.config.paths import refuse_unwritable
from kpflow_cli.errors import DamagedFileError, UserError, reason_of
from kpflow_cli.reproduction.claims import list_claims
from kpflow_cli.reproduction.figure_code import load_figure, read_figure_table, write_numbers
from kpflow_cli.reproduction.pictures import Output, describe_size, save_pictures
from kpflow_cli.reproduction.specification import FigureSpec
from kpflow_cli.run import provenance
from kpflow_cli.run.manifest import checksum

_TABLE = re.compile(r"(fig\d+[a-z]?)\.csv(?:\.gz)?")


@dataclass(frozen=True)
class KeptNumbers:
    """What a folder keeps of one figure.

    Attributes:
        content: of ``figN.csv``, as it was before it was compressed.
        table: that it holds.
        origin: what made it, the content of ``figN.json``.
    """

    content: bytes
    table: pd.DataFrame
    origin: dict[str, Any]

    @property
    def made_in(self) -> str:
        """Profile and commit of the runs, in words."""
        commit, profile = (self.origin.get(key) or "unknown" for key in ("commit", "profile"))
        return f"profile {profile}, kept numbers of commit {commit}"


def find_kept(folder: Path) -> list[str]:
    """Names of the figures that a folder keeps numbers of, in the order of their numbers.

    Raises UserError for a folder that is none, or that keeps none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = {match[1] for path in folder.iterdir() if (match := _TABLE.fullmatch(path.name))}
    if not found:
        raise UserError(
            f"{folder}: keeps no figN.csv or figN.csv.gz; `kpflow figure 3` writes one, in "
            "figures/output"
        )
    return sorted(found, key=lambda name: (int(re.findall(r"\d+", name)[0]), name))


def read_kept(folder: Path, name: str) -> KeptNumbers:
    """The numbers of a figure and what made them.

    Raises UserError where there are none, and DamagedFileError where a file is not as it was
    written.
    """
    kept = find_kept(folder)
    if name not in kept:
        there = ", ".join(each.removeprefix("fig") for each in kept)
        raise UserError(f"{folder}: keeps no {name}.csv or {name}.csv.gz; there are {there}")
    origin = _read_origin(folder / f"{name}.json")
    path, content = _read_table_file(folder, name)
    written = origin.get("sha256", {}).get(f"{name}.csv", checksum(content))
    if written != checksum(content):
        raise DamagedFileError(f"{path}: not as it was written: its checksum is not {name}.json's")
    try:
        return KeptNumbers(content, read_figure_table(content), origin)
    except ValueError as error:
        raise DamagedFileError(f"{path}: no table ({_first_line(error)})") from None


def _read_origin(path: Path) -> dict[str, Any]:
    try:
        origin = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(
            f"{path}: {reason_of(error)}; it says what made the numbers beside it"
        ) from None
    except ValueError as error:
        raise DamagedFileError(f"{path}: not as it was written ({_first_line(error)})") from None
    if not isinstance(origin, dict) or not isinstance(origin.get("sha256", {}), dict):
        raise DamagedFileError(f"{path}: not as it was written (no record of a figure)")
    return origin


def _read_table_file(folder: Path, name: str) -> tuple[Path, bytes]:
    plain, packed = folder / f"{name}.csv", folder / f"{name}.csv.gz"
    if plain.exists() and packed.exists():
        raise UserError(f"{plain}: so is {packed.name}; which of them is meant? remove the other")
    path = plain if plain.exists() else packed
    try:
        content = path.read_bytes()
        return path, content if path == plain else gzip.decompress(content)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DamagedFileError(f"{path}: not as it was written ({_first_line(error)})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({reason_of(error)})") from None


def list_kept(names: Sequence[str], folder: Path, specs: Mapping[str, FigureSpec]) -> None:
    """Print what a folder keeps of each figure, and what made it; of none in particular of all."""
    for name in names or find_kept(folder):
        origin = read_kept(folder, name).origin
        made_in = f"{describe_size(origin)}, commit {origin.get('commit')!s:.12}"
        shows = specs[name].shows if name in specs else "no figure of this version"
        print(f"  {name.removeprefix('fig'):<3} {made_in}: {shows}")


def redraw_figures(names: Sequence[str], folder: Path, output: Output) -> None:
    """Draw figures from a folder's numbers alone; of none in particular all that it keeps.

    The output gets what making a figure leaves: pictures, numbers, claims and what made them; where
    it is the folder itself, only the pictures. A figure that cannot be drawn is left out, the
    others are drawn: at the end FailedRunError names those that were not and why, or UserError,
    where none could be.
    """
    refuse_unwritable(output.folder, "output_dir")
    names = names or find_kept(folder)
    failures: list[Failure] = []
    for name in names:
        try:
            _redraw(name, folder, output)
        except UserError as error:
            if len(names) == 1:
                raise
            print(f"{name} is not drawn: {error}", flush=True)
            failures.append((name, error))
    raise_failures(failures, len(names), "figures were not drawn")


def _redraw(name: str, folder: Path, output: Output) -> None:
    kept, figure = read_kept(folder, name), load_figure(name)
    try:
        claims, drawing = figure.claims(kept.table), figure.draw(kept.table)
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(
            f"{folder / name}.csv: does not hold what {name} shows "
            f"({type(error).__name__}: {_first_line(error)})"
        ) from None
    output.folder.mkdir(parents=True, exist_ok=True)
    # the table's own checksum, where what made it is older than that
    origin = kept.origin | {"sha256": {f"{name}.csv": checksum(kept.content)}}
    if not output.folder.samefile(folder):
        drawn = {"from": str(folder), "kpflow": __version__, "commit": provenance.commit()}
        origin = write_numbers(
            name, kept.content, claims, kept.origin | {"drawn": drawn}, output.folder
        )
    made_by = f"kpflow {__version__}, {name}, {kept.made_in}"
    written = save_pictures(name, drawing, output, made_by, origin)
    print(f"{name}, {kept.made_in}\n{list_claims(claims)}")
    print(written[0], flush=True)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
