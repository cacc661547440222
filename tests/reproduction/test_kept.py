"""Figures from the numbers that a folder keeps: no run is needed, the numbers stay as they are, and
a file that is missing or damaged is told in a line.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from kpflow_cli.commands.figure import execute
from kpflow_cli.errors import DamagedFileError, FailedRunError, UserError
from kpflow_cli.reproduction.kept import find_kept, read_kept

REFERENCE = Path(__file__).parents[2] / "figures" / "reference"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Keeps figures 9 (compressed) and 3 (not), with the checksums of their tables."""
    place = tmp_path / "kept"
    place.mkdir()
    for name in ("fig9", "fig3"):
        packed = (REFERENCE / f"{name}.csv.gz").read_bytes()
        content = gzip.decompress(packed)
        if name == "fig9":
            (place / f"{name}.csv.gz").write_bytes(packed)
        else:
            (place / f"{name}.csv").write_bytes(content)
        origin = json.loads((REFERENCE / f"{name}.json").read_text())
        origin["sha256"] = {f"{name}.csv": hashlib.sha256(content).hexdigest()}
        (place / f"{name}.json").write_text(json.dumps(origin))
    return place


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_kept_numbers_are_drawn_as_they_are(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, output = contents(folder), tmp_path / "output"
    execute(["9", "--from", str(folder), f"output_dir={output}"])
    assert contents(folder) == before
    assert contents(output).keys() == {
        f"fig9{suffix}" for suffix in (".csv", ".json", ".pdf", ".png", "_claims.csv")
    }
    assert (output / "fig9.csv").read_bytes() == gzip.decompress(before["fig9.csv.gz"])
    pd.testing.assert_frame_equal(
        pd.read_csv(output / "fig9_claims.csv"),
        pd.read_csv(REFERENCE / "fig9_claims.csv"),
        check_dtype=False,
        rtol=1e-12,
    )
    kept, origin = (json.loads((place / "fig9.json").read_text()) for place in (folder, output))
    assert {name: origin[name] for name in kept if name != "sha256"} == {
        name: value for name, value in kept.items() if name != "sha256"
    }
    assert origin["sha256"] == {
        name: hashlib.sha256((output / name).read_bytes()).hexdigest()
        for name in ("fig9.csv", "fig9_claims.csv")
    }
    assert origin["drawn"]["from"] == str(folder)
    made_by = f"fig9, profile paper, kept numbers of commit {kept['commit']}"
    assert made_by.encode() in (output / "fig9.png").read_bytes()
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[-1]) == (made_by, str(output / "fig9.pdf"))
    assert "  holds      overall rank: median over" in "\n".join(lines)


def test_in_the_folder_itself_only_pictures_are_written(folder: Path) -> None:
    before = contents(folder)
    words = [f"output_dir={folder / '..' / folder.name}", "formats=png,svg", "dpi=50"]
    execute(["9", "--from", str(folder), *words])
    after = contents(folder)
    assert after.keys() - before.keys() == {"fig9.svg", "fig9.png"}
    assert {name: after[name] for name in before} == before


def test_without_a_number_all_that_is_kept_is_drawn(folder: Path, tmp_path: Path) -> None:
    assert find_kept(folder) == ["fig3", "fig9"]
    execute(["--from", str(folder), f"output_dir={tmp_path / 'output'}"])
    assert {path.stem for path in (tmp_path / "output").glob("*.pdf")} == {"fig3", "fig9"}


def test_the_figures_beside_one_that_is_not_kept_are_drawn(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        FailedRunError, match=r"^1 of 2 figures were not drawn: fig8: .*keeps no fig8"
    ):
        execute(["8", "9", "--from", str(folder), f"output_dir={tmp_path / 'output'}"])
    assert f"fig8 is not drawn: {folder}: keeps no" in capsys.readouterr().out
    assert (tmp_path / "output" / "fig9.pdf").is_file()


def test_what_is_kept_is_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    execute(["--list", "--from", str(folder)])
    three, nine = capsys.readouterr().out.splitlines()
    made_in = "profile paper, seeds 0-2, commit"
    assert three.startswith(f"  3   {made_in} 5b6b9abe680e: alignment of NTK_S")
    assert nine.startswith(f"  9   {made_in} 165a51681ada: temporal, spatial and overall rank")


