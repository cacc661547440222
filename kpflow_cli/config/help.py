"""What ``--help`` shows of a configuration: its groups, and the keys of what is chosen."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from kpflow_cli.config.columns import EXIT_STATUS, align_columns, lay_out
from kpflow_cli.config.command_line import Arguments, read_arguments, show
from kpflow_cli.config.declarations import Keys, keys_of
from kpflow_cli.config.grid import compose_config
from kpflow_cli.config.groups import describe_choices
from kpflow_cli.config.measure import ExistingModel, Measure
from kpflow_cli.config.plugins import PLUGIN_GROUPS, TARGET, keys_of_class
from kpflow_cli.config.schema import GROUPS, Analysis, Run, Training

_PAGE = """\
{about}
Groups (group=choice; `kpflow list` says a line about each)

{groups}

Keys (key=value) of these choices: meaning (valid values) [value]

{keys}

{status}
"""


def read_or_show(words: list[str], config_name: str, about: str) -> Arguments | None:
    """What the words ask to be done; None where they ask only to see something, the help page that
    begins with ``about`` or what Hydra shows, which is then printed. Raises UserError for a mistake
    in them.
    """
    asked = read_arguments(words, config_name)
    if asked.helps:
        print(write_help_page(about, asked), end="")
    elif asked.shows:
        show(asked)
    else:
        return asked
    return None


def write_help_page(about: str, arguments: Arguments) -> str:
    """A command's own text, then its groups and keys for what the arguments choose. Raises
    UserError for what cannot be composed and for classes that cannot be had.
    """
    return _PAGE.format(
        about=lay_out(about),
        groups=_describe_groups(arguments),
        keys=_describe_keys(arguments),
        status=lay_out(EXIT_STATUS).rstrip(),
    )


def write_measure_page(about: str) -> str:
    """The text of ``kpflow measure``, then its keys."""
    return f"{lay_out(about)}\n{_describe_measure_keys()}\n\n{lay_out(EXIT_STATUS)}"


def _describe_measure_keys() -> str:
    """Each key of ``kpflow measure``."""
    values: Any = OmegaConf.to_container(compose_config([], "measure"))
    sources = [
        ("model.", keys_of(ExistingModel), values.pop("model")),
        (
            "",
            keys_of(Measure),
            {name: values[name] for name in values if name not in ("analysis", "tracker")},
        ),
        ("analysis.", keys_of(Analysis), values["analysis"]),
    ]
    return align_columns(
        (f"{prefix}{name}", _describe(keys, name, given))
        for prefix, keys, given in sources
        for name in given
    )


def _describe_groups(arguments: Arguments) -> str:
    """A line for each group with the names of its choices."""
    choices = describe_choices((*GROUPS, "sweep"), arguments.config_dir)
    return align_columns(
        ("+sweep" if group == "sweep" else group, ", ".join(names))
        for group, names in choices.items()
    )


def _describe_keys(arguments: Arguments) -> str:
    """Each key of the run, and of the task, model, training and analysis that are chosen."""
    config = compose_config(arguments.overrides, arguments.config_name)
    return align_columns(
        (f"{prefix}{name}", _describe(keys, name, values))
        for prefix, keys, values in _list_declared(config)
        for name in dict.fromkeys([*values, *keys.declared])
        if name != TARGET
    )


def _list_declared(config: DictConfig) -> Iterator[tuple[str, Keys, Mapping[str, Any]]]:
    values: Any = OmegaConf.to_container(config)
    nodes = {group: values.pop(group, None) or {} for group in GROUPS}
    yield "", keys_of(Run), values
    for group in PLUGIN_GROUPS:
        yield f"{group}.", keys_of_class(group, nodes[group].get(TARGET)), nodes[group]
    yield "training.", keys_of(Training), nodes["training"]
    yield "analysis.", keys_of(Analysis), nodes["analysis"]


def _describe(keys: Keys, name: str, values: Mapping[str, Any]) -> str:
    meaning = keys.declared[name].meaning if name in keys.declared else ""
    return f"{meaning} {_write_value(name, values)}".lstrip()


def _write_value(name: str, values: Mapping[str, Any]) -> str:
    if name not in values:
        return "[the class's default; another with + in front of the key]"
    if values[name] == "???":
        return "[no value: to be given]"
    # in one line, as a command line would write it
    written = json.dumps(values[name], ensure_ascii=False, default=str).replace('"', "")
    return written if isinstance(values[name], list) else f"[{written}]"
