"""Processes that are forked from one that has imported torch and the like already: that import is
most of what a command of kpflow takes.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from kpflow_cli.cli import main

_CONTEXT = multiprocessing.get_context("forkserver")
# what is slow to import; training's optimizers import torch._dynamo
_CONTEXT.set_forkserver_preload(
    ["torch._dynamo", "pandas", "matplotlib.backends.backend_agg", "hydra.main"]
)
_TESTS = str(Path(__file__).parent)


def warm_pool(workers: int, mp_context: object = None) -> ProcessPoolExecutor:
    """A pool of such processes, whatever context is asked for."""
    return ProcessPoolExecutor(workers, mp_context=_CONTEXT)


def run_command(
    arguments: tuple[str, ...], cwd: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """What the installed command prints, and its exit status. Raises TimeoutExpired."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder, "stdout"), Path(folder, "stderr")
        process = _CONTEXT.Process(target=_main, args=(arguments, cwd, dict(os.environ), *outputs))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(["kpflow", *arguments], timeout)
        texts = [output.read_text() for output in outputs]
        return subprocess.CompletedProcess(list(arguments), process.exitcode, *texts)


def _main(
    arguments: tuple[str, ...], cwd: Path, environment: dict[str, str], *outputs: Path
) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, output in enumerate(outputs, start=1):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), descriptor)
    # the installed command does not know the folder of the tests
    sys.path[:] = [entry for entry in sys.path if entry != _TESTS]
    sys.argv = ["kpflow", *arguments]
    sys.exit(main())
