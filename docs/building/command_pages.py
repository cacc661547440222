"""What the program says of itself, asked when the pages are built: ``--help`` of every command,
and the keys of every choice.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from kpflow_cli.cli import COMMANDS


def ask(*words: str) -> str:
    """What ``kpflow`` prints. Raises CalledProcessError where it fails."""
    command = [sys.executable, "-m", "kpflow_cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class CommandHelp(SphinxDirective):
    """``{command-help}``: a section for each command with its ``--help``."""

    def run(self) -> list[nodes.Node]:
        """The sections."""
        overview = nodes.literal_block(text=ask("--help"), language="text")
        return [overview, *(_describe(command) for command in COMMANDS)]


def _describe(command: str) -> nodes.section:
    name = f"kpflow {command}"
    section = nodes.section(ids=[nodes.make_id(name)], names=[name])
    section += nodes.title("", "", nodes.literal(text=name))
    section += nodes.literal_block(text=ask(command, "--help"), language="text")
    return section


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
