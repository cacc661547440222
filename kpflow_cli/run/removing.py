"""The end of a run's folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from kpflow_cli.errors import FailedRunError, InUseError, UserError, reason_of
from kpflow_cli.run.layout import CONFIG, LOCK, MANIFEST, STATUS
from kpflow_cli.run.ownership import foreign_files


def remove_run(run_dir: Path, written: float | None = None) -> None:
    """Remove a run's folder with all that is in it. What is raised does not name the folder.

    Args:
        written: when its status file was written, by that file's time, if that is known; a run
            that went on since is left.

    Raises, and leaves the run as it is: InUseError where a process works on it, UserError for a
    link, for a folder that holds what no run leaves, and for a run that went on since. Raises
    FailedRunError where the machine does not let it be removed; what is left is still a run's
    folder, which this function removes.
    """
    if run_dir.is_symlink():
        raise UserError("a link; name the folder that it leads to")
    try:
        with FileLock(run_dir / LOCK, blocking=False):
            foreign = foreign_files(run_dir)
            if foreign:
                raise UserError(
                    f"holds files that are no kpflow run's, such as {foreign[0]}; move "
                    "them away first"
                )
            if written is not None and _written(run_dir) != written:
                raise UserError("went on since it was listed")
            _remove(run_dir)
    except Timeout:
        raise InUseError("in use by another kpflow process") from None
    except OSError as error:
        raise FailedRunError(f"cannot be removed ({reason_of(error)})") from None


def _remove(run_dir: Path) -> None:
    """First what says how far the run is, last what says that it is one."""
    last = [run_dir / name for name in (MANIFEST, CONFIG, LOCK)]
    (run_dir / STATUS).unlink(missing_ok=True)
    for entry in run_dir.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry not in last:
            entry.unlink()
    for entry in last:
        entry.unlink(missing_ok=True)
    run_dir.rmdir()


def _written(run_dir: Path) -> float:
    for name in (STATUS, CONFIG):
        if (run_dir / name).exists():
            return (run_dir / name).stat().st_mtime
    return 0.0
