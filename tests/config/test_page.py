"""What configs/README.md shows is there."""

from __future__ import annotations

import re
from pathlib import Path

from page_blocks import find_blocks

from kpflow_cli.config.grid import grid
from kpflow_cli.config.schema import GROUPS

PAGE = (Path(__file__).parents[2] / "configs" / "README.md").read_text()


def test_every_group_is_explained() -> None:
    assert re.findall(r"^\| `([a-z]+)` \|", PAGE, re.MULTILINE) == list(GROUPS)


def test_a_file_can_start_from_another(tmp_path: Path) -> None:
    (block,) = (each for each in find_blocks("configs/README.md") if each.file)
    path = tmp_path / block.file
    path.parent.mkdir(parents=True)
    path.write_text(block.text)
    search = f"hydra.searchpath=[file://{tmp_path / 'conf'}]"
    (point,) = grid([search, f"training={path.stem}"])
    assert point.values["training"]["steps"] == 15000
    assert point.values["training"]["optimizer"] == "sgd"
