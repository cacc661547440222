"""What made an output: versions, commit, platform, peak memory."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from kpflow_cli import __version__

# Windows has none
resource: ModuleType | None
try:
    resource = import_module("resource")
except ImportError:
    resource = None

_LIBRARIES = ("torch", "hydra-core", "omegaconf", "numpy", "pandas", "matplotlib", "tqdm")


def made_by() -> dict[str, Any]:
    """``versions``, ``commit`` and ``platform`` of this process."""
    return {"versions": versions(), "commit": commit(), "platform": describe_platform()}


@functools.cache
def versions() -> dict[str, str]:
    """Version of kpflow, Python and every library that numbers or files pass through."""
    return {"kpflow": __version__, "python": platform.python_version()} | {
        name: metadata.version(name) for name in _LIBRARIES
    }


@functools.cache
def commit() -> str | None:
    """The commit of kpflow's own source tree, with ``-dirty`` if it was changed since; None where
    there is none or no git.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = _git("rev-parse", "HEAD", cwd=root)
        changed = _git("status", "--porcelain", "--untracked-files=no", cwd=root)
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}-dirty" if changed else head


def _git(*arguments: str, cwd: Path) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=cwd, capture_output=True, text=True, check=True
    ).stdout.strip()


@functools.cache
def describe_platform() -> dict[str, Any]:
    """Operating system, processor architecture and core count; where torch has a GPU, its name and
    the version of CUDA.
    """
    import torch

    gpus = [
        torch.cuda.get_device_name(index)
        for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    ]
    accelerator = {"gpus": gpus, "cuda": torch.version.cuda} if gpus else {}
    system = {"system": platform.platform(), "machine": platform.machine()}
    return {**system, "cores": os.cpu_count(), **accelerator}


def peak_memory_mib() -> float | None:
    """Largest resident memory of this process so far, in MiB; None where the operating system does
    not tell.
    """
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, Linux KiB
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
