"""Pictures say what made them, from which table, and in their margin of which size the runs are."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from kpflow_cli.errors import UserError
from kpflow_cli.plotting.style import StyledFigure, lay_out_panels, styled
from kpflow_cli.reproduction.pictures import Output, describe_size, read_formats, save_pictures


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ({"profile": "quick", "seeds": [4]}, "profile quick, seed 4"),
        ({"profile": "paper", "seeds": [0, 1, 2]}, "profile paper, seeds 0-2"),
        ({"profile": "paper", "seeds": [0, 1]}, "profile paper, seeds 0, 1"),
        ({"profile": "paper", "seeds": [0, 1, 3]}, "profile paper, seeds 0, 1, 3"),
        # of before seeds were told
        ({"profile": "quick", "runs": [{"seed": 1}, {"seed": 0}, {"seed": 1}]},
         "profile quick, seeds 0, 1"),
        ({"profile": "plane", "runs": 8800}, "profile plane"),
        ({"profile": "quick", "seeds": [5], "changed": ["model.gain=2", "model.units=9"]},
         "profile quick, seed 5, model.gain=2, model.units=9"),
        ({"profile": "quick", "seeds": [5], "changed": list("abcd")},
         "profile quick, seed 5, 4 keys changed"),
        ({}, "profile unknown"),
    ],
)  # fmt: skip
def test_size_in_words(origin: dict[str, Any], words: str) -> None:
    assert describe_size(origin) == words


@styled
def draw() -> StyledFigure:
    figure, [[panel]] = lay_out_panels(1, 1, panel_size=(2.0, 1.0))
    panel.plot([1, 2])
    return figure


def test_each_format_tells_what_made_it(tmp_path: Path) -> None:
    origin = {"profile": "quick", "seeds": [0], "sha256": {"fig3.csv": "ab12"}}
    output = Output(tmp_path, ("pdf", "png", "svg"), 50)
    written = save_pictures("fig3", draw(), output, "kpflow 9, fig3", origin)
    assert written == [tmp_path / f"fig3.{suffix}" for suffix in output.formats]
    with Image.open(tmp_path / "fig3.png") as picture:
        assert picture.text == {"Software": "kpflow 9, fig3", "Comment": "fig3.csv, sha256 ab12"}
        size = picture.size
    pdf, svg = ((tmp_path / f"fig3.{suffix}").read_bytes() for suffix in ("pdf", "svg"))
    for content in (pdf, svg):
        assert b"kpflow 9, fig3" in content
        assert b"fig3.csv, sha256 ab12" in content
    assert b"profile quick, seed 0" in svg
    # in points; how a part of a pixel is rounded is up to matplotlib
    drawn = [float(ElementTree.fromstring(svg).attrib[side][:-2]) for side in ("width", "height")]
    assert drawn[0] == 144
    assert drawn[1] > 72
    assert size[0] == 100
    assert abs(size[1] - 50 * drawn[1] / 72) <= 1
    # drawn again they are the same files
    save_pictures("fig3", draw(), output, "kpflow 9, fig3", origin)
    assert (tmp_path / "fig3.pdf").read_bytes() == pdf
    assert (tmp_path / "fig3.svg").read_bytes() == svg


def test_a_palette_keeps_picture_and_texts(tmp_path: Path) -> None:
    origin = {"profile": "quick", "seeds": [0], "sha256": {"fig3.csv": "ab12"}}
    pictures = []
    for palette in (False, True):
        output = Output(tmp_path, ("png",), 100, palette)
        [path] = save_pictures("fig3", draw(), output, "kpflow 9, fig3", origin)
        with Image.open(path) as picture:
            assert picture.mode == ("P" if palette else "RGBA")
            pictures.append((picture.text, np.asarray(picture.convert("RGB"), float)))
    (texts, whole), (kept_texts, reduced) = pictures
    assert kept_texts == texts
    assert len(texts) == 2
    assert np.abs(whole - reduced).mean() < 1


def test_formats() -> None:
    assert read_formats("svg, pdf,svg") == ("svg", "pdf")
    with pytest.raises(UserError, match=r"^formats=pgn: unknown \(did you mean 'png'\?\); valid"):
        read_formats("pgn")
