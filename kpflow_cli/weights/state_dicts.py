"""State dicts out of the files that people keep weights in: ``torch.save``'s, Lightning's,
safetensors', in one piece or in shards.
"""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kpflow_cli.errors import UserError, nearest, reason_of

SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
INDEX = ".index.json"
# a wrapper's name for the network within, wherever it stands in a path
_WRAPPERS = re.compile(r"(?:(?<=\.)|^)(?:module|_orig_mod)\.")
_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})")
# of names in an error
_SHOWN = 5


def read_content(path: Path, *, weights_only: bool = True) -> Any:
    """What a file of weights holds; of a file's shards what they hold together.

    Raises UserError for a file that cannot be read, and for one that would run code, unless
    ``weights_only`` is False.
    """
    try:
        if path.name.endswith(INDEX):
            return _read_shards(path, weights_only=weights_only)
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        return _read_torch(path, weights_only=weights_only)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"weights={path}: cannot be read ({reason_of(error)})") from None
    except Exception as error:
        # whatever a damaged file makes a reader raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"weights={path}: cannot be read ({first:.120})") from None


def _read_torch(path: Path, *, weights_only: bool) -> Any:
    try:
        with warnings.catch_warnings():
            # of archives of torch.jit and of pickles that are then refused
            warnings.simplefilter("ignore")
            return torch.load(path, weights_only=weights_only, map_location="cpu")
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f" ({found[1]})" if found else ""
        raise UserError(
            f"weights={path}: holds more than weights{what}, and reading it would run code from "
            "the file; if you would run its author's programs, say weights_only=false"
        ) from None
    except RuntimeError as error:
        if "TorchScript" not in str(error):
            raise
        raise UserError(
            f"weights={path}: is a TorchScript program, not weights alone; if you would run its "
            "author's programs, say weights_only=false"
        ) from None


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise UserError(
            f"weights={path}: needs safetensors; `pip install 'kpflow[safetensors]'` brings it"
        ) from None
    return load_file(path)


def _read_shards(index: Path, *, weights_only: bool) -> dict[str, Any]:
    names = json.loads(index.read_text())["weight_map"]
    whole: dict[str, Any] = {}
    for shard in dict.fromkeys(names.values()):
        if Path(shard).name != shard:
            raise UserError(f"weights={index}: names a file outside of its folder, {shard}")
        whole |= read_content(index.with_name(shard), weights_only=weights_only)
    return whole


def shard_of(path: Path) -> tuple[str, int, int] | None:
    """Of a shard's name what all shards have in common, its number, and how many there are; None of
    another file.
    """
    named = _SHARD.fullmatch(path.stem)
    return (f"{named[1]}{path.suffix}", int(named[2]), int(named[3])) if named else None


def state_dict_in(content: Any, place: str, key: str | None, wanted: Mapping[str, Any]) -> Any:
    """The dictionary of tensors within what a file holds: the one that ``key``, with dots in it,
    names; otherwise that which has the most of the names ``wanted``.

    Raises UserError where there is none, or several fit as well.
    """
    if isinstance(content, nn.Module):
        content = content.state_dict()
    if not isinstance(content, Mapping):
        raise UserError(f"weights={place}: holds a {type(content).__name__}, no state dict")
    found = dict(_dictionaries(content))
    if key is not None:
        if key not in found:
            raise UserError(
                f"weights_key={key}: {place} has no such state dict{nearest(key, found)}; it has "
                f"{_listed([name or '(the file itself)' for name in found]) or 'none'}"
            )
        return found[key]
    if not found:
        raise UserError(f"weights={place}: holds no state dict, but {_listed(map(str, content))}")
    fits = {name: _count_common(each, wanted) for name, each in found.items()}
    best = [name for name, count in fits.items() if count == max(fits.values())]
    if len(best) > 1:
        raise UserError(
            f"weights={place}: holds several state dicts that fit as well, {_listed(best)}; name "
            "one with weights_key="
        )
    return found[best[0]]


def _dictionaries(content: Mapping[Any, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every dictionary that holds tensors, by the keys that lead to it."""
    if any(isinstance(value, Tensor) for value in content.values()):
        yield path, content
    for name, value in content.items():
        inner = value.state_dict() if isinstance(value, nn.Module) else value
        if isinstance(inner, Mapping):
            yield from _dictionaries(inner, f"{path}.{name}" if path else str(name))


def _count_common(state: Mapping[Any, Any], wanted: Mapping[str, Any]) -> int:
    names, wanted = _without_wrappers(state), _without_wrappers(wanted)
    return max(
        sum(f"{prefix}{name}" in names for name in wanted) for prefix in _prefixes(names, wanted)
    )


def fit(
    state: Mapping[Any, Any], network: nn.Module, place: str, *, strict: bool = True
) -> dict[str, Any]:
    """A state dict with the names of a network's own.

    What DataParallel and torch.compile put before names is taken off, and so is what stands before
    all of the network's, as where a Lightning module has it as an attribute; what does not begin so
    is left out. Raises UserError for a name that is missing, or, where ``strict``, too many, and
    for another shape.
    """
    own_state, names = network.state_dict(), _without_wrappers(state)
    wanted = _without_wrappers(own_state)
    prefix = max(
        _prefixes(names, wanted),
        key=lambda each: (sum(f"{each}{name}" in names for name in wanted), -len(each)),
    )
    own = {
        name.removeprefix(prefix): value for name, value in names.items() if name.startswith(prefix)
    }
    missing = [name for name in own_state if _unwrapped(name) not in own]
    if missing:
        raise UserError(
            f"weights={place}: of another network: it has no {_listed(missing)}; it has "
            f"{_listed(own) or 'nothing'}"
        )
    unknown = [name for name in own if name not in wanted]
    if unknown and strict:
        raise UserError(
            f"weights={place}: has {_listed(unknown)}, which the network has not; strict=false "
            "leaves that out"
        )
    fitting = {name: own[_unwrapped(name)] for name in own_state}
    for name, value in own_state.items():
        if isinstance(value, Tensor) and _shape(fitting[name]) != tuple(value.shape):
            raise UserError(
                f"weights={place}: of another network: {name} is of shape "
                f"{_shape(fitting[name])}, the network's of {tuple(value.shape)}"
            )
    return fitting


def _unwrapped(name: Any) -> str:
    return _WRAPPERS.sub("", str(name))


def _without_wrappers(state: Mapping[Any, Any]) -> dict[str, Any]:
    return {_unwrapped(name): value for name, value in state.items()}


def _prefixes(names: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What may stand before all of the wanted names."""
    first = next(iter(wanted), "")
    found = [
        name.removesuffix(first)
        for name in names
        if name.endswith(first) and (name == first or name.removesuffix(first).endswith("."))
    ]
    return list(dict.fromkeys(["", *found]))


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__


def _listed(names: Any) -> str:
    shown = list(names)
    more = len(shown) - _SHOWN
    return ", ".join(shown[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
