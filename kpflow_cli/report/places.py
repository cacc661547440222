"""From what a command line names to a page and the file that it goes to."""

from __future__ import annotations

from pathlib import Path

from kpflow_cli.config.paths import read_path
from kpflow_cli.errors import UnwrittenFileError, UserError, reason_of
from kpflow_cli.plotting.loading import load_plots
from kpflow_cli.report.run_record import read_record
from kpflow_cli.report.run_report import render_run
from kpflow_cli.run.adding import add_file
from kpflow_cli.run.layout import CONFIG, MANIFEST, REPORT, STATUS
from kpflow_cli.run.whole_files import write_whole


def write_report(place: str, output: Path | None) -> Path:
    """Write the page of a run folder; returns its file, report.html in the folder by default.

    Raises UserError where there is no run, and for a file that cannot be written.
    """
    path = read_path(place)
    if path.is_dir() and _is_run(path):
        html = render_run(read_record(path), load_plots())
        return _write(html, output or path / REPORT, path if output is None else None)
    raise UserError(f"{place}: no run folder")


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in (STATUS, CONFIG, MANIFEST))


def _write(html: str, path: Path, run_dir: Path | None = None) -> Path:
    try:
        if run_dir is not None:
            add_file(run_dir, path.name, html.encode())
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, html.encode())
    except (OSError, UnwrittenFileError) as error:
        reason = error if isinstance(error, UnwrittenFileError) else reason_of(error)
        raise UserError(f"output={path}: cannot be written ({reason})") from None
    return path
