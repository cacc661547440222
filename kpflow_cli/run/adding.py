"""A file more in the folder of a run that is there already, such as a page made of it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock, Timeout

from kpflow_cli.run.layout import LOCK, MANIFEST
from kpflow_cli.run.manifest import checksum, manifest_bytes, read_manifest
from kpflow_cli.run.whole_files import write_whole


def add_file(run_dir: Path, name: str, content: bytes) -> None:
    """Write a file into a run folder, its checksum among the others; all else stays as it is.

    Of a run that a process works on it is written without one: the process keeps the checksums.
    Raises UnwrittenFileError, or OSError of the lock, where it cannot be written.
    """
    with ExitStack() as stack:
        is_ours = True
        if (run_dir / LOCK).exists():
            try:
                stack.enter_context(FileLock(run_dir / LOCK, blocking=False))
            except Timeout:
                is_ours = False
        write_whole(run_dir / name, content)
        checksums = read_manifest(run_dir) if is_ours else None
        # without any, or with damaged ones, nothing is added to them
        if checksums:
            write_whole(run_dir / MANIFEST, manifest_bytes({**checksums, name: checksum(content)}))
