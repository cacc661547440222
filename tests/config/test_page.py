"""What configs/README.md shows is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from kpflow_cli.config.grid import grid
from kpflow_cli.config.schema import GROUPS

PAGE = (Path(__file__).parents[2] / "configs" / "README.md").read_text()
# what follows a launcher's key is the launcher's own, and a folder of one's own is not here
RUNS = [
    shlex.split(line, comments=True)[2:]
    for line in re.findall(r"^kpflow (?:run|verify) .*$", PAGE, re.MULTILINE)
    if "hydra/launcher" not in line and "--config-dir" not in line
]


def test_every_group_is_explained() -> None:
    assert re.findall(r"^\| `([a-z]+)` \|", PAGE, re.MULTILINE) == list(GROUPS)


@pytest.mark.parametrize("words", RUNS, ids=" ".join)
def test_runs_compose(words: list[str]) -> None:
    overrides = [word for word in words if "=" in word]
    points = grid(overrides)
    assert (len(points) > 1) == ("-m" in words)


def test_a_file_can_start_from_another(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n# (conf/.*?)\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / block[0]
    path.parent.mkdir(parents=True)
    path.write_text(block[1])
    search = f"hydra.searchpath=[file://{tmp_path / 'conf'}]"
    (point,) = grid([search, f"training={path.stem}"])
    assert point.values["training"]["steps"] == 15000
    assert point.values["training"]["optimizer"] == "sgd"
