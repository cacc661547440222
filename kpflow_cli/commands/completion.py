"""``kpflow -sc``: tab completion. What follows ``run``, ``measure`` and ``verify`` is Hydra's to
complete; subcommands, figures, and the options and keys of other commands are ours.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kpflow_cli.commands.arguments import Parser

# commands whose arguments are Hydra's
_OF_HYDRA = ("run", "measure", "verify")


def complete(words: list[str], commands: Sequence[str]) -> None:
    """Install it, or print what may follow the line in ``COMP_LINE``, as the shell asks. Raises
    UserError for a shell that there is none for.
    """
    from kpflow_cli.config.command_line import read_arguments, show

    program, *typed = os.environ.get("COMP_LINE", "").split(" ") or [""]
    if not any(word.startswith("query=") for word in words):
        show(read_arguments(words, "config"))
    elif len(typed) < 2:
        _offer(commands, typed[0] if typed else "")
    elif typed[0] == "figure":
        _offer(_figure_words(), typed[-1])
    elif typed[0] in _OF_HYDRA:
        # Hydra knows nothing of subcommands
        os.environ["COMP_LINE"] = " ".join([program, *typed[1:]])
        show(read_arguments(words, "config" if typed[0] == "run" else typed[0]))
    elif typed[0] in commands:
        _offer(_parser_words(typed[0]), typed[-1])


def _parser_words(command: str) -> list[str]:
    """The options of a command and the keys that its page lists."""
    module = import_module(f"kpflow_cli.commands.{command}")
    build = getattr(module, "build_parser", None) or getattr(module, "_parser", None)
    if build is None:
        return []
    parser: Parser = build()
    return [*parser.options(), *re.findall(r"^  ([\w.]+=)", parser.epilog or "", re.MULTILINE)]


def _figure_words() -> list[str]:
    from kpflow_cli.commands.figure import FigureSettings, build_parser
    from kpflow_cli.reproduction.specification import read_figure_specs

    specs = read_figure_specs()
    profiles = dict.fromkeys(each for spec in specs.values() for each in spec.profiles)
    keys = [
        f"{declared.name}=" for declared in fields(FigureSettings) if declared.name != "profile"
    ]
    return [
        *(name.removeprefix("fig") for name in specs),
        *(f"profile={profile}" for profile in profiles),
        *keys,
        *build_parser().options(),
    ]


def _offer(words: Iterable[str], start: str) -> None:
    # a line each: bash and zsh take blanks and ends of lines alike, fish only these
    print("\n".join(word for word in words if word.startswith(start)))
