"""``{keys-of} GROUP``: the keys of a configuration group, of ``run`` those outside the groups, of
``measure`` those of ``kpflow measure``; each with its meaning, valid values and value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

from docutils import nodes
from omegaconf import OmegaConf
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from tables import make_section, make_table

from kpflow_cli.config.declarations import DeclaredKey, Keys, keys_of
from kpflow_cli.config.grid import compose_config
from kpflow_cli.config.groups import describe_choices
from kpflow_cli.config.measure import ExistingModel, Measure
from kpflow_cli.config.plugins import PLUGIN_GROUPS, TARGET, keys_of_class
from kpflow_cli.config.schema import GROUPS, Analysis, Run, Training

_SCHEMAS = {"training": Training, "analysis": Analysis}
_TYPES = {bool: "true, false", int: "whole number", float: "number", str: "text", dict: "mapping"}


class KeysOf(SphinxDirective):
    """What the module says."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Tables; of a group a section for each choice, or how its other choices differ."""
        group = self.arguments[0]
        if group == "run":
            values = {key: value for key, value in _compose().items() if key not in GROUPS}
            return [_tabulate("", keys_of(Run), values)]
        if group == "measure":
            values = _compose(config_name="measure")
            model = values.pop("model")
            own = {key: value for key, value in values.items() if key not in GROUPS}
            return [
                _tabulate("model.", keys_of(ExistingModel), model),
                _tabulate("", keys_of(Measure), own),
            ]
        choices = describe_choices([group])[group]
        if group in PLUGIN_GROUPS:
            return [_describe_choice(group, name, line) for name, line in choices.items()]
        usual = _compose()[group]
        table = _tabulate(f"{group}.", keys_of(_SCHEMAS[group]), usual)
        return [table, _compare_choices(group, choices, usual)]


def _compose(*overrides: str, config_name: str = "config") -> dict[str, Any]:
    found = OmegaConf.to_container(compose_config([*overrides], config_name))
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def _describe_choice(group: str, name: str, line: str) -> nodes.section:
    """The keys of one class."""
    choice = f"{group}={name}"
    section = make_section(nodes.literal(text=choice), choice)
    section += nodes.paragraph(text=f"{line[0].upper()}{line[1:]}.")
    values = _compose(choice)[group]
    keys = keys_of_class(group, values.pop(TARGET))
    if values or len(keys.declared) > 1:
        section += _tabulate(f"{group}.", keys, values)
    return section


def _compare_choices(
    group: str, choices: Mapping[str, str], usual: Mapping[str, Any]
) -> nodes.table:
    """A row for each choice: what it is for, and the values in which it differs."""
    rows = []
    for name, line in choices.items():
        values = _compose(f"{group}={name}")[group]
        differs = [f"{key}={_write(value)}" for key, value in values.items() if value != usual[key]]
        rows.append((nodes.literal(text=f"{group}={name}"), line, _list_words(differs)))
    return make_table(("choice", "is", "values other than above"), rows, "keys")


def _tabulate(prefix: str, keys: Keys, values: Mapping[str, Any]) -> nodes.table:
    rows = [
        (
            nodes.literal(text=f"{prefix}{name}"),
            declared.key.meaning if (declared := keys.declared[name]).key else "",
            _describe_values(declared),
            _show_value(values, name),
        )
        for name in dict.fromkeys([*values, *keys.declared])
        if name in keys.declared and name != TARGET
    ]
    return make_table(("key", "meaning", "valid", "value"), rows, "keys")


def _describe_values(declared: DeclaredKey) -> str:
    """The valid values in words, or the type where any of it will do."""
    kinds = get_args(declared.type) or (declared.type,)
    valid = (declared.key.valid_values() if declared.key else "") or ", ".join(
        _TYPES[kind] for kind in kinds if kind in _TYPES
    )
    return f"{valid}, null" if type(None) in kinds else valid


def _show_value(values: Mapping[str, Any], name: str) -> nodes.Node:
    if name not in values:
        return nodes.Text("the class's own; + in front of the key sets another")
    if values[name] == "???":
        return nodes.Text("to be given")
    return nodes.literal(text=_write(values[name]))


def _write(value: Any) -> str:
    """In one line, as a command line has it."""
    return json.dumps(value, ensure_ascii=False, default=str).replace('"', "").replace(", ", ",")


def _list_words(words: list[str]) -> nodes.inline:
    listed = nodes.inline()
    for index, word in enumerate(words):
        listed += [nodes.Text(" " if index else ""), nodes.literal(text=word)]
    return listed


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("keys-of", KeysOf)
    return {"parallel_read_safe": True}
