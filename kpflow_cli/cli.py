"""The ``kpflow`` command: hands over to a subcommand, and tells its errors in one line."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Protocol, cast

from kpflow_cli import __version__
from kpflow_cli.config.columns import align_columns, lay_out
from kpflow_cli.errors import FailedRunError, UserError, describe_machine_error, nearest
from kpflow_cli.process import Terminated, end_by, open_streams, raising_termination

COMMANDS = (
    "run",
    "measure",
    "runs",
    "watch",
    "verify",
    "figure",
    "claims",
    "table",
    "report",
    "compare",
    "bench",
    "list",
)

_HELP = """\
kpflow measures the operator that gradient descent induces on a network's state, NTK_S = P K P^*.

usage: kpflow COMMAND [ARGUMENTS]

{commands}

  kpflow run task=memorypro model=gru   the main job: CSV files, checkpoints and plots in
                                        runs/memorypro/gru/<hash>
  kpflow run -m model.gain=0.5,1,1.5    a sweep; the same command continues it
  kpflow measure model.target=my_nets.Net weights='ckpt_*.pt' inputs=x.npy
                                        a network of yours that is trained already
  kpflow run --help                     every key, its meaning and its value
  kpflow runs status=interrupted        what runs there are, and how far each is
  kpflow watch runs/memorypro/gru/<hash>
                                        a run as it goes, from another terminal
  kpflow verify model=rnn
  kpflow report runs/memorypro/gru/<hash>
                                        a page to look at: report.html in its folder
  kpflow compare runs/memorypro/gru/<hash> runs/memorypro/rnn/<hash>
                                        runs side by side, differences in standard errors
  kpflow figure 3                       figure 3 and its claims, in figures/output
  eval "$(kpflow -sc install=bash)"     tab completion (bash, zsh, fish)

options: --help, --version
"""


class Command(Protocol):
    """A module of a subcommand.

    Attributes:
        HELP: what it does, in a line.
    """

    HELP: str

    def execute(self, words: list[str]) -> None:
        """Do what the arguments say. Raises UserError for a mistake in them, FailedRunError for
        work that failed.
        """


def main() -> int:
    """Entry point; returns the exit status: 0, 1 for work that failed, 2 for a mistake in the
    arguments, 130 after Ctrl-C. A signal that ends processes ends this one too.
    """
    open_streams()
    # plots are ours to draw: neither a window nor a backend that is not there
    os.environ["MPLBACKEND"] = "agg"
    try:
        with raising_termination():
            _dispatch(sys.argv[1:])
    except (UserError, FailedRunError) as error:
        _tell(str(error))
        return 2 if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        _tell("interrupted; the same command continues a run")
        return 130
    except Terminated as error:
        _tell(f"{error.signal.name}: ended; the same command continues a run")
        end_by(error.signal)
    except Exception as error:
        told = describe_machine_error(error)
        if told is None:
            raise
        _tell(told)
        return 1
    return 0


def _dispatch(words: list[str]) -> None:
    first, *rest = words or ["--help"]
    if first in ("--help", "-h", "help"):
        helps = ((name, _command(name).HELP) for name in COMMANDS)
        print(lay_out(_HELP.format(commands=align_columns(helps))), end="")
    elif first in ("--version", "-V"):
        print(f"kpflow {__version__}")
    elif first in ("-sc", "--shell-completion"):
        from kpflow_cli.commands.completion import complete

        complete(words, COMMANDS)
    elif first in COMMANDS:
        _command(first).execute(rest)
    else:
        raise UserError(
            f"no command '{first}'{nearest(first, COMMANDS)}; valid: {', '.join(COMMANDS)}"
        )


def _command(name: str) -> Command:
    return cast(Command, import_module(f"kpflow_cli.commands.{name}"))


def _tell(message: str) -> None:
    """One line on standard error."""
    print("kpflow:", " ".join(message.split()), file=sys.stderr, flush=True)
