"""Any damage to any file of a run: the same command ends with the same bytes or says in a line why
not, and no table is made of what is damaged.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from injection import run_forked
from scenarios import TINY, tables_below
from tally import Tally

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]
FLIPS = 12


def _truncations(content: bytes, _other: bytes) -> Iterator[bytes]:
    for length in {0, 1, len(content) // 3, len(content) // 2, len(content) - 1}:
        yield content[:length]


def _flips(content: bytes, _other: bytes) -> Iterator[bytes]:
    places = random.Random(len(content))
    for _ in range(FLIPS if content else 0):
        changed = bytearray(content)
        changed[places.randrange(len(content))] ^= 1 << places.randrange(8)
        yield bytes(changed)


def _swaps(_content: bytes, other: bytes) -> Iterator[bytes]:
    yield other


def _additions(content: bytes, _other: bytes) -> Iterator[bytes]:
    yield content + b"\n"
    yield content + content


DAMAGES: dict[str, Callable[[bytes, bytes], Iterator[bytes | None]]] = {
    "truncation": _truncations,
    "bit flip": _flips,
    "another run's file": _swaps,
    "another file": _swaps,
    "addition": _additions,
    "deletion": lambda _content, _other: iter([None]),
}


@pytest.mark.parametrize("interrupted", [False, True], ids=["complete", "interrupted"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_files(damage: str, interrupted: bool, complete: tuple[Path, Path], tmp_path: Path) -> None:
    sound, other = complete
    expected = tables_below(sound)
    table = run_forked(["table", "a", "output=sound.csv"], sound.parent)
    assert table.status == 0
    sound_table = (sound.parent / "sound.csv").read_bytes()
    state = "an interrupted" if interrupted else "a complete"
    tally = Tally(f"damage to files of {state} run", damage)
    names = sorted(str(each.relative_to(sound)) for each in sound.rglob("*") if each.is_file())
    for name, neighbour in zip(names, names[1:] + names[:1], strict=True):
        there = sound / neighbour if damage == "another file" else other / name
        contents = DAMAGES[damage]((sound / name).read_bytes(), there.read_bytes())
        for number, content in enumerate(contents):
            where = f"{name} ({number})"
            place = tmp_path / "place"
            shutil.copytree(sound, place / "a")
            if interrupted and name != "run.json":
                (place / "a" / "run.json").unlink()
            path = place / "a" / name
            path.unlink() if content is None else path.write_bytes(content)
            before = run_forked(["table", "a", "output=table.csv"], place)
            is_wrong = before.status == 0 and (place / "table.csv").read_bytes() != sound_table
            (place / "table.csv").unlink(missing_ok=True)
            again = run_forked(["run", *TINY, "seed=0", "run_dir=a"], place)
            wrongs = before.wrongs() + ["believed by table"] * is_wrong
            if again.status == 0:
                wrongs += ["silently wrong"] * (tables_below(place / "a") != expected)
            tally.judge(again, where, lost=False) if not wrongs else tally.add("", where, wrongs)
            shutil.rmtree(place)
    tally.close()


def _obstacles() -> dict[str, Callable[[Path], object]]:
    def lock_is_folder(path: Path) -> None:
        (path / ".lock").mkdir(parents=True)

    return {
        "a file in its place": lambda path: path.touch(),
        "a link to itself in its place": lambda path: path.symlink_to(path),
        "a dangling link in its place": lambda path: path.symlink_to(path.with_name("nowhere")),
        "a folder called .lock": lock_is_folder,
        "a folder called config.yaml": lambda path: (path / "config.yaml").mkdir(parents=True),
        "a folder called run.json": lambda path: (path / "run.json").mkdir(parents=True),
        "a folder called SHA256SUMS": lambda path: (path / "SHA256SUMS").mkdir(parents=True),
        "a file called checkpoints": lambda path: (path.mkdir(), (path / "checkpoints").touch()),
        "a folder called training.csv": lambda path: (path / "training.csv").mkdir(parents=True),
        "files of something else": lambda path: (path.mkdir(), (path / "thesis.tex").touch()),
    }


@pytest.mark.parametrize("obstacle", _obstacles())
def test_obstacles(obstacle: str, tmp_path: Path) -> None:
    """A run and a sweep on a folder that they cannot use end, with a line."""
    tally = Tally("folders that cannot be used", obstacle)
    words = ["run", *TINY, "run_dir=a"]
    _obstacles()[obstacle](tmp_path / "a")
    tally.judge(run_forked(words, tmp_path), "a run", lost=False)
    sweep = ["run", "-m", *TINY, "seed=0,1", "run_dir=sweep"]
    done = run_forked(sweep, tmp_path)
    assert done.status == 0
    point = next(each for each in (tmp_path / "sweep").iterdir() if each.name != "sweeps")
    shutil.rmtree(point)
    _obstacles()[obstacle](point)
    tally.judge(run_forked(sweep, tmp_path, timeout=40), "a point of a sweep", lost=False)
    tally.close()
