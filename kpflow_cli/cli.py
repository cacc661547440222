"""The ``kpflow`` command: its subcommands. torch is imported only by those that compute."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kpflow_cli import __version__
from kpflow_cli.errors import FailedRunError, UserError, nearest

if TYPE_CHECKING:
    from kpflow_cli.config.command_line import Point

_HELP = """\
kpflow measures the operator that gradient descent induces on a network's state, NTK_S = P K P^*.

usage: kpflow COMMAND [ARGUMENTS]

  run      train a network on a task; measure spectra, effective ranks and alignment of NTK_S along the way
  verify   hold every operator and exact quantity against dense automatic differentiation
  figure   make the runs of a figure of the paper, draw it and check its claims
  claims   the claims of all figures drawn, with their verdicts, as one table
  table    many runs, such as those of a sweep, as one tidy CSV file
  bench    time NTK_S products and statistics against torch.func, side by side
  list     tasks, models, kinds of training and analysis, with a line each

  kpflow run task=memorypro model=gru     the main job: CSV files, checkpoints and plots in runs/memorypro/gru/<hash>
  kpflow run -m model.gain=0.5,1,1.5      a sweep; the same command continues it
  kpflow run --help                       every key, its meaning and its default
  kpflow verify model=rnn
  kpflow figure 3                         figure 3 and its claims, in figures/output
  eval "$(kpflow -sc install=bash)"       tab completion (bash, zsh, fish)

options: --help, --version
"""


def main() -> int:
    """Entry point; returns the exit status: 0, 1 for work that failed, 2 for a mistake in the
    arguments, 130 after Ctrl-C.
    """
    try:
        return _dispatch(sys.argv[1:])
    except KeyboardInterrupt:
        print("kpflow: interrupted; the same command continues a run", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader of our output left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(_HELP, end="")
        return 0
    if arguments[0] in ("--version", "-V"):
        print(f"kpflow {__version__}")
        return 0
    if arguments[0] in ("-sc", "--shell-completion"):
        return _complete(arguments)
    command, *rest = arguments
    if command not in _COMMANDS:
        valid = ", ".join(_COMMANDS)
        print(
            f"kpflow: no command '{command}'{nearest(command, _COMMANDS)}; valid: {valid}",
            file=sys.stderr,
        )
        return 2
    return _COMMANDS[command](rest)


def _run(arguments: list[str]) -> int:
    from kpflow_cli.config.command_line import execute, exit_status, sweep_overrides, tell

    try:
        overrides = sweep_overrides(arguments)
        if overrides is not None:
            from kpflow_cli.sweeps.command import sweep

            sweep(overrides)
            return 0
    except (UserError, FailedRunError) as error:
        tell(error)
        return exit_status(error)
    return execute("config", arguments, _run_job)


def _run_job(point: Point) -> None:
    from kpflow_cli.config.validation import identity
    from kpflow_cli.plotting.run_plots import PLOTS
    from kpflow_cli.run.identity import identity_hash
    from kpflow_cli.run.runner import run

    config = point.config
    chosen = Path(config.run_dir).expanduser() if config.run_dir is not None else None
    run(
        config,
        chosen
        or Path("runs")
        / point.choices["task"]
        / point.choices["model"]
        / identity_hash(identity(config)),
        PLOTS,
    )


def _verify(arguments: list[str]) -> int:
    from kpflow_cli.config.command_line import execute

    return execute("verify", arguments, _verify_job)


def _verify_job(point: Point) -> None:
    from kpflow_cli.verification.verify import verify

    verify(point.config)


def _list(arguments: list[str]) -> int:
    from kpflow_cli.config.command_line import choices, tell

    if arguments in (["--help"], ["-h"]):
        print(
            "usage: kpflow list\n\nThe choices of each configuration group, as in `kpflow run "
            "task=memorypro model=gru`."
        )
        return 0
    if arguments:
        tell(UserError(f"list takes no arguments, got '{arguments[0]}'"))
        return 2
    found = choices() | {"+sweep": choices(("sweep",))["sweep"]}
    width = max(len(name) for group in found.values() for name in group)
    for group, described in found.items():
        print(f"{group}=")
        for name, line in described.items():
            print(f"  {name:<{width}}  {line}")
    return 0


_BENCH_HELP = """\
usage: kpflow bench [KEY=VALUE ...]

