"""What the fault suite injects its faults into."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from injection import run_forked
from scenarios import TINY, FakeDrawing, Scenario, scenario
from small_runs import table_bytes

from kpflow_cli.commands import pages
from kpflow_cli.plotting import loading, run_plots
from kpflow_cli.run.reading import is_complete

# comes with the extra of this suite alone
collect_ignore = [] if importlib.util.find_spec("hypothesis") else ["test_bad_input.py"]


@pytest.fixture(scope="session", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All that a run imports is there before the first fork."""
    from kpflow_cli.config.grid import compose_point
    from kpflow_cli.run.runner import run

    torch.set_num_threads(1)
    # a plot and a page stand for all, which take longer than the rest of such a run
    patched = pytest.MonkeyPatch()
    patched.setattr(loading, "NAMES", ("training",))
    patched.setattr(pages, "page_maker", lambda _plots: lambda folder: f"a page of {folder.name}")
    plots = dict(run_plots.PLOTS)
    run_plots.PLOTS.clear()
    run_plots.PLOTS["training"] = lambda _tables: FakeDrawing()  # type: ignore[assignment,return-value]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        point = compose_point(TINY, "config")
        run(point.config, tmp_path_factory.mktemp("warm") / "run", run_plots.PLOTS)
    yield
    run_plots.PLOTS.clear()
    run_plots.PLOTS.update(plots)
    patched.undo()


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    words = ["run", *TINY, "run_dir=a"]
    return scenario(words, tmp_path_factory.mktemp("runs") / "place")


@pytest.fixture(scope="session")
def complete(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two complete runs: ``a``, and another."""
    place = tmp_path_factory.mktemp("complete")
    for seed, name in enumerate(("a", "other")):
        done = run_forked(["run", *TINY, f"seed={seed}", "report=true", f"run_dir={name}"], place)
        assert done.status == 0, done.errors
        assert is_complete(place / name)
        left = {path.name for path in (place / name).iterdir()}
        assert {"periods.csv", "summary.txt", "report.html", "SHA256SUMS"} <= left
    assert table_bytes(place / "a") != table_bytes(place / "other")
    return place / "a", place / "other"
