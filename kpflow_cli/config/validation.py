"""Configurations held against the keys that are declared: every value of its type and within its
range, or a line that says what is wrong.
"""

from __future__ import annotations

import dataclasses
import functools
import pickle
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from kpflow_cli.config.declarations import Keys, keys_of
from kpflow_cli.config.keys import Key
from kpflow_cli.config.plugins import PLUGIN_GROUPS, TARGET, complete_keys, keys_of_class
from kpflow_cli.config.schema import GROUPS, READING_KEYS, RUNTIME_KEYS, Analysis, Run, Training
from kpflow_cli.errors import UserError, nearest

# of each group the keys that came after runs had been made
_LATER_KEYS: dict[str, dict[str, Any]] = {
    group: {
        each.name: each.default
        for each in dataclasses.fields(declared)
        if each.default is not dataclasses.MISSING
    }
    for group, declared in (("training", Training), ("analysis", Analysis))
}


def check(config: DictConfig) -> DictConfig:
    """A composed configuration with every value of its declared type and within its range;
    resolved, read-only.

    Raises UserError that names the key, the bad value and what is valid.
    """
    return read_only(check_values(config))


def read_only(values: dict[str, Any]) -> DictConfig:
    """A configuration of plain values that were checked before."""
    config = OmegaConf.create(values)
    OmegaConf.set_readonly(config, True)
    return config


def check_values(config: DictConfig) -> dict[str, Any]:
    """The same as plain values, which are quicker to make and to send to other processes."""
    return check_plain(resolve(config))


def resolve(config: DictConfig) -> dict[Any, Any]:
    """All values, each that follows another key with what is there. Raises UserError for one that
    follows none.
    """
    try:
        composed = OmegaConf.to_container(config, resolve=True)
    except InterpolationResolutionError as error:
        raise UserError(
            f"{error.full_key}: follows another key that is not there, or itself; "
            f"{str(error).splitlines()[0]}"
        ) from None
    assert isinstance(composed, dict)
    return composed


def check_plain(composed: dict[Any, Any]) -> dict[str, Any]:
    """The same of plain values, none of which follows another."""
    rest = dict(composed)
    groups: dict[str, Any] = {group: rest.pop(group, None) for group in GROUPS}
    for group, node in groups.items():
        if not isinstance(node, dict):
            raise UserError(f"{group}={node}: choose one; `kpflow list` names them")
    values: dict[str, Any] = {
        group: complete_keys(
            group,
            check_keys(keys_of_class(group, groups[group].get(TARGET)), groups[group], group),
        )
        for group in PLUGIN_GROUPS
    }
    values["training"] = _check_momentum(
        check_keys(keys_of(Training), groups["training"], "training")
    )
    values["analysis"] = check_analysis(groups["analysis"])
    return with_later_keys(values | check_keys(keys_of(Run), rest))


def check_analysis(values: dict[Any, Any]) -> dict[str, Any]:
    """The group ``analysis`` as ``check_keys`` says."""
    return check_keys(keys_of(Analysis), values, "analysis")


def with_later_keys(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration with the keys that came after it was written, which say what was done
    before.
    """
    groups = {
        name: defaults | values[name] for name, defaults in _LATER_KEYS.items() if name in values
    }
    return values | groups


def identity(config: DictConfig | dict[str, Any]) -> dict[str, Any]:
    """What determines a run's results, as plain values: all but paths, trackers and how often to
    save, and but for keys that came later and say what was done before; of the device only its
    kind.
    """
    values = (
        OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config
    )
    assert isinstance(values, dict)
    kept = {
        str(name): value
        for name, value in values.items()
        if name not in (*RUNTIME_KEYS, *READING_KEYS)
    }
    for group in _LATER_KEYS.keys() & kept.keys():
        defaults = _LATER_KEYS[group]
        kept[group] = {
            name: value
            for name, value in kept[group].items()
            if name not in defaults or value != defaults[name]
        }
    return kept | {"device": kept["device"].partition(":")[0]}


def check_keys(keys: Keys, values: dict[Any, Any], group: str = "") -> dict[str, Any]:
    """Values of their declared types and in range, in the order that they come in. Raises UserError
    that names the key, the bad value and what is valid.
    """
    prefix = f"{group}." if group else ""
    checked = {name: _check_value(keys, name, value, prefix) for name, value in values.items()}
    for name, declared in keys.declared.items():
        if checked.get(name, MISSING if declared.required else None) == MISSING:
            meaning = f"; it is {declared.key.meaning}" if declared.key else ""
            raise UserError(f"{prefix}{name}: no value{meaning}")
    return checked


def _check_value(keys: Keys, name: Any, value: Any, prefix: str) -> Any:
    """The points of a sweep have most values in common, so each is looked at once."""
    return pickle.loads(_check_once(keys, name, pickle.dumps(value), prefix))


def _check_momentum(training: dict[str, Any]) -> dict[str, Any]:
    """The training group, if its momentum is one that its optimizer has a use for."""
    optimizer, momentum = training["optimizer"], training["momentum"]
    if optimizer == "momentum" and momentum == 0:
        raise UserError(
            "training.momentum=0: training.optimizer=momentum needs one above 0; "
            "training=momentum chooses 0.9"
        )
    if optimizer != "momentum" and momentum > 0:
        raise UserError(
            f"training.momentum={momentum}: training.optimizer={optimizer} takes none; "
            "training=momentum does"
        )
    return training


@functools.cache
def _check_once(keys: Keys, name: Any, written: bytes, prefix: str) -> bytes:
    value, declared = pickle.loads(written), keys.declared.get(name)
    if declared is None and not keys.takes_others:
        raise UserError(
            f"no key '{prefix}{name}'{nearest(str(name), keys.declared)}; keys there: "
            f"{', '.join(keys.declared)}"
        )
    _refuse_long_integers(f"{prefix}{name}", value)
    if declared is None or value == MISSING:
        return written
    checked = value
    if declared.type is not Any:
        typed = OmegaConf.structured(declared.typed)
        try:
            typed[name] = value
        except OmegaConfBaseException as error:
            raise UserError(f"{prefix}{name}={value}: {str(error).splitlines()[0]}") from None
        plain = OmegaConf.to_container(typed)
        assert isinstance(plain, dict)
        checked = plain[name]
        # a command of words has numbers only now
        _refuse_long_integers(f"{prefix}{name}", checked)
    if declared.key:
        _refuse_invalid(prefix + name, checked, value, declared.key)
    return pickle.dumps(checked)


def _refuse_long_integers(name: str, value: object) -> None:
    """Raises UserError for an integer, anywhere in a value, that no 64 bits hold: neither torch nor
    numpy takes one.
    """
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _refuse_long_integers(name, each)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        shown = f"{value:.3g}" if abs(value) < 10**300 else "a number of hundreds of digits"
        raise UserError(f"{name}={shown}: impossible; an integer has at most 64 bits")


def _refuse_invalid(name: str, value: Any, written: object, key: Key) -> None:
    """Raises UserError for a value, or one of a list, out of the key's range."""
    several = isinstance(value, list)
    choices, wrong = key.allowed(), [each for each in _elements(value) if not key.takes(each)]
    twice = several and choices and len(set(value)) < len(value)
    if wrong or twice:
        shown = wrong[0] if several and wrong else written
        valid = key.valid_values() or "a finite number"
        raise UserError(
            f"{name}={shown}: impossible{nearest(str(shown), choices)}; valid: {valid}"
            + (", each once" if several and choices else "")
        )


def _elements(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
