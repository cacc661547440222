"""Every block of every page works: commands, code and files that a page shows are run from its top
to its bottom in an empty folder. What cannot be, as its comment says, is read and checked up to the
work that it asks for. A page or block that is new is found by itself.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from dry_commands import leave_work_undone, what_it_tells
from page_blocks import PAGES, ROOT, Block, find_blocks
from small_runs import kpflow, small_config

import kpflow_cli as kp
from kpflow_cli import cli
from kpflow_cli.plotting.run_plots import PLOTS
from kpflow_cli.run.runner import run
from kpflow_cli.sweeps.points import SweepPoint
from kpflow_cli.sweeps.sweep_file import write_sweep

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
MAKEFILE = (ROOT / "Makefile").read_text()
# of the README: installing, all of its jobs, a cluster
CHECKED_ONLY = "README.md"
# a name for what stands for the hash of some run
HASH = "0a1b2c3d"
# for Sphinx: other pages, tests of their own
OF_SPHINX = {
    "{include}",
    "{toctree}",
    "{command-help}",
    "{figure-gallery}",
    "{keys-of}",
    "{figure}",
}
# what a command understood says of a machine and a folder that are not its reader's
ANSWER = re.compile(r"device=cuda: this machine has 0 CUDA devices|none of \d+ runs is status=.*")
_NOT_RUN = re.compile(r"not run: \w.*")
_RUN_BY = re.compile(r"run by (tests/[\w/]+\.py)")


def blocks_of(page: str, *languages: str) -> list[Block]:
    return [block for block in find_blocks(page) if block.language in languages]


def is_run(block: Block) -> bool:
    return not block.note and not (block.page == CHECKED_ONLY and block.language == "sh")


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_kind_that_is_tested(page: str) -> None:
    for block in find_blocks(page):
        assert block.language in {"sh", "python", "yaml", "{code-cell}", *OF_SPHINX}, block.place
        if block.language == "yaml" and not block.note:
            assert block.file, f"{block.place}: a line `path/to/file.yaml`: before it names it"
        if _RUN_BY.fullmatch(block.note):
            assert (ROOT / block.note.removeprefix("run by ")).exists(), block.place
        else:
            assert not block.note or _NOT_RUN.fullmatch(block.note), block.place


# ------------------------------------------------------------------------------------- what is run


def has_work(page: str) -> bool:
    return any(map(is_run, blocks_of(page, "sh", "python", "{code-cell}")))


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run such as pages speak of, runs/memorypro/gru/<hash>."""
    folder = tmp_path_factory.mktemp("first")
    run(small_config("training.steps=2"), folder / "runs" / "memorypro" / "gru" / HASH, plots={})
    return folder


@pytest.fixture
def few_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all else: one plot stands for all."""
    few = {"spectra": PLOTS["spectra"]}
    for place in ("kpflow_cli.plotting.loading", "kpflow_cli.recorder"):
        monkeypatch.setattr(f"{place}.load_plots", lambda: few)


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("few_plots")
@pytest.mark.parametrize("page", [page for page in PAGES if has_work(page)])
def test_a_page_works_from_top_to_bottom(
    page: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    torch.manual_seed(0)
    blocks = [block for block in find_blocks(page) if is_run(block)]
    if any("gru/<hash>" in block.text for block in blocks):
        shutil.copytree(request.getfixturevalue("first_run"), tmp_path, dirs_exist_ok=True)
    names: dict[str, Any] = {}
    try:
        for block in blocks:
            work(replace(block, text=block.text.replace("<hash>", HASH)), names)
        if page in LEFT:
            LEFT[page](capsys.readouterr().out)
    finally:
        forget_modules(tmp_path)


def work(block: Block, names: dict[str, Any]) -> None:
    """What a reader does with a block: writes the file, runs the code, types the commands."""
    if block.file:
        path = Path(block.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
    elif block.language in ("python", "{code-cell}"):
        # so that an error names the page's own line
        exec(compile("\n" * (block.line - 1) + block.text, block.page, "exec"), names)
    elif block.language == "sh":
        for line in block.lines:
            program, *words = shlex.split(name_the_sweep(line), comments=True) or ["", ""]
            if program:
                assert program == "kpflow", f"{block.place}: `not run`, as it is no kpflow: {line}"
                assert type_command(words) == "", f"{block.place}: {line}"


def name_the_sweep(line: str) -> str:
    """A command of the only sweep that there is."""
    for sweep in Path("runs", "sweeps").glob("*.json"):
        line = line.replace(f"runs/sweeps/{HASH}.json", str(sweep))
    return line


def type_command(words: list[str]) -> str:
    """The error of a command; of a sweep, which starts processes, in one of its own. Threads wait
    for each other where tests take all cores already.
    """
    works = words[0] in ("run", "measure", "verify") and "--help" not in words
    alone = [*words, "threads=1"] if works else words
    if "-m" in words:
        done = kpflow(*alone, cwd=Path.cwd())
        return done.stderr if done.returncode else ""
    return what_it_tells(alone[0], alone[1:])


def forget_modules(folder: Path) -> None:
    """Those that a page has written."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(folder)):
            del sys.modules[name]


def check_printed_estimates(printed: str) -> None:
    estimate = r"\d+\.\d+ \+- \d+\.\d+ \(\d+ probes\)"
    lines = [rf"P K P\^\* {estimate}", estimate, estimate]
    lines.append(rf"{estimate} torch.Size\(\[3, 10, 20, 32\]\)")
    assert re.fullmatch("\n".join([*lines, ""]), printed)


def check_ranks(printed: str) -> None:
    """From weights to spectrum and ranks by two commands."""
    assert Path("lstm", "plots", "spectra.png").exists()
    ranks = pd.read_csv("lstm.csv").query("quantity == 'effective_rank' and operator == 'ntk'")
    assert set(ranks["reduction"]) >= {"full", "temporal_mean", "spatial_trace"}
    assert (ranks["stderr"] > 0).all()
    assert kp.load_run("several").steps == [0, 100]


def check_loop(printed: str) -> None:
    run = kp.load_run("loop")
    assert run.steps == list(kp.geometric(30, 4))
    assert "evaluation_loss" in run.tables["training"]


def check_sweep(printed: str) -> None:
    """Six runs in one table, which is shown by gain and step, and none made twice."""
    table = pd.read_csv("gains.csv")
    assert table.groupby(["model.gain", "seed"]).ngroups == len(list(Path("runs").glob("*/*/*/")))
    assert Path("gains.html").exists()
    assert re.search(r"^model\.gain +\n0\.5 ", printed, re.MULTILINE)


def check_pages(printed: str) -> None:
    """Three runs are listed, one is a page, all are compared."""
    assert re.search(
        r"^memorypro +rnn +runs/memorypro/rnn/strong +complete ", printed, re.MULTILINE
    ), printed
    assert Path("runs", "memorypro", "rnn", "strong", "report.html").exists()
    assert Path("gains.html").exists()


# what the blocks of a page leave, and what they have printed, is what the page says
LEFT: dict[str, Callable[[str], None]] = {
    "README.md": check_printed_estimates,
    "docs/looking.md": check_pages,
    "docs/pretrained.md": check_ranks,
    "docs/sweeps.md": check_sweep,
    "docs/training_loop.md": check_loop,
}


# --------------------------------------------------------------------------- what is only checked


# command lines, each once, with the place where it stands last
CHECKED = {
    shlex.join(words): block.place
    for page in PAGES
    for block in blocks_of(page, "sh")
    if not is_run(block)
    for words in (shlex.split(line, comments=True) for line in block.lines)
    if words
}


@pytest.fixture(scope="module")
def readers_folder(first_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What readers have whom the pages speak to: a run, a sweep, groups, a network and data of
    their own, and the figures that are kept.
    """
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(first_run, folder, dirs_exist_ok=True)
    for group, choice in (("task", "memorypro"), ("model", "gru")):
        path = folder / "conf" / group / "mine.yaml"
        path.parent.mkdir(parents=True)
        path.write_bytes((ROOT / "configs" / group / f"{choice}.yaml").read_bytes())
    for name in ("my_package", "nets"):
        (folder / f"{name}.py").write_text(
            "import torch\n\n\nclass MyNet(torch.nn.Module):\n"
            "    def __init__(self, input_size, output_size, units, depth=1): ...\n\n\n"
            "class Net(torch.nn.Linear):\n"
            "    def __init__(self):\n"
            "        super().__init__(1, 1, bias=False)\n"
        )
    runs = folder / "runs" / "memorypro" / "gru"
    run(small_config("training.steps=2", "seed=1"), runs / "another", plots={})
    shutil.copytree(runs / HASH, folder / "on_cpu")
    shutil.copytree(runs / "another", folder / "on_gpu")
    torch.save({"weight": torch.zeros(1, 1)}, folder / "ckpt_1.pt")
    array = np.zeros((2, 3, 1))
    np.save(folder / "x.npy", array)
    np.savez(folder / "data.npz", inputs=array, targets=array)
    for name in ("reference", "output"):
        shutil.copytree(ROOT / "figures" / "reference", folder / "figures" / name)
    write_sweep([SweepPoint("", {}, path) for path in runs.iterdir()], folder / "runs", [])
    return folder


@pytest.mark.parametrize("line", list(CHECKED))
def test_a_command_that_is_not_run_is_understood(
    line: str,
    readers_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(readers_folder)
    leave_work_undone(monkeypatch)
    program, *words = shlex.split(name_the_sweep(line.replace("<hash>", HASH)))
    CHECKS[program]([word for word in words if word != "..."])


def check_kpflow(words: list[str]) -> None:
    command, *arguments = words
    assert command in cli.COMMANDS
    told = what_it_tells(command, arguments)
    assert told == "" or ANSWER.fullmatch(told)


def check_make(words: list[str]) -> None:
    variables = [word.partition("=")[0] for word in words if "=" in word]
    assert set(variables) <= set(re.findall(r"^(\w+) \?=", MAKEFILE, re.MULTILINE))
    (targets,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert {word for word in words if "=" not in word} <= set(targets.split())


def check_pip(words: list[str]) -> None:
    assert words[0] == "install"
    named = [re.fullmatch(r"(?:kpflow|\.)\[(.*)\]", word) for word in words]
    extras = [extra for match in named if match for extra in match[1].split(",")]
    assert extras
    assert set(extras) <= set(EXTRAS)


def check_python(words: list[str]) -> None:
    assert os.access(ROOT / words[0], os.R_OK)


def check_batch_job(words: list[str]) -> None:
    program, *inner = shlex.split(words[-1].removeprefix("exec "))
    assert all(word.startswith("--") for word in words[:-1])
    CHECKS[program](inner)


def check_completion(words: list[str]) -> None:
    done = subprocess.run(["bash", "-nc", f'eval "{words[0]}"'], check=False)
    assert done.returncode == 0
    cli._dispatch(words[0].removeprefix("$(kpflow ").removesuffix(")").split())


CHECKS: dict[str, Callable[[list[str]], object]] = {
    "kpflow": check_kpflow,
    "make": check_make,
    "pip": check_pip,
    "python": check_python,
    "eval": check_completion,
    "sbatch": check_batch_job,
}
