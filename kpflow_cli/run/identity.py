"""What determines a run's results, as one hash, as flat keys, and by its differences."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(identity: dict[str, Any], **options: Any) -> str:
    """An identity as JSON that does not depend on the order of its keys; ``options`` of
    ``json.dumps``.
    """
    return json.dumps(_with_text_keys(identity), sort_keys=True, **options)


def identity_hash(identity: dict[str, Any]) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of an identity's canonical JSON."""
    canonical = canonical_json(identity, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _with_text_keys(node: Any) -> Any:
    """JSON would make one key of 1 and "1"."""
    if isinstance(node, dict):
        return {
            key if isinstance(key, str) else f"{type(key).__name__} {key}": _with_text_keys(value)
            for key, value in node.items()
        }
    return [_with_text_keys(each) for each in node] if isinstance(node, list) else node


def same_values(one: object, other: object) -> bool:
    """Whether two configurations say the same: NaN is itself, 1 is 1.0 but neither True nor "1"."""
    if isinstance(one, dict) and isinstance(other, dict):
        typed = {(type(key), key): value for key, value in other.items()}
        return len(one) == len(other) and all(
            (type(key), key) in typed and same_values(value, typed[type(key), key])
            for key, value in one.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_values, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other or (one != one and other != other)


def describe_difference(found: object, wanted: dict[str, Any]) -> str:
    """The keys whose values differ, with both values."""
    there, here = flatten_keys(found), flatten_keys(wanted)
    changed = [
        key
        for key in sorted(there.keys() | here.keys())
        if key not in there or key not in here or not same_values(there[key], here[key])
    ]
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


def write_value(value: Any) -> str:
    """A value of a configuration for people, in a line."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
