"""From what a command line names to a page and the file that it goes to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from kpflow_cli.config.paths import read_path
from kpflow_cli.errors import UnwrittenFileError, UserError, reason_of
from kpflow_cli.plotting.loading import load_plots
from kpflow_cli.report.run_drawings import Charts, Plots, is_drawn
from kpflow_cli.report.run_record import read_record
from kpflow_cli.report.run_report import render_run
from kpflow_cli.run.adding import add_file
from kpflow_cli.run.layout import CONFIG, MANIFEST, REPORT, STATUS
from kpflow_cli.run.whole_files import write_whole

# the word for what `kpflow figure` made
_FIGURES, _FIGURES_FOLDER = "figures", Path("figures/output")


def write_report(place: str, output: Path | None, *, interactive: bool = False) -> Path:
    """Write the page of a run folder, a sweep file or a folder of figures; returns its file: by
    default report.html in the folder, or beside the sweep file under its name.

    Args:
        interactive: whether plots of a run answer to the mouse.

    Raises UserError where there is none of these, where nothing can be interactive, and for a file
    that cannot be written.
    """
    path = _FIGURES_FOLDER if place == _FIGURES else read_path(place)
    charts = _load_charts() if interactive else None
    if path.is_dir() and _is_run(path):
        record = read_record(path)
        # matplotlib takes most of a second
        html = render_run(record, {} if is_drawn(record) else load_plots(), charts)
        return write_page(html, output or path / REPORT, path if output is None else None)
    if charts is not None:
        raise UserError(f"charts=interactive: of a run alone, and {place} is no run folder")
    if path.is_file():
        return write_page(_render_sweep_file(path), output or path.with_suffix(".html"))
    if path.is_dir() and any(path.glob("fig*.json")):
        return write_page(_render_figures(path), output or path / REPORT)
    if place == _FIGURES:
        raise UserError(
            f"{path}: holds no figure; `kpflow figure 3` makes one; another folder of figures is "
            "named by its path"
        )
    problem = "no run, no sweep and no figure there" if path.exists() else "not there"
    raise UserError(
        f"{place}: {problem}; report takes a run folder, a sweep file (runs/sweeps/<hash>.json), "
        "a folder of figures, or the word figures"
    )


def render_folder(folder: Path, plots: Plots) -> str:
    """The page of a run folder, with these plots. Raises UserError where there is no run."""
    return render_run(read_record(folder), plots)


def _load_charts() -> Charts:
    try:
        from kpflow_cli.report.interactive import CHARTS, chart_script
    except ImportError as error:
        raise UserError(
            f"charts=interactive: {error.name} is not there; pip install 'kpflow[report]'"
        ) from None
    return Charts(CHARTS, chart_script)


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in (STATUS, CONFIG, MANIFEST))


def _render_sweep_file(path: Path) -> str:
    from kpflow_cli.report.sweep_record import read_sweep_record
    from kpflow_cli.report.sweep_report import render_sweep

    return render_sweep(read_sweep_record(path))


def _render_figures(folder: Path) -> str:
    # whoever wants a page of a run needs no figure's code
    from kpflow_cli.report.gallery import KeptFigure, read_figure, render_gallery
    from kpflow_cli.reproduction.kept import find_kept

    names = find_kept(folder)

    def figures() -> Iterator[KeptFigure]:
        for name in tqdm(names, unit="figure", desc="report", disable=None, delay=1.0):
            yield read_figure(folder, name)

    return render_gallery(f"Figures of {folder}", figures())


def write_page(html: str, path: Path, run_dir: Path | None = None) -> Path:
    """Write a page, into a run's own folder with its checksum. Raises UserError where it cannot be
    written.
    """
    """Write a page to its file, with a checksum where that lies in a run folder; returns the file.

    Raises UserError where it cannot be written.
    """
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
