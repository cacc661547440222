"""The wheel alone: what is in it, and that its commands and types work where no checkout is.

Its dependencies are those of the environment that runs the tests, seen through a line in a ``.pth``
file; kpflow itself is the wheel's.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email import message_from_string
from pathlib import Path

import pandas as pd
import pytest
from html_pages import check_page, table_rows
from small_runs import SMALL, TABLES

from kpflow_cli import __version__, cli

ROOT = Path(__file__).parents[2]
# folders of the source tree by the package that each becomes
FOLDERS = {"kpflow_cli": "kpflow_cli"} | {
    name: f"kpflow_cli/{name}" for name in ("tasks", "figures", "configs")
}
# what a build takes of a checkout
TEXTS = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff")
# what of these folders is no part of a package
LEFT_OUT = ("__pycache__", "output", "reference", "README.md")
DIST_INFO = f"kpflow-{__version__}.dist-info"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel that was built from the sdist beside it, as ``python -m build`` does
    it, without a network.
    """
    source = tmp_path_factory.mktemp("source")
    for name in (*FOLDERS, *TEXTS, "tests"):
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "output", "reference")
            shutil.copytree(ROOT / name, source / name, ignore=ignored, symlinks=True)
        else:
            shutil.copy(ROOT / name, source)
    out = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source, cwd=out)
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of an environment in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False)
    scripts = Path(sysconfig.get_path("scripts", vars={"base": str(folder)}))
    python = scripts / "python"
    _run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index"),
        *("--no-deps", wheel),
        cwd=folder,
    )
    site = _run(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder
    ).strip()
    # a plain path: the .pth files of that folder, an editable kpflow's among them, are not read
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return scripts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder that is no checkout."""
    return tmp_path_factory.mktemp("empty")


def test_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        licence = archive.read(f"{DIST_INFO}/licenses/LICENSE")
    held = {name for name in names if not name.startswith(DIST_INFO)}
    assert held == {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, package in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not any(part in LEFT_OUT for part in path.relative_to(ROOT).parts)
    }
    assert "kpflow_cli/py.typed" in held
    assert licence == (ROOT / "LICENSE").read_bytes()


def test_sdist_holds_what_the_wheel_is_made_of_and_no_tests(built: Path, wheel: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {member.name.partition("/")[2] for member in archive if member.isfile()}
    folders = {package: folder for folder, package in FOLDERS.items()}
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not name.startswith(DIST_INFO):
                package = max((each for each in folders if name.startswith(f"{each}/")), key=len)
                assert folders[package] + name.removeprefix(package) in held
    assert set(TEXTS) <= held
    assert not any(name.startswith("tests/") for name in held)


def test_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = message_from_string(archive.read(f"{DIST_INFO}/METADATA").decode())
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert "Typing :: Typed" in metadata.get_all("Classifier")


def test_kpflow_is_the_wheels(installed: Path, folder: Path) -> None:
    where = _run(
        installed / "python",
        "-c",
        "import importlib.metadata as m, kpflow_cli, kpflow_cli.tasks, kpflow_cli.configs\n"
        "for each in (kpflow_cli, kpflow_cli.tasks, kpflow_cli.configs): print(each.__file__)\n"
        "print(m.distribution('kpflow').locate_file(''))",
        cwd=folder,
    )
    assert all(Path(line).is_relative_to(installed.parent) for line in where.splitlines())
    assert _run(installed / "kpflow", "--version", cwd=folder) == f"kpflow {__version__}\n"


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_its_help(command: str, installed: Path, folder: Path) -> None:
    shown = _run(installed / "kpflow", command, "--help", cwd=folder)
    assert shown.startswith(f"usage: kpflow {command}")


def test_run(installed: Path, folder: Path) -> None:
    done = _run(installed / "kpflow", "run", *SMALL, "run_dir=one", cwd=folder)
    assert done.splitlines()[-1] == "one"
    assert {path.stem for path in (folder / "one").glob("*.csv")} == set(TABLES)
    assert list((folder / "one" / "plots").glob("*.png"))
    assert _run(installed / "kpflow", "report", "one", cwd=folder) == "one/report.html\n"
    check_page((folder / "one" / "report.html").read_text())


def test_sweep(installed: Path, folder: Path) -> None:
    done = _run(
        *(installed / "kpflow", "run", "-m", *SMALL, "model=rnn,lstm", "training.steps=1"),
        cwd=folder,
    )
    sweep = done.splitlines()[-1]
    _run(installed / "kpflow", "table", sweep, "output=table.csv", cwd=folder)
    assert pd.read_csv(folder / "table.csv")["run"].nunique() == 2
    page = _run(installed / "kpflow", "report", sweep, cwd=folder).splitlines()[-1]
    assert len(table_rows(check_page((folder / page).read_text()), "runs-table")) == 2
    compared = _run(installed / "kpflow", "compare", sweep, "output=c.html", cwd=folder)
    assert compared.splitlines()[-1] == "c.html"
    check_page((folder / "c.html").read_text())
    assert len(_run(installed / "kpflow", "runs", "--csv", cwd=folder).splitlines()) == 3


def test_verify(installed: Path, folder: Path) -> None:
    _run(installed / "kpflow", "verify", "model=rnn", cwd=folder)


def test_figure(installed: Path, folder: Path) -> None:
    _run(installed / "kpflow", "figure", "7", cwd=folder)
    made = {path.name for path in (folder / "figures" / "output").iterdir()}
    assert {"fig7.png", "fig7.pdf", "fig7.csv", "fig7_claims.csv", "fig7.json"} <= made
    assert "\n| 7 |" in _run(installed / "kpflow", "claims", cwd=folder)


def test_a_type_checker_sees_the_types(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "three_lines.py").write_text(
        "import kpflow_cli as kp\n"
        "reveal_type(kp.trace(kp.load_run('folder').ntk(0)).value)\n"
        "steps: str = kp.geometric(10, 3)\n"
    )
    # the libraries' own types take minutes to read
    skipped = "[mypy-torch.*,numpy.*,pandas.*,matplotlib.*]\nfollow_imports = skip\n"
    (tmp_path / "mypy.ini").write_text(f"[mypy]\n{skipped}follow_imports_for_stubs = true\n")
    checked = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict"),
            *("--python-executable", installed / "python", "three_lines.py"),
        ],
        cwd=tmp_path,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    told = re.findall(r"^three_lines\.py:(\d): (?:note|error): (.*)$", checked.stdout, re.MULTILINE)
    assert [(line, text.partition("  [")[0]) for line, text in told] == [
        ("2", 'Revealed type is "float"'),
        (
            "3",
            'Incompatible types in assignment (expression has type "tuple[int, ...]", variable '
            'has type "str")',
        ),
    ], checked.stdout


def _environment() -> dict[str, str]:
    """No path of this process, and one thread of torch's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"OMP_NUM_THREADS": "1"}


def _run(*words: str | Path, cwd: Path) -> str:
    """What a program prints. Fails with its last lines of both streams."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout
