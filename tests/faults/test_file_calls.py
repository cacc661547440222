"""Whatever happens at any file call of a run, a sweep, a figure: the same command continues, to
the same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from injection import FAULTS, Fault
from kpflow_cli.figures import fig7
from scenarios import TINY, FakeDrawing, Scenario, scenario
from tally import Tally

from kpflow_cli.reproduction import runs
from kpflow_cli.sweeps.engines import in_process

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]
ELSEWHERE = "elsewhere"
# calls apart, of commands that make many; every call of a run
STRIDES = {"run": 1, "sweep": 11, "figure": 40, "lost folder": 4}


def _inject(found: Scenario, fault: Fault, stride: int, section: str) -> None:
    """The fault at every so many calls, then the same command without it."""
    tally = Tally(section, fault.name)
    for at in range(1, found.calls[fault.writing] + 1, stride):
        found.clear()
        first = found.run(fault, at)
        # where a fault has taken the run folder to
        shutil.rmtree(found.place / ELSEWHERE, ignore_errors=True)
        again = found.run()
        wrongs = first.wrongs() + again.wrongs()
        if again.status != 0:
            wrongs.append(f"refused afterwards: {again.errors[-200:]}")
        elif not found.is_whole():
            wrongs.append("lost")
        tally.add("survived", f"call {at}", wrongs)
    tally.close()


@pytest.mark.parametrize("name", FAULTS)
def test_run(name: str, tiny_run: Scenario) -> None:
    _inject(tiny_run, FAULTS[name], STRIDES["run"], "file calls of a run")


def _remove(_path: str) -> None:
    shutil.rmtree("a", ignore_errors=True)


def _rename(_path: str) -> None:
    if Path("a").exists():
        Path("a").rename(ELSEWHERE)


def _replace(path: str) -> None:
    _rename(path)
    Path("a").mkdir()


@pytest.mark.parametrize("act", [_remove, _rename, _replace])
def test_lost_folder(act: Callable[[str], None], tiny_run: Scenario) -> None:
    """The run folder goes away under the run; nothing is left that the next start refuses."""
    fault = Fault(f"{act.__name__.removeprefix('_')}d at a file call", act)
    _inject(tiny_run, fault, STRIDES["lost folder"], "the folder of a run")


@pytest.mark.parametrize("name", FAULTS)
def test_sweep(name: str, tmp_path: Path) -> None:
    words = ["run", "-m", *TINY, "seed=0,1", "run_dir=sweep"]
    found = scenario(words, tmp_path / "place")
    _inject(found, FAULTS[name], STRIDES["sweep"], "file calls of a sweep")


@pytest.mark.parametrize("name", FAULTS)
def test_figure(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "local_processes", lambda threads: in_process)
    monkeypatch.setattr(fig7, "draw", lambda _data: FakeDrawing())
    own = ("task=", "analysis.measures", "analysis.records")
    small = [each for each in TINY if not each.startswith(own)]
    words = ["figure", "7", *small, "output_dir=out", "runs_dir=runs"]
    found = scenario(words, tmp_path / "place")
    _inject(found, FAULTS[name], STRIDES["figure"], "file calls of a figure")
