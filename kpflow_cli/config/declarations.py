"""The keys of a constructor, read off its parameters, for anyone's class.

An annotation with a ``Key`` says all; one without is a type to check; of a parameter without
annotation nothing is known.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, is_dataclass, make_dataclass
from types import NoneType, SimpleNamespace, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    Unpack,
    get_args,
    get_origin,
    get_type_hints,
)

from kpflow_cli.config.keys import Key

# types whose values a YAML file can write as they are
_PLAIN = (bool, int, float, str, NoneType, Any)


@dataclass(frozen=True)
class DeclaredKey:
    """A key as a constructor declares it.

    Attributes:
        type: what its values have to be, Any where that is not told or no matter of plain values.
        key: None where only a type is declared.
        required: whether there is no default.
    """

    name: str
    type: Any
    key: Key | None
    required: bool

    @property
    def meaning(self) -> str:
        """What it means, and in parentheses its valid values; empty where nobody says."""
        if self.key is None:
            return ""
        valid = self.key.valid_values()
        return f"{self.key.meaning} ({valid})".strip() if valid else self.key.meaning

    @functools.cached_property
    def typed(self) -> type:
        """A dataclass of this key alone, by which OmegaConf checks a value."""
        return make_dataclass("Typed", [(self.name, self.type)])


@dataclass(frozen=True, eq=False)
class Keys:
    """The keys of a constructor.

    Attributes:
        declared: by name, in the order of the parameters.
        takes_others: whether it takes any other keys too.
    """

    declared: Mapping[str, DeclaredKey]
    takes_others: bool = False


@functools.cache
def keys_of(target: Callable[..., Any]) -> Keys:
    """The keys of a class or function: its parameters that can be given by name, those of a
    ``**keywords: Unpack[SomeTypedDict]`` included.
    """
    hints, declared, takes_others = _read_hints(target), dict[str, DeclaredKey](), False
    for name, parameter in inspect.signature(target).parameters.items():
        hint = hints.get(name, Any)
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_others = get_origin(hint) is not Unpack
            declared |= {key.name: key for key in _read_keywords(hint)}
        elif parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            declared[name] = _declare(name, hint, parameter.default is parameter.empty)
    return Keys(declared, takes_others)


def _read_keywords(hint: Any) -> Iterator[DeclaredKey]:
    """The keys of an ``Unpack[SomeTypedDict]``, none of anything else."""
    if get_origin(hint) is not Unpack:
        return
    (keywords,) = get_args(hint)
    for name, declared in get_type_hints(keywords, include_extras=True).items():
        bare, required = declared, keywords.__total__
        if get_origin(declared) in (Required, NotRequired):
            (bare,), required = get_args(declared), get_origin(declared) is Required
        yield _declare(name, bare, required)


def _declare(name: str, hint: Any, required: bool) -> DeclaredKey:
    key = None
    if get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        key = next((note for note in notes if isinstance(note, Key)), None)
    bare, choices = _strip_literals(hint)
    if choices and not (key and key.allowed()):
        key = Key(key.meaning if key else "", choices)
    return DeclaredKey(name, bare if _is_plain(bare) else Any, key, required)


def _strip_literals(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without the literals in it, and these."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        kinds = {type(value) for value in parts}
        return (kinds.pop() if len(kinds) == 1 else Any), parts
    if origin is list:
        bare, choices = _strip_literals(parts[0])
        return list[bare], choices  # type: ignore[valid-type]
    if _is_union(hint) and len(parts) == 2 and NoneType in parts:
        bare, choices = _strip_literals(parts[parts[0] is NoneType])
        return bare | None, choices
    return hint, ()


def _is_plain(hint: Any) -> bool:
    """Whether YAML writes the values of a type as they are, and OmegaConf can check them."""
    parts = get_args(hint)
    if _is_union(hint):
        bare = [part for part in parts if part is not NoneType]
        return all(part in _PLAIN for part in bare) or (len(bare) == 1 and _is_plain(bare[0]))
    if get_origin(hint) in (list, dict):
        return all(_is_plain(part) for part in parts)
    return hint in (*_PLAIN, list, dict)


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType)


def _read_hints(target: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a class's or function's parameters, but for those that hold at the time of
    type checking only.
    """
    hints: dict[str, Any] = {}
    if isinstance(target, type) and is_dataclass(target):
        for base in reversed(target.__mro__):
            hints |= _evaluate(inspect.get_annotations(base), vars(sys.modules[base.__module__]))
    constructor: Any = target
    if isinstance(target, type):
        constructor = getattr(target, "__init__")  # noqa: B009
    made_by = inspect.unwrap(constructor)
    return hints | _evaluate(
        getattr(made_by, "__annotations__", {}), getattr(made_by, "__globals__", {})
    )


def _evaluate(annotations: Mapping[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for name, annotation in annotations.items():
        alone = SimpleNamespace(__annotations__={name: annotation})
        # of a name that is imported for the type checker alone nothing can be told
        with suppress(NameError, AttributeError, TypeError, SyntaxError):
            hints |= get_type_hints(alone, globalns=names, include_extras=True)
    return hints
