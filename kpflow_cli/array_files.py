"""Arrays that people have in files: ``.npy``, ``.npz`` and ``.pt``, read without running anything
that is in them.
"""

from __future__ import annotations

import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kpflow_cli.errors import UserError, nearest, reason_of

_SUFFIXES = (".npy", ".npz", ".pt", ".pth")


def read_array(place: str, role: str, key: str | None = None) -> Tensor:
    """The array that a file holds, or that of several which ``key`` names, by default the one that
    is called as its ``role`` is, such as ``inputs``, of ``task.inputs`` too.

    Floating-point numbers come as float32 or float64, integers as int64, truth values as bool.
    Raises UserError, which begins with ``<role>=<place>``, for a file that holds no such array.
    """
    arrays = read_arrays(place, role)
    name = role.rpartition(".")[2] if key is None else key
    if name in arrays:
        return arrays[name]
    if len(arrays) == 1 and key is None:
        return next(iter(arrays.values()))
    if key is None:
        raise UserError(
            f"{role}={place}: holds {', '.join(arrays) or 'no array'}; name one with {role}_key="
        )
    raise UserError(
        f"{role}_key={key}: {place} has no such array{nearest(key, arrays)}; it has "
        f"{', '.join(arrays) or 'none'}"
    )


def read_arrays(place: str, role: str) -> dict[str, Tensor]:
    """Every array of a file by its name; those of a list by their number, one alone by ``role``."""
    path = _existing(place, role)
    if path.suffix not in _SUFFIXES:
        raise UserError(f"{role}={place}: of an unknown kind; valid: *{', *'.join(_SUFFIXES)}")
    try:
        found = _load_numpy(path) if path.suffix in (".npy", ".npz") else _load_torch(path)
    except OSError as error:
        raise UserError(f"{role}={place}: cannot be read ({reason_of(error)})") from None
    except pickle.UnpicklingError:
        raise UserError(
            f"{role}={place}: holds more than tensors, and reading that would run code from the "
            "file; save tensors alone, or an .npy file"
        ) from None
    except (ValueError, EOFError, RuntimeError, KeyError, zipfile.BadZipFile) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{role}={place}: cannot be read ({first})") from None
    return {name or role: _plain(value, name, role, place) for name, value in _named(found).items()}


def array_checksum(place: str, role: str) -> str:
    """SHA-256 of a file's content, in hexadecimal digits. Raises UserError where there is none."""
    try:
        with _existing(place, role).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{role}={place}: cannot be read ({reason_of(error)})") from None


def _existing(place: str, role: str) -> Path:
    try:
        path = Path(place).expanduser()
        if path.is_file():
            return path
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{role}={place}: no path ({error})") from None
    raise UserError(f"{role}={place}: no such file")


def _load_numpy(path: Path) -> Any:
    found = np.load(path, allow_pickle=False)
    if isinstance(found, np.ndarray):
        return found
    with found:
        return {name: found[name] for name in found.files}


def _load_torch(path: Path) -> Any:
    with warnings.catch_warnings():
        # of a pickle that is then refused
        warnings.simplefilter("ignore")
        return torch.load(path, weights_only=True, map_location="cpu")


def _named(found: Any) -> dict[str, Any]:
    if isinstance(found, Mapping):
        return {str(name): value for name, value in found.items()}
    if isinstance(found, list | tuple):
        return {str(index): value for index, value in enumerate(found)}
    return {"": found}


def _plain(value: Any, name: str, role: str, place: str) -> Tensor:
    where = f"{role}={place}" + (f": its {name}" if name else "")
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            raise UserError(f"{where}: is of {value.dtype}, not of numbers")
        # torch takes neither foreign byte orders nor all of numpy's widths
        kind = {"b": "bool", "i": "int64", "u": "int64", "f": "float64"}[value.dtype.kind]
        narrow = value.dtype.kind == "f" and value.dtype.itemsize <= 4
        return torch.from_numpy(value.astype("float32" if narrow else kind))
    if not isinstance(value, Tensor):
        raise UserError(f"{where}: is a {type(value).__name__}, not an array")
    value = value.detach()
    if value.is_complex():
        raise UserError(f"{where}: is of {str(value.dtype).removeprefix('torch.')}, not of numbers")
    if value.is_floating_point():
        return value if value.dtype == torch.float64 else value.float()
    return value if value.dtype == torch.bool else value.long()
