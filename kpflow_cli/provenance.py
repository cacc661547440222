"""What made an output: versions, commit, platform, peak memory."""

from __future__ import annotations

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


def versions() -> dict[str, str]:
    """Version of kpflow, Python and every library that numbers or files pass through."""
    return {"kpflow": __version__, "python": platform.python_version()} | {name: metadata.version(name) for name in _LIBRARIES}


def commit() -> str | None:
    """The commit of kpflow's own source tree, with ``-dirty`` if it was changed since; None where it is not a checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty"], cwd=root, capture_output=True, text=True, check=False
    )
    return described.stdout.strip() or None


def describe_platform() -> dict[str, Any]:
    """Operating system, processor architecture and core count."""
    return {"system": platform.platform(), "machine": platform.machine(), "cores": os.cpu_count()}


def peak_memory_mib() -> float:
    """Largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, Linux KiB
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
