"""Where the workers of a sweep run: in this process, in processes of this machine, or wherever a
launcher of Hydra's starts them.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from kpflow_cli.errors import FailedRunError
from kpflow_cli.sweeps.worker import Failures

Work = Callable[[], Failures]
# starts as many workers as there is use and room for, at most so many, and waits; raises
# FailedRunError if one is lost
Engine = Callable[[Work, int], Sequence[Failures]]


def in_process(work: Work, _most: int) -> list[Failures]:
    """One worker, here."""
    return [work()]


def local_processes(threads: int) -> Engine:
    """As many processes as there are cores for, each of so many threads."""

    def engine(work: Work, most: int) -> list[Failures]:
        workers = min(most, room(threads))
        # spawned, not forked: a forked process inherits torch's threads in an undefined state
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            started = [pool.submit(work) for _ in range(workers)]
            try:
                return [worker.result() for worker in started]
            except BrokenProcessPool:
                raise FailedRunError("a worker process died; the same command continues") from None
            except BaseException:
                # each saves what it has, and ends
                pool.shutdown(wait=False, cancel_futures=True)
                for process in multiprocessing.active_children():
                    process.terminate()
                raise

    return engine


def room(threads: int) -> int:
    """Processes of so many threads that this machine's cores have room for, at least one."""
    return (
        max(1, len(os.sched_getaffinity(0)) // threads)
        if hasattr(os, "sched_getaffinity")
        else max(1, (os.cpu_count() or 1) // threads)
    )
