"""What made an output: versions, commit, platform, peak memory."""

from __future__ import annotations

import functools
import os
import platform
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from kpflow_cli import __version__

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
    """Operating system, processor architecture and core count."""
    return {"system": platform.platform(), "machine": platform.machine(), "cores": os.cpu_count()}


def peak_memory_mib() -> float:
    """Largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, Linux KiB
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
