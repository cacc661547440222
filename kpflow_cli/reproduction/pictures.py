"""The pictures of a figure: files that say what made them, of which size, and from which table."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from kpflow_cli.errors import UserError
from kpflow_cli.run.whole_files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kpflow_cli.run.folder import Drawing

# keys of one's own that are told one by one
_TOLD = 3
# where each format says what made the picture, and from what
_METADATA: dict[str, Callable[[str, str], dict[str, str | None]]] = {
    "pdf": lambda made_by, source: {"Creator": made_by, "Subject": source, "CreationDate": None},
    "png": lambda made_by, source: {"Software": made_by, "Comment": source},
    "svg": lambda made_by, source: {"Creator": made_by, "Description": source, "Date": None},
}


@dataclass(frozen=True)
class Output:
    """Where figures go, and as which pictures.

    Attributes:
        formats: of pdf, png and svg.
        dpi: pixels an inch, of what consists of pixels.
        palette: a PNG has 256 colours, and a third of the size.
    """

    folder: Path
    formats: tuple[str, ...] = ("pdf", "png")
    dpi: int = 200
    palette: bool = False


def read_formats(words: str) -> tuple[str, ...]:
    """Names of formats with commas between, each once. Raises UserError for one that there is
    not.
    """
    names = tuple(dict.fromkeys(name.strip() for name in words.split(",")))
    for name in names:
        if name not in _METADATA:
            raise UserError.unknown("formats", name, _METADATA)
    return names


def save_pictures(
    figure: str, drawing: Drawing, output: Output, made_by: str, origin: Mapping[str, Any]
) -> list[Path]:
    """``figN.pdf``, ...: what made it and the checksum of its table stand in each one's metadata,
    the size of the runs in its margin. Returns the files.

    Args:
        origin: what ``figN.json`` says, with the checksums.
    """
    # matplotlib takes a second: where it is drawn
    from kpflow_cli.plotting.margin import write_in_margin

    table = f"{figure}.csv"
    source = f"{table}, sha256 {origin['sha256'][table]}"
    box = write_in_margin(cast("Figure", drawing), describe_size(origin))
    written = []
    for suffix in output.formats:
        buffer = io.BytesIO()
        metadata = _METADATA[suffix](made_by, source)
        drawing.savefig(buffer, format=suffix, dpi=output.dpi, bbox_inches=box, metadata=metadata)
        content = buffer.getvalue()
        if suffix == "png" and output.palette:
            content = reduce_colours(content)
        written.append(output.folder / f"{figure}.{suffix}")
        write_whole(written[-1], content)
    return written


def reduce_colours(content: bytes) -> bytes:
    """A PNG with the 256 colours that suit it best, and the texts that it had."""
    from PIL import Image
    from PIL.PngImagePlugin import PngImageFile, PngInfo

    picture = PngImageFile(io.BytesIO(content))
    texts = PngInfo()
    for name, text in picture.text.items():
        texts.add_text(name, str(text))
    reduced = picture.convert("RGB").quantize(
        256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
    )
    buffer = io.BytesIO()
    reduced.save(buffer, format="png", optimize=True, pnginfo=texts)
    return buffer.getvalue()


def describe_size(origin: Mapping[str, Any]) -> str:
    """Of which size a figure's runs are, from its ``figN.json``: ``profile paper, seeds 0-2``."""
    runs = origin.get("runs")
    seeds = origin.get("seeds") or sorted(
        {run["seed"] for run in runs} if isinstance(runs, list) else ()
    )
    changed = origin.get("changed", [])
    parts = [f"profile {origin.get('profile', 'unknown')}", _name_seeds(seeds)]
    parts += changed if len(changed) <= _TOLD else [f"{len(changed)} keys changed"]
    return ", ".join(part for part in parts if part)


def _name_seeds(seeds: Iterable[int]) -> str:
    """``seed 4``, ``seeds 0-2``, ``seeds 0, 2, 5``; empty where they are not known."""
    numbers = list(seeds)
    if len(numbers) < 2:
        return f"seed {numbers[0]}" if numbers else ""
    gapless = numbers == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 2
    return "seeds " + (f"{numbers[0]}-{numbers[-1]}" if gapless else ", ".join(map(str, numbers)))
