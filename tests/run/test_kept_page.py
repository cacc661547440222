"""A run's page tells of each measured step and of the end, where somebody wants one."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from html_pages import check_page, table_rows
from small_runs import SMALL, kpflow, small_config

from kpflow_cli.errors import FailedRunError, UserError
from kpflow_cli.report.places import render_folder
from kpflow_cli.run.manifest import checksum, read_manifest
from kpflow_cli.run.runner import run
from kpflow_cli.sweeps.command import sweep


class Pages:
    """Makes pages, and remembers what the folder held each time."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []

    def __call__(self, folder: Path) -> str:
        status = json.loads((folder / "run.json").read_text())
        measured = pd.read_csv(folder / "measurements.csv")["step"].max()
        self.seen.append((status["status"], status["step"], int(measured)))
        return f"page {len(self.seen)}"


def measured_steps(folder: Path) -> list[int]:
    return sorted(set(pd.read_csv(folder / "measurements.csv")["step"]))


def test_it_is_written_at_each_measured_step_and_at_the_end(tmp_path: Path) -> None:
    folder, pages = tmp_path / "run", Pages()
    run(small_config("report=true"), folder, {}, page=pages)
    steps = measured_steps(folder)
    assert len(steps) > 2
    assert pages.seen == [
        *(("running", step, step) for step in steps),
        ("complete", steps[-1], steps[-1]),
    ]
    content = (folder / "report.html").read_bytes()
    assert content == f"page {len(pages.seen)}".encode()
    assert (read_manifest(folder) or {})["report.html"] == checksum(content)


def test_without_anybody_who_wants_it_there_is_none(tmp_path: Path) -> None:
    pages = Pages()
    run(small_config(), tmp_path / "run", {}, page=pages)
    assert not pages.seen
    assert not (tmp_path / "run" / "report.html").exists()


def test_one_that_is_there_is_kept_up_to_date(tmp_path: Path) -> None:
    folder, pages = tmp_path / "run", Pages()

    def page_from_elsewhere(step: int) -> None:
        # as `kpflow report` does beside a run at work
        if step == 10:
            (folder / "report.html").write_text("old")

    class Progress:
        def __init__(self, *_: object) -> None:
            pass

        def show_step(self, step: int, _loss: float) -> None:
            page_from_elsewhere(step)

        def show_measuring(self) -> None:
            pass

        def show_measured(self, _step: int, _measured: object) -> None:
            pass

        def close(self) -> None:
            pass

    run(small_config(), folder, {}, progress=Progress, page=pages)
    later = [step for step in measured_steps(folder) if step >= 10]
    assert [step for _, step, _ in pages.seen] == [*later, later[-1]]
    assert (folder / "report.html").read_text() == f"page {len(pages.seen)}"


def test_a_diverged_run_has_a_page(tmp_path: Path) -> None:
    folder, pages = tmp_path / "run", Pages()
    with pytest.raises(FailedRunError):
        run(small_config("report=true", "training.learning_rate=1e30"), folder, {}, page=pages)
    assert pages.seen[-1][0] == "diverged"


def test_a_page_that_cannot_be_made_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(folder: Path) -> str:
        raise ValueError("no ink")

    run(small_config("report=true"), tmp_path / "run", {}, page=fail)
    assert "report.html: not written (ValueError: no ink)" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "complete"


def test_the_page_is_that_of_the_command(tmp_path: Path) -> None:
    found = kpflow("run", *SMALL, "report=true", "run_dir=one", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    folder = tmp_path / "one"
    html = (folder / "report.html").read_text()
    page = check_page(html)
    assert page.one("span", class_="status tone-good").text == "complete"
    last = measured_steps(folder)[-1]
    assert f"Measured at step {last}:" in page.one("div", id="measurements-table").text
    assert table_rows(page, "configuration-table") == table_rows(
        check_page(render_folder(folder, {})), "configuration-table"
    )


def test_a_sweep_has_one_page_of_all_its_runs() -> None:
    with pytest.raises(UserError, match=r"report=true: of one run; `kpflow report SWEEP_FILE`"):
        sweep(["seed=0,1", "report=true"], "config")
