"""Sweep files: which runs belong together, under a name that tells whether that is still so."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpflow_cli.errors import UserError
from kpflow_cli.sweeps.points import SweepPoint
from kpflow_cli.sweeps.sweep_file import read_sweep, sweep_path, write_sweep


@pytest.fixture
def points(tmp_path: Path) -> list[SweepPoint]:
    return [SweepPoint(f"seed={seed}", {"seed": seed}, tmp_path / f"a{seed}") for seed in range(3)]


def test_a_sweep_file_gives_back_its_folders(points: list[SweepPoint], tmp_path: Path) -> None:
    write_sweep(points, tmp_path, ["seed=0,1,2"])
    found = read_sweep(sweep_path(points, tmp_path))
    assert [path.resolve() for path in found] == [point.path for point in points]


@pytest.mark.parametrize("damage", ["digit", "half", "another sweep's"])
def test_a_damaged_sweep_file_is_not_read(
    damage: str, points: list[SweepPoint], tmp_path: Path
) -> None:
    write_sweep(points, tmp_path, ["seed=0,1,2"])
    path = sweep_path(points, tmp_path)
    written = path.read_text()
    if damage == "another sweep's":
        write_sweep(points[:2], tmp_path, ["seed=0,1"])
        written = sweep_path(points[:2], tmp_path).read_text()
    elif damage == "half":
        written = written[: len(written) // 2]
    else:
        written = written.replace('"a2"', '"a3"').replace("a2", "a3")
    path.write_text(written)
    with pytest.raises(UserError, match=r"no sweep file|not as it was written"):
        read_sweep(path)
