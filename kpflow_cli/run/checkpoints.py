"""Checkpoints as bytes: a file of ``torch.save`` whose archive comment holds its checksum, so that
a changed bit is noticed before anything in it is used.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kpflow_cli import __version__
from kpflow_cli.errors import DamagedFileError, UserError
from kpflow_cli.run.identity import describe_difference, same_values
from kpflow_cli.run.seals import intact_seal, seal

Rows = list[dict[str, Any]]

# format 1 had no checksum and no buffers
_FORMAT, _UNSEALED = 2, 1
# numbers and arrays of numpy, which a module's extra state may hold
_NUMPY: list[Any] = [
    np.dtype,
    np.ndarray,
    np.float64(0).__reduce__()[0],
    np.zeros(0).__reduce__()[0],
    *(type(np.dtype(code)) for code in np.typecodes["All"] if code not in "OV"),
]


@dataclass(frozen=True)
class Checkpoint:
    """Everything needed to continue after ``step`` gradient steps.

    Attributes:
        model, optimizer: state dicts.
        tables: rows of every CSV file so far, by its stem.
        buffers: of the model, as they were before the forward pass of ``step``, which a run that
            continues goes through again.
        recorded: whether the tables hold the rows of ``step``.
    """

    step: int
    model: dict[str, Any]
    optimizer: dict[str, Any]
    tables: dict[str, Rows]
    buffers: dict[str, Tensor] = field(default_factory=dict)
    recorded: bool = True


def pack_checkpoint(checkpoint: Checkpoint, identity: dict[str, Any]) -> bytes:
    """The content of a checkpoint's file, for the run of this identity."""
    content = vars(checkpoint) | {
        "format": _FORMAT,
        "kpflow": __version__,
        "config": identity,
        "seed": identity["seed"],
    }
    return seal(_save(content))


def unpack_checkpoint(written: bytes, identity: dict[str, Any]) -> Checkpoint:
    """The checkpoint in a file's content.

    Raises DamagedFileError for bytes that are no checkpoint as it was written, and UserError for
    one of another run or of a later version.
    """
    sealed = intact_seal(written) is not None
    try:
        content = _load(written)
        config, written_as = content["config"], content["format"]
    except Exception as error:
        raise DamagedFileError(_first_line(error)) from None
    if not sealed and written_as != _UNSEALED:
        raise DamagedFileError("its checksum is not that of its content")
    if written_as not in (_FORMAT, _UNSEALED):
        raise UserError(f"written in format {written_as}; this kpflow reads format {_FORMAT}")
    if not same_values(config, identity):
        raise UserError(
            f"a checkpoint of another configuration; {describe_difference(config, identity)}"
        )
    found = {each.name: content[each.name] for each in fields(Checkpoint) if each.name in content}
    _refuse_impossible(found, identity)
    return Checkpoint(**found)


def refuse_unreadable_state(state: Mapping[str, Any]) -> None:
    """Raise UserError for a model's state that could be written but not read back, which only a
    module's extra state can be.
    """
    for name, value in state.items():
        if isinstance(value, Tensor):
            continue
        try:
            _load(_save({"state": value}))
        except Exception:
            raise UserError(
                f"model: the extra state '{name}' holds what a checkpoint cannot give back; "
                "tensors, numbers, text, numpy arrays, and lists and dictionaries of them it can"
            ) from None


def _save(content: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _load(written: bytes) -> Any:
    with torch.serialization.safe_globals(_NUMPY):
        return torch.load(io.BytesIO(written), weights_only=True, map_location="cpu")


def _refuse_impossible(found: dict[str, Any], identity: dict[str, Any]) -> None:
    """Raise DamagedFileError for a content that no run has written, whatever its checksum."""
    step, most = found.get("step"), identity.get("training", {}).get("steps", math.inf)
    fits = (
        type(step) is int
        and 0 <= step <= most
        and isinstance(found.get("model"), dict)
        and isinstance(found.get("optimizer"), dict)
        and isinstance(found.get("buffers", {}), dict)
        and isinstance(found.get("recorded", True), bool)
        and isinstance(found.get("tables"), dict)
        and all(_is_table(name, rows) for name, rows in found["tables"].items())
    )
    if not fits:
        raise DamagedFileError("it holds what no run writes")


def _is_table(name: object, rows: object) -> bool:
    # the name is that of a CSV file
    return (
        isinstance(name, str)
        and re.fullmatch(r"[a-z][a-z0-9_]*", name) is not None
        and isinstance(rows, list)
        and all(
            isinstance(row, dict)
            and all(
                isinstance(column, str) and isinstance(value, int | float | str | None)
                for column, value in row.items()
            )
            for row in rows
        )
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{lines[0]:.120}" if lines else type(error).__name__
