"""The tasks, models and trackers that a configuration names by their class, the program's and
anyone's.
"""

from __future__ import annotations

import functools
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from omegaconf import DictConfig, OmegaConf

from kpflow_cli.config.declarations import DeclaredKey, Keys, keys_of
from kpflow_cli.config.keys import Key
from kpflow_cli.errors import UserError
from kpflow_cli.named_code import let_own_modules_be_found

TARGET = "_target_"


@dataclass(frozen=True)
class _Plugin:
    """What a group's classes owe the program.

    Attributes:
        kind: ``module:name`` of the class or protocol that its objects are of.
        given: parameters that the program itself gives, which are no keys.
    """

    kind: str
    given: tuple[str, ...] = ()


_PLUGINS = {
    "task": _Plugin("kpflow_cli.task:Task"),
    "model": _Plugin("kpflow_cli.models.base:Model", ("input_size", "output_size", "generator")),
    "tracker": _Plugin("kpflow_cli.trackers.base:Tracker"),
}
PLUGIN_GROUPS = tuple(_PLUGINS)


def find_class(group: str, name: object) -> Callable[..., Any]:
    """The class, or function, that ``<group>._target_`` names, which may be in the current folder.

    Raises UserError, before anything is called, where there is none, or its objects are of another
    kind, as far as can be told, or cannot be made.
    """
    if not isinstance(name, str):
        raise UserError(
            f"{group}.{TARGET}={name}: it names the class of the {group}, such as "
            "my_package.MyClass"
        )
    let_own_modules_be_found()
    return _find_class(group, name)


@functools.cache
def _find_class(group: str, name: str) -> Callable[..., Any]:
    try:
        found = pkgutil.resolve_name(name)
    except Exception as error:
        # whatever a module of the user's own does when it is imported
        raise UserError(f"{group}.{TARGET}={name}: cannot be imported ({error})") from None
    _refuse_misfit(group, name, found, dict.fromkeys(_PLUGINS[group].given), partial=True)
    if not _makes(found, _find_kind(group)):
        raise _other_kind(group, name)
    return found


def keys_of_class(group: str, name: object) -> Keys:
    """``_target_`` and the keys of the class that it names. Raises UserError as ``find_class``."""
    return _keys_of_class(group, find_class(group, name))


@functools.cache
def _keys_of_class(group: str, found: Callable[..., Any]) -> Keys:
    keys = keys_of(found)
    declared = {
        TARGET: DeclaredKey(TARGET, str, Key(f"class of the {group}"), required=True),
        **{name: key for name, key in keys.declared.items() if name not in _PLUGINS[group].given},
    }
    return Keys(declared, keys.takes_others)


def complete_keys(group: str, values: dict[str, Any]) -> dict[str, Any]:
    """Checked keys of a group with those that its class fills in, where it has a ``complete_keys``
    of its own: what else than keys its objects depend on, such as the contents of files, is to be
    part of a run's identity.
    """
    complete = getattr(find_class(group, values[TARGET]), "complete_keys", None)
    return values if complete is None else complete(values)


def construct(group: str, node: DictConfig, **changes: Any) -> Any:
    """The task, model or tracker of a configuration node: ``_target_`` called with the other keys,
    ``changes`` in place of them or besides.

    Raises UserError where that cannot be, where its constructor raises ValueError, as for keys that
    do not go together, and where it makes an object of another kind.
    """
    keys = OmegaConf.to_container(node)
    assert isinstance(keys, dict)
    name = keys.pop(TARGET)
    found, values = find_class(group, name), {str(key): keys[key] for key in keys} | changes
    _refuse_misfit(group, name, found, values)
    try:
        made = found(**values)
    except ValueError as error:
        raise UserError(f"{group}: {name.rpartition('.')[2]} refuses its keys ({error})") from error
    if not isinstance(made, _find_kind(group)):
        raise _other_kind(group, name)
    return made


def _find_kind(group: str) -> Any:
    return pkgutil.resolve_name(_PLUGINS[group].kind)


def _makes(found: Callable[..., Any], kind: Any) -> bool:
    """Whether a class is of a kind, of what its objects have beyond their methods that shows once
    they are made; a function has to say that it returns one.
    """
    made = found if isinstance(found, type) else _find_returned(found)
    if made is None:
        return False
    if getattr(kind, "_is_protocol", False):
        methods = [name for name, member in vars(kind).items() if inspect.isfunction(member)]
        return all(hasattr(made, name) for name in methods if not name.startswith("_"))
    return issubclass(made, kind)


def _find_returned(function: Callable[..., Any]) -> type | None:
    """The class that a function says it returns."""
    try:
        returned = get_type_hints(function).get("return")
    except Exception:
        # an annotation can be anything
        return None
    return returned if isinstance(returned, type) else None


def _other_kind(group: str, name: str) -> UserError:
    module, _, kind = _PLUGINS[group].kind.partition(":")
    return UserError(f"{group}.{TARGET}={name}: is no {kind}; see {module}")


def _refuse_misfit(
    group: str, name: str, found: Any, values: Mapping[str, Any], *, partial: bool = False
) -> None:
    """Raises UserError for what cannot be called by keywords of these names."""
    try:
        signature = inspect.signature(found)
        (signature.bind_partial if partial else signature.bind)(**values)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{group}.{TARGET}={name}: does not take the keys of this {group} ({error})"
        ) from None
