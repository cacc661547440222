"""Arguments of the commands that are not Hydra's: options, and KEY=VALUE words beside others."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeVar

from kpflow_cli.config.columns import EXIT_STATUS, WIDTH, align_columns, lay_out
from kpflow_cli.errors import UserError, nearest

Settings = TypeVar("Settings")


class Parser(argparse.ArgumentParser):
    """argparse with our help pages and errors.

    Its errors are UserErrors, and an option that it does not know is told with the nearest that it
    does.
    """

    def __init__(self, command: str, usage: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=f"kpflow {command}",
            usage=f"kpflow {command} {usage}".rstrip(),
            description=lay_out(description),
            epilog=lay_out(f"{epilog}\n\n{EXIT_STATUS}"),
            formatter_class=partial(
                argparse.RawDescriptionHelpFormatter, width=WIDTH, max_help_position=28
            ),
            allow_abbrev=False,
        )
        self.command = command

    def error(self, message: str) -> NoReturn:
        """Raise UserError."""
        raise UserError(f"{message}; `kpflow {self.command} --help` shows what there is")

    def read(self, words: list[str]) -> argparse.Namespace:
        """The arguments. Raises UserError for those that there are not."""
        read, unknown = self.parse_known_intermixed_args(words)
        if not unknown:
            return read
        word = unknown[0]
        if not word.startswith("-"):
            raise UserError(f"{self.command} takes no arguments, got '{word}'")
        options = self.options()
        raise UserError(f"no option '{word}'{nearest(word, options)}; valid: {', '.join(options)}")

    def options(self) -> list[str]:
        """The long names of its options."""
        return [
            name
            for action in self._actions
            for name in action.option_strings
            if name.startswith("--")
        ]


def place_parser(
    command: str, usage: str, texts: tuple[str, str], schema: type, place: tuple[str, str]
) -> Parser:
    """The parser of a command that takes places beside the KEY=VALUE words of a dataclass.

    Args:
        texts: description, and epilog with ``{keys}`` where those words stand.
        place: what help calls one, and says of it.
    """
    description, epilog = texts
    parser = Parser(
        command,
        f"{usage} [KEY=VALUE ...]",
        description,
        epilog.format(keys=describe_keys(schema)),
    )
    name, meaning = place
    parser.add_argument("word", nargs="*", metavar=name, help=meaning)
    return parser


def read_places(
    words: list[str], parser: Parser, schema: type[Settings]
) -> tuple[list[str], Settings]:
    """Places, also such that have = in their names, and what the other words say. Raises UserError
    for words that say nothing.
    """
    found = parser.read(words).word
    places = [word for word in found if "=" not in word or Path(word).exists()]
    others = [word for word in found if word not in places]
    return places, read_keys(others, schema, "no option")


def describe_keys(schema: type) -> str:
    """The KEY=VALUE arguments that a dataclass declares, each with its meaning and default."""
    from kpflow_cli.config.declarations import keys_of

    return align_columns(
        (f"{name}={getattr(schema, name)}", key.meaning)
        for name, key in keys_of(schema).declared.items()
    )


def read_keys(words: list[str], schema: type[Settings], unknown: str) -> Settings:
    """The dataclass of what KEY=VALUE words say.

    Raises UserError for a value that is not valid, and for a word that is no key of it, which is
    called ``unknown`` then.
    """
    from kpflow_cli.config.declarations import keys_of
    from kpflow_cli.config.validation import check_keys

    declared: type = schema
    keys, values = keys_of(declared), {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in keys.declared:
            raise UserError(
                f"{unknown} '{word}'{nearest(name, keys.declared)}; valid: "
                f"{', '.join(f'{each}=' for each in keys.declared)}"
            )
        values[name] = value
    return schema(**check_keys(keys, values))
