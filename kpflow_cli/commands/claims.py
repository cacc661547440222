"""``kpflow claims``: the claims of figures that were drawn."""

from __future__ import annotations

from pathlib import Path

from kpflow_cli.commands.arguments import Parser
from kpflow_cli.config.paths import read_path
from kpflow_cli.errors import UserError

HELP = "the claims of all figures drawn, with their verdicts, as one table"
_FOLDER = Path("figures/output")


def execute(words: list[str]) -> None:
    """Print the claims of a folder."""
    folders = _parser().read(words).folder
    if len(folders) > 1:
        raise UserError(f"claims takes one folder, got '{' '.join(map(str, folders))}'")
    from kpflow_cli.reproduction.claims import collect_claims

    print(collect_claims(read_path(folders[0] if folders else _FOLDER)))


def _parser() -> Parser:
    parser = Parser(
        "claims",
        "[FOLDER]",
        "The claims of every figure drawn in a folder as one Markdown table: measured value with\n"
        "its standard error, threshold, verdict. Why a threshold stands where it does is told by\n"
        "`kpflow figure` and in the figure's file.",
        "  kpflow claims                      of figures/output\n"
        "  kpflow claims figures/reference    of the figures at the paper's size",
    )
    parser.add_argument("folder", nargs="*", type=Path, metavar="FOLDER", help=f"default {_FOLDER}")
    return parser
