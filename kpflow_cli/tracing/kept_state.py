"""What a module keeps from one call to the next besides its parameters, so that every call can
start from the same.
"""

from __future__ import annotations

import copy
from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor, nn

# torch's own: parameters, submodules, hooks, the mode
_REGISTRIES = frozenset(vars(nn.Module()))


class KeptState:
    """Buffers, tensors, lists and dicts among the attributes of a module and all within it, as they
    were when this was made.

    Random generators are not put back: a forward that draws from one is no function, and is to be
    found out.
    """

    def __init__(self, module: nn.Module) -> None:
        self._kept: list[tuple[MutableMapping[str, Any], dict[str, tuple[Any, Any]]]] = []
        for each in module.modules():
            if isinstance(each, torch.jit.ScriptModule):
                continue
            attributes = {
                name: value for name, value in vars(each).items() if name not in _REGISTRIES
            }
            for namespace, values in (
                (vars(each), attributes),
                (each._buffers, dict(each._buffers)),
            ):
                self._kept.append(
                    (namespace, {name: (value, _content(value)) for name, value in values.items()})
                )

    def restore(self) -> None:
        """Put all back: attributes that were set, added or taken away, and what changed within
        tensors, lists and dicts.
        """
        for namespace, kept in self._kept:
            for name in [
                name for name in namespace if name not in kept and name not in _REGISTRIES
            ]:
                del namespace[name]
            for name, (value, content) in kept.items():
                _put_back(value, content)
                if namespace.get(name) is not value:
                    namespace[name] = value


def _content(value: Any, depth: int = 3) -> Any:
    """What is needed to put a value back in place: a tensor's numbers, the items of a container and
    theirs.
    """
    if isinstance(value, Tensor):
        dense = (
            value.layout is torch.strided
            and not value.is_nested
            and not isinstance(value, nn.UninitializedBuffer)
        )
        return (
            (None if value.is_inference() else value._version, value.detach().clone())
            if dense
            else None
        )
    if type(value) in (list, dict) and depth:
        items = list(value.values()) if isinstance(value, dict) else value
        return copy.copy(value), [(item, _content(item, depth - 1)) for item in items]
    return copy.copy(value) if type(value) is set else None


@torch.no_grad()
def _put_back(value: Any, content: Any) -> None:
    if content is None:
        return
    if isinstance(value, Tensor):
        version, numbers = content
        if version is not None and value._version != version and not torch.equal(value, numbers):
            value.copy_(numbers)
    elif isinstance(value, list | dict):
        kept, items = content
        value.clear()
        value.extend(kept) if isinstance(value, list) else value.update(kept)
        for item, of_item in items:
            _put_back(item, of_item)
    else:
        value.clear()
        value.update(content)
