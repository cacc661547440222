"""``SHA256SUMS``: the checksums of a run folder's files, as ``sha256sum --check SHA256SUMS`` reads
them. A checkpoint has its own inside.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from kpflow_cli.run.layout import MANIFEST

_LINE = re.compile(r"([0-9a-f]{64})  ([^\n]+)\n")


def checksum(content: bytes) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def read_manifest(run_dir: Path) -> dict[str, str] | None:
    """Checksum of each file by its name in the folder; None where there is no manifest, empty where
    it is damaged.
    """
    try:
        written = (run_dir / MANIFEST).read_bytes().decode("ascii", errors="replace")
    except OSError:
        return None
    lines = [_LINE.fullmatch(line) for line in written.splitlines(keepends=True)]
    if not all(lines):
        return {}
    return {line[2]: line[1] for line in lines if line}


def manifest_bytes(checksums: Mapping[str, str]) -> bytes:
    """The content of a manifest."""
    lines = (f"{checksums[name]}  {name}\n" for name in sorted(checksums))
    return "".join(lines).encode()


def is_intact(run_dir: Path, name: str, checksums: Mapping[str, str]) -> bool:
    """Whether a file of a folder is there as it was written."""
    try:
        return checksums.get(name) == checksum((run_dir / name).read_bytes())
    except OSError:
        return False
