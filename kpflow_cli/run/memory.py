"""What a run will need of memory, and what is free: what cannot fit is refused before it is tried,
for a kernel that runs out of memory kills without a word.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from kpflow_cli.errors import UserError
from kpflow_cli.run.identity import flatten_keys

_GIB = 2**30
# what torch, numpy and Python say of sizes that cannot be had
_TOO_LARGE = re.compile(
    r"allocate|out of memory|overflow|too large|too big|storage size|invalid size|"
    r"maximum allowed dimension",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Need:
    """What a run will need at most at a time.

    Attributes:
        parts: bytes of each part, by its name.
        free: bytes that can be had.
    """

    parts: Mapping[str, float]
    free: float

    @property
    def total(self) -> float:
        """Bytes of all parts."""
        return sum(self.parts.values())

    @property
    def is_tight(self) -> bool:
        """Whether they are above half of what is free."""
        return self.total > self.free / 2

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {_gib(size)}" for name, size in self.parts.items())
        return f"needs about {_gib(self.total)} GiB ({parts}), {_gib(self.free)} GiB are free"


def free_bytes(device: torch.device) -> float:
    """Bytes that this process can still have on a device, infinite where nobody tells."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return min([math.inf, *_of_machine(), *_of_control_groups(), *_of_process()])


def _of_machine() -> Iterator[float]:
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _read(Path("/proc/meminfo")), re.MULTILINE)
    if found:
        yield float(found[1]) * 1024


def _of_control_groups() -> Iterator[float]:
    """What the limits of this process' control groups leave, of version 2 or 1."""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers not in ("", "memory"):
            continue
        root = Path("/sys/fs/cgroup", controllers)
        limit, usage = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes")
            if controllers
            else ("memory.max", "memory.current")
        )
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(root) and (most := _read(folder / limit).strip()).isdigit():
                # files that were read count as used, but are given up for others
                cached = re.search(
                    r"^(?:total_)?inactive_file (\d+)", _read(folder / "memory.stat"), re.MULTILINE
                )
                used = float(_read(folder / usage) or 0) - float(cached[1] if cached else 0)
                yield float(most) - used


def _of_process() -> Iterator[float]:
    """What ``ulimit -v`` leaves."""
    try:
        import resource
    except ImportError:
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    mapped = _read(Path("/proc/self/statm")).split()
    if limit != resource.RLIM_INFINITY and mapped:
        yield float(limit) - float(mapped[0]) * os.sysconf("SC_PAGE_SIZE")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@contextmanager
def rationed(keys: Mapping[str, Any], device: torch.device) -> Iterator[None]:
    """Within the block nothing is made that does not fit; raises UserError that names the largest
    of the ``keys`` instead.
    """
    try:
        with _Ration(device):
            yield
    except _DoesNotFitError as error:
        raise UserError(f"{largest_key(keys)}: {error}") from None
    except (MemoryError, OverflowError, RuntimeError, ValueError, TypeError) as error:
        if isinstance(error, MemoryError | OverflowError) or _TOO_LARGE.search(str(error)):
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{largest_key(keys)}: does not fit into memory ({reason:.100})"
            ) from None
        raise


def largest_key(keys: Mapping[str, Any]) -> str:
    """``key=value`` of the largest integer of a configuration or a part of it."""
    numbers = {
        name: value
        for name, value in flatten_keys(dict(keys)).items()
        if isinstance(value, int) and not isinstance(value, bool)
    }
    if not numbers:
        return ", ".join(keys) or "configuration"
    name = max(numbers, key=lambda each: numbers[each])
    return f"{name}={numbers[name]}"


class _DoesNotFitError(Exception):
    """A tensor that is larger than what is free."""


class _Ration(TorchDispatchMode):
    """Looks at every operation of torch's before it is done."""

    # of less nobody runs out, and looking takes longer than making
    _LEAST = 2**26
    # a run holds weights and trials in single and in double precision, and gradients or states of
    # their size: each number takes that many bytes in all
    _HELD = 16

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: skipping loads torch's compiler, which takes seconds."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        wanted = self._HELD * _count_numbers(func, args)
        if wanted > self._LEAST and wanted > (free := free_bytes(self._device)):
            raise _DoesNotFitError(f"needs {_gib(wanted)} GiB and more, {_gib(free)} GiB are free")
        return func(*args, **kwargs or {})


def _count_numbers(func: Any, args: tuple[Any, ...]) -> float:
    """Numbers in what an operation makes, about: of the size that it is given, else as many as it
    works on.
    """
    tensors = [each for each in args if isinstance(each, torch.Tensor)]
    if not tensors:
        return _elements(func, args)
    if func._schema.is_mutable or func.is_view:
        return 0
    return float(sum(each.numel() for each in tensors))


def _elements(func: Any, args: tuple[Any, ...]) -> float:
    """Numbers in what a factory makes."""
    sizes = next((each for each in args if isinstance(each, Sequence)), None)
    if sizes is not None:
        return math.prod(each for each in sizes if isinstance(each, int))
    numbers = [float(each) for each in args if isinstance(each, int | float)]
    name = func._schema.name
    if name == "aten::arange" and numbers:
        start, end, step = ([0.0, *numbers, 1.0] if len(numbers) == 1 else [*numbers, 1.0])[:3]
        return abs((end - start) / step) if step else 0
    if name == "aten::eye" and numbers:
        return numbers[0] * numbers[-1]
    if name in ("aten::randperm", "aten::linspace", "aten::logspace") and numbers:
        return numbers[0] if name == "aten::randperm" else numbers[-1]
    return 0


def _gib(size: float) -> str:
    return f"{size / _GIB:.3g}" if size < 1e5 * _GIB else f"{size / _GIB:.0e}"