Time and memory of NTK_S products against torch.func and against the machine's own GEMM rate, for the GRU and the continuous-time RNN on
Memory-Pro trials at one size and at multiples of B, T and n; time to a given error of six statistics; steps of gradient descent against a
plain loop over time. About 10 minutes on 2 cores.
Writes bench.csv, bench_detail.csv and plots/bench.{png,pdf}.

  trials=30 steps=90 units=256   B, T, n
  probes=16                      vectors multiplied at once
  rounds=5                       each times every way, one after the other
  largest_scale=8                of each of B, T, n: 1, 2, 4, ... of it
  tolerance=0.01                 relative standard error of the six statistics
  threads=2 seed=0
  run_dir=DIR                    default runs/bench/<hash of the other keys>
"""


def _bench(arguments: list[str]) -> int:
    from kpflow_cli.config.command_line import exit_status, tell

    if arguments in (["--help"], ["-h"]):
        print(_BENCH_HELP, end="")
        return 0
    from kpflow_cli.benchmarks.report import Settings, bench
    from kpflow_cli.plotting.bench_plots import draw_bench
    from kpflow_cli.tasks.memory_pro import of_length

    try:
        bench(Settings.parsed(arguments), of_length, draw_bench)
    except (UserError, FailedRunError) as error:
        tell(error)
        return exit_status(error)
    return 0


def _figure(arguments: list[str]) -> int:
    from kpflow_cli.config.command_line import exit_status, tell
    from kpflow_cli.reproduction.command import HELP, figure

    if any(argument in ("--help", "-h") for argument in arguments):
        print(HELP, end="")
        return 0
    try:
        figure(arguments)
    except (UserError, FailedRunError) as error:
        tell(error)
        return exit_status(error)
    return 0


_CLAIMS_HELP = """\
usage: kpflow claims [FOLDER]

The claims of every figure drawn in FOLDER, by default figures/output, as one Markdown table: measured value with its standard error,
threshold, verdict. Why a threshold stands where it does is told by `kpflow figure` and in the figure's file.
"""


def _claims(arguments: list[str]) -> int:
    from kpflow_cli.config.command_line import exit_status, tell

    if arguments in (["--help"], ["-h"]):
        print(_CLAIMS_HELP, end="")
        return 0
    from kpflow_cli.reproduction.claims import collect_claims as collected

    try:
        if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
            raise UserError(f"claims takes one folder, got '{' '.join(arguments)}'")
        print(collected(Path(arguments[0] if arguments else "figures/output").expanduser()))
    except UserError as error:
        tell(error)
        return exit_status(error)
    return 0


def _table(arguments: list[str]) -> int:
    from kpflow_cli.config.command_line import exit_status, tell
    from kpflow_cli.sweeps.table import HELP, table

    if any(argument in ("--help", "-h") for argument in arguments):
        print(HELP, end="")
        return 0
    try:
        table(arguments)
    except UserError as error:
        tell(error)
        return exit_status(error)
    return 0


_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "run": _run,
    "verify": _verify,
    "figure": _figure,
    "claims": _claims,
    "table": _table,
    "bench": _bench,
    "list": _list,
}


def _complete(arguments: list[str]) -> int:
    """Tab completion: the subcommand is ours to complete, what follows is Hydra's, which knows
    nothing of subcommands.
    """
    from kpflow_cli.config.command_line import execute

    program, *words = os.environ.get("COMP_LINE", "").split(" ") or [""]
    querying = any(argument.startswith("query=") for argument in arguments)
    if querying and len(words) < 2:
        typed = words[0] if words else ""
        print(" ".join(command for command in _COMMANDS if command.startswith(typed)))
        return 0
    if querying:
        if words[0] not in ("run", "verify"):
            return 0
        os.environ["COMP_LINE"] = " ".join([program, *words[1:]])
    return execute("verify" if words[:1] == ["verify"] else "config", arguments, _run_job)
