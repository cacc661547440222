"""What determines a run's results, as one hash, as flat keys, and by its differences."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def identity_hash(identity: dict[str, Any]) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of an identity's canonical JSON."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def describe_difference(found: object, wanted: dict[str, Any]) -> str:
    """The keys whose values differ, with both values."""
    there, here = flatten_keys(found), flatten_keys(wanted)
    changed = [key for key in sorted(there.keys() | here.keys()) if there.get(key) != here.get(key)]
    listed = [
        f"{key}={there.get(key, 'missing')} there, {here.get(key, 'missing')} here"
        for key in changed[:4]
    ]
    return "; ".join(listed) + ("; ..." if len(changed) > 4 else "")


def flatten_keys(node: object, prefix: str = "") -> dict[str, Any]:
    """A nested configuration by keys such as ``model.gain``."""
    if not isinstance(node, dict):
        return {prefix or "config": node}
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= flatten_keys(value, f"{prefix}.{key}" if prefix else str(key))
    return found