def test_neither_torch_nor_hydra_is_loaded(folder: Path, tmp_path: Path) -> None:
    words = ["9", "--from", str(folder), f"output_dir={tmp_path}"]
    code = (
        "import sys; from kpflow_cli.commands.figure import execute; "
        f"execute({words!r}); assert not {{'torch', 'hydra'}} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def _change(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


@pytest.mark.parametrize(
    ("spoil", "name", "message"),
    [
        (lambda folder: None, "fig8", r"keeps no fig8\.csv or fig8\.csv\.gz; there are 3, 9$"),
        (
            lambda folder: (folder / "fig9.json").unlink(),
            "fig9",
            r"fig9\.json: No such file or directory; it says what made the numbers beside it$",
        ),
        (
            lambda folder: shutil.copy(folder / "fig9.csv.gz", folder / "fig3.csv.gz"),
            "fig3",
            r"fig3\.csv: so is fig3\.csv\.gz; which of them is meant\? remove the other$",
        ),
        (
            _change("fig3.csv", lambda content: content.replace(b"0", b"1", 1)),
            "fig3",
            r"fig3\.csv: not as it was written: its checksum is not fig3\.json's$",
        ),
        (
            _change("fig9.csv.gz", lambda content: content[:1000]),
            "fig9",
            r"fig9\.csv\.gz: not as it was written \(",
        ),
        (
            _change("fig9.csv.gz", lambda content: content[:1000] + b"\0" + content[1001:]),
            "fig9",
            r"fig9\.csv\.gz: not as it was written \(",
        ),
        (
            _change("fig9.csv.gz", lambda content: b"a,b\n1,2\n"),
            "fig9",
            r"fig9\.csv\.gz: not as it was written \(",
        ),
        (
            _change("fig9.json", lambda content: content[:20]),
            "fig9",
            r"fig9\.json: not as it was written \(",
        ),
        (
            _change("fig9.json", lambda content: b"[3]"),
            "fig9",
            r"fig9\.json: not as it was written \(no record of a figure\)$",
        ),
    ],
)
def test_what_is_missing_or_damaged_is_told_in_a_line(
    spoil: Callable[[Path], object], name: str, message: str, folder: Path, tmp_path: Path
) -> None:
    spoil(folder)
    with pytest.raises(UserError, match=message) as caught:
        read_kept(folder, name)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, DamagedFileError) == ("not as it was" in message)
    with pytest.raises(UserError, match=message):
        execute([name, "--from", str(folder), f"output_dir={tmp_path / 'output'}"])
    assert not (tmp_path / "output").exists()


def test_a_table_of_something_else_is_told_in_a_line(folder: Path, tmp_path: Path) -> None:
    (folder / "fig9.json").write_text("{}")
    (folder / "fig9.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    with pytest.raises(UserError, match=r"fig9\.csv: does not hold what fig9 shows \(KeyError"):
        execute(["9", "--from", str(folder), f"output_dir={tmp_path / 'output'}"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["3", "--from", "nowhere"], r"^nowhere: no such folder$"),
        (["3", "--from", "{empty}"], r"keeps no figN\.csv or figN\.csv\.gz; `kpflow figure 3`"),
        (["3", "--from"], r"argument --from: expected one argument"),
        (["3", "--frm", "nowhere"], r"no figure '--frm' \(did you mean '--from'\?\)"),
        (
            ["3", "--from", "{empty}", "seed=1"],
            r"^seed=1: is said of runs.*valid.*: output_dir=, formats=, dpi=, palette=$",
        ),
        (["3", "--from", "{empty}", "profile=paper"], r"^profile=paper: is said of runs"),
        (["3", "--from", "{empty}", "formats=pgn"], r"^formats=pgn: unknown .*pdf, png, svg$"),
        (["3", "--from", "{empty}", "dpi=3"], r"dpi=3: .*at least 20"),
        (["3", "--from", "{empty}", "--estimate"], r"^--estimate tells what runs would take"),
    ],
)
def test_mistakes_are_explained(words: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        execute([word.format(empty=tmp_path / "empty") for word in words])
