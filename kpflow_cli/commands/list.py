"""``kpflow list``: what there is to choose from."""

from __future__ import annotations

from pathlib import Path

from kpflow_cli.commands.arguments import Parser
from kpflow_cli.config.paths import is_folder
from kpflow_cli.errors import UserError

HELP = "tasks, models, kinds of training and analysis, with a line each"


def execute(words: list[str]) -> None:
    """Print the choices of each configuration group."""
    from kpflow_cli.config.groups import describe_choices
    from kpflow_cli.config.schema import GROUPS

    config_dir = _parser().read(words).config_dir
    if config_dir and not is_folder(config_dir):
        raise UserError(f"--config-dir={config_dir}: not a folder")
    found = describe_choices((*GROUPS, "sweep"), config_dir)
    width = max(len(name) for group in found.values() for name in group)
    for group, described in found.items():
        print("+sweep=" if group == "sweep" else f"{group}=")
        for name, line in described.items():
            print(f"  {name:<{width}}  {line}".rstrip())


def _parser() -> Parser:
    parser = Parser(
        "list",
        "[--config-dir DIR]",
        "The choices of each configuration group, as in `kpflow run task=memorypro model=gru`.",
        "  kpflow list --config-dir conf   with those of your own, conf/task/mine.yaml, ...",
    )
    parser.add_argument(
        "--config-dir", "-cd", type=Path, metavar="DIR", help="a folder with groups of your own"
    )
    return parser
