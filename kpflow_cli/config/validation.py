"""Configurations held against the schema: every value of its declared type and within its range, or
a line that says what is wrong.
"""

from __future__ import annotations

import functools
import json
import math
import operator
from dataclasses import Field, fields
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from kpflow_cli.config.schema import (
    GROUPS,
    RUNTIME_KEYS,
    SCHEMAS,
    Analysis,
    Run,
    Training,
    valid_values,
)
from kpflow_cli.errors import UserError, nearest

_LIMITS = {
    "at_least": operator.ge,
    "above": operator.gt,
    "at_most": operator.le,
    "below": operator.lt,
}


def checked(config: DictConfig) -> DictConfig:
    """A composed configuration with every value of its declared type and within its range;
    resolved, read-only.

    Raises UserError that names the key, the bad value and what is valid.
    """
    return read_only(checked_values(config))


def read_only(values: dict[str, Any]) -> DictConfig:
    """A configuration of plain values that were checked before."""
    config = OmegaConf.create(values)
    OmegaConf.set_readonly(config, True)
    return config


def checked_values(config: DictConfig) -> dict[str, Any]:
    """The same as plain values, which are quicker to make and to send to other processes."""
    try:
        composed = OmegaConf.to_container(config, resolve=True)
    except InterpolationResolutionError as error:
        raise UserError(
            f"{error.full_key}: follows another key that is not there; {str(error).splitlines()[0]}"
        ) from None
    assert isinstance(composed, dict)
    for group in GROUPS:
        if not isinstance(composed.get(group), dict):
            raise UserError(f"{group}={composed.get(group)}: choose one; `kpflow list` names them")
    values: dict[str, Any] = {
        "task": _plugin("task", composed.pop("task")),
        "model": _plugin("model", composed.pop("model")),
    }
    values["training"] = _consistent(_typed(Training, composed.pop("training"), prefix="training."))
    values["analysis"] = _typed(Analysis, composed.pop("analysis"), prefix="analysis.")
    return values | _typed(Run, composed)


def identity(config: DictConfig | dict[str, Any]) -> dict[str, Any]:
    """What determines a run's results, as plain values: all but paths and how often to save; of the
    device only its kind.
    """
    values = (
        OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config
    )
    assert isinstance(values, dict)
    kept = {str(name): value for name, value in values.items() if name not in RUNTIME_KEYS}
    return kept | {"device": kept["device"].partition(":")[0]}


def _plugin(group: str, node: dict[Any, Any]) -> dict[str, Any]:
    """A task or model, typed where its keys are known."""
    target = node.get("_target_")
    if not isinstance(target, str):
        raise UserError(
            f"{group}._target_={target}: it names the class of the {group}, such as "
            "my_package.MyClass"
        )
    schema = SCHEMAS.get(target)
    return _typed(schema, node, prefix=f"{group}.") if schema else node


def _consistent(training: dict[str, Any]) -> dict[str, Any]:
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


def _typed(schema: type, values: dict[Any, Any], *, prefix: str = "") -> dict[str, Any]:
    """Values of their declared types and in range; the points of a sweep have most groups in
    common, so each is looked at once.
    """
    return json.loads(_typed_group(schema, json.dumps(values), prefix))


@functools.cache
def _typed_group(schema: type, written: str, prefix: str) -> str:
    values = json.loads(written)
    typed = OmegaConf.structured(schema)
    known = [declared.name for declared in fields(schema)]
    for name, value in values.items():
        if name not in known:
            raise UserError(
                f"no key '{prefix}{name}'{nearest(str(name), known)}; keys there: "
                f"{', '.join(known)}"
            )
        try:
            typed[name] = value
        except OmegaConfBaseException as error:
            raise UserError(f"{prefix}{name}={value}: {str(error).splitlines()[0]}") from None
    for declared in fields(schema):
        if OmegaConf.is_missing(typed, declared.name):
            raise UserError(
                f"{prefix}{declared.name}: no value; it is {declared.metadata['meaning']}"
            )
        _check_range(prefix + declared.name, typed[declared.name], values[declared.name], declared)
    return json.dumps(OmegaConf.to_container(typed))


def _check_range(name: str, value: Any, written: object, declared: Field[Any]) -> None:
    choices, limits = declared.metadata["choices"], declared.metadata["limits"]
    if isinstance(value, ListConfig):
        wrong = [each for each in value if each not in choices]
        if wrong or len(set(value)) < len(value):
            written = wrong[0] if wrong else list(value)
            raise UserError(
                f"{name}={written}: impossible{nearest(str(written), choices)}; valid: "
                f"{valid_values(declared)}, each once"
            )
        return
    inside = not choices or value in choices
    if isinstance(value, int | float):
        inside = math.isfinite(value) and all(
            _LIMITS[word](value, limit) for word, limit in limits.items()
        )
    if not inside:
        valid = valid_values(declared) or "a finite number"
        raise UserError(
            f"{name}={written}: impossible{nearest(str(value), choices)}; valid: {valid}"
        )
