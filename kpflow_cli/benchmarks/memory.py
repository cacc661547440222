"""Peak memory of a piece of work, from torch's own record of what it allocates and frees."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor
from torch.profiler import ProfilerActivity, profile


def peak_bytes(work: Callable[[], object]) -> float:
    """Bytes allocated on the CPU at once, at most, while ``work`` runs, beyond those allocated
    before; its result included.
    """
    with (
        _silent_profiler(),
        profile(
            activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True
        ) as profiler,
    ):
        kept = work()
    del kept
    assert profiler.profiler is not None
    events = [
        event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"
    ]
    allocated = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        allocated += event.nbytes()
        peak = max(peak, allocated)
    return float(peak)


def stored_bytes(value: object) -> float:
    """Bytes of all tensors that an object holds, through attributes and containers; what several
    share counts once.
    """
    storages: dict[int, int] = {}
    pending, seen = [value], set[int]()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, Tensor):
            storages[current.untyped_storage().data_ptr()] = current.untyped_storage().nbytes()
        elif isinstance(current, dict):
            pending += current.values()
        elif isinstance(current, tuple | list):
            pending += current
        elif hasattr(current, "__dict__"):
            pending += vars(current).values()
    return float(sum(storages.values()))


@contextmanager
def _silent_profiler() -> Iterator[None]:
    """Without what the profiler writes to standard error of its own accord, past Python."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)
