"""Hydra's command line made ours: jobs run with checked configurations, errors told in one line,
sweeps checked before they start.
"""

from __future__ import annotations

import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import hydra
from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from kpflow_cli.config.schema import GROUPS, documented_keys
from kpflow_cli.config.validation import checked
from kpflow_cli.errors import FailedRunError, UserError, nearest


@dataclass(frozen=True)
class Point:
    """One configuration (checked) of a command line.

    Attributes:
        choices: name of the chosen entry of each group, such as ``{"task": "memorypro", ...}``.
    """

    config: DictConfig
    choices: dict[str, str]


Job = Callable[[Point], None]

_PACKAGE = "# @package _global_\n"
# extras of this package, by the first letters of the launchers that they bring
_LAUNCHER_EXTRAS = {"joblib": "joblib", "submitit": "slurm"}

_HELP = """\
kpflow run: train a network by gradient descent and measure NTK_S = P K P^* along the way
kpflow verify: hold every operator against dense automatic differentiation, on a small network

  kpflow run task=memorypro model=gru                 one run; the same command continues it
  kpflow run model=rnn training.learning_rate=0.01    other choices, other values
  kpflow run -m model.gain=0.5,1,1.5 seed=0,1         a sweep: every combination of comma-separated values; the same command continues it
  kpflow run -m +sweep=memorypro_gain                 a named one
  kpflow run -m ... hydra/launcher=joblib             several runs at a time on this machine; submitit_slurm: on a cluster
  kpflow run --cfg job                                show the configuration and stop
  kpflow run --config-dir DIR task=mine               a task of your own, DIR/task/mine.yaml

== Groups (group=choice) ==

{groups}

== Keys (key=value) ==

{keys}

== Configuration ==

$CONFIG
"""


def execute(config_name: str, arguments: list[str], job: Job) -> int:
    """Run ``job`` as Hydra's arguments say, once or for every point of a sweep; returns the exit
    status.

    A mistake of the user is told in one line on standard error and gives 2, failed work gives 1; in
    a sweep the other points still run.
    """
    status, started = 0, False

    def guarded(config: DictConfig) -> None:
        nonlocal status, started
        hydra_config = HydraConfig.get()
        chosen = {group: str(hydra_config.runtime.choices.get(group)) for group in GROUPS}
        try:
            if hydra_config.sweeper.get("params") and hydra_config.mode == RunMode.RUN:
                raise UserError(
                    f"{' '.join(hydra_config.overrides.task)}: asks for a grid of runs; `kpflow "
                    "run -m` makes them"
                )
            point = Point(checked(config), chosen)
            started = True
            job(point)
        except (UserError, FailedRunError) as error:
            tell(error)
            status = max(status, exit_status(error))

    # makes Hydra raise its errors instead of printing them over several lines
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register_help()
    try:
        options, overrides, parsed = _parsed(arguments)
        with _sweep_folder() if parsed.multirun else nullcontext() as override:
            sys.argv = [sys.argv[0], *overrides, *([override] if override else []), *options]
            hydra.main(
                version_base="1.3", config_path="pkg://kpflow_cli.configs", config_name=config_name
            )(guarded)()
    except Exception as error:
        # until a job starts all there is is what the user wrote; from then on an unforeseen error
        # is ours and keeps its traceback
        if started:
            raise
        tell(explained(error))
        return 2
    return status


@contextmanager
def _sweep_folder() -> Iterator[str]:
    """The override that sends the folder which Hydra makes for every sweep to where it
    is deleted.
    """
    with tempfile.TemporaryDirectory(prefix="kpflow-") as scratch:
        yield f"hydra.sweep.dir='{scratch}'"


def tell(error: Exception) -> None:
    """One line on standard error."""
    print("kpflow:", " ".join(str(error).split()), file=sys.stderr, flush=True)


def exit_status(error: Exception) -> int:
    """2 for a mistake of the user, 1 for work that failed."""
    return 2 if isinstance(error, UserError) else 1


def choices(groups: tuple[str, ...] = GROUPS) -> dict[str, dict[str, str]]:
    """For each group its choices, each with the line that describes it: the first comment of its
    YAML file that is not for Hydra.
    """
    root = resources.files("kpflow_cli.configs")
    return {
        group: {
            entry.name.removesuffix(".yaml"): entry.read_text()
            .removeprefix(_PACKAGE)
            .splitlines()[0]
            .lstrip("# ")
            for entry in sorted((root / group).iterdir(), key=lambda entry: entry.name)
            if entry.name.endswith(".yaml")
        }
        for group in groups
    }


def explained(error: Exception) -> UserError:
    """What the user did wrong, in one line, from an error of Hydra's or OmegaConf's."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        options = error.options or ()
        extra = next(
            (
                extra
                for start, extra in _LAUNCHER_EXTRAS.items()
                if group == "hydra/launcher" and name.startswith(start)
            ),
            None,
        )
        missing = f"; `pip install 'kpflow[{extra}]'` brings it" if extra else ""
        return UserError(
            f"no {group} '{name}'{nearest(name, options)}; valid: {', '.join(options)}{missing}"
        )
    if isinstance(error, OverrideParseException):
        return UserError(f"cannot read '{error.override}': {_first_line(error)}")
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, DictConfig):
        keys = [str(key) for key in cause.parent_node if key != "hydra"]
        return UserError(
            f"no key '{cause.full_key}'{nearest(str(cause.key), keys)}; keys there: "
            f"{', '.join(keys)}"
        )
    return UserError(
        _first_line(error)
        if isinstance(error, HydraException | OmegaConfBaseException)
        else str(error)
    )


class CheckSweep(Callback):
    """Refuses a sweep with a bad point before any point runs."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Compose and check every point. Exits with status 2 at the first bad one: Hydra lets no
        exception of a callback through.
        """
        try:
            overrides = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
            for batch in BasicSweeper.split_arguments(overrides, max_batch_size=None):
                for point in batch:
                    checked(compose(config.hydra.job.config_name, point))
        except (UserError, HydraException, OmegaConfBaseException) as error:
            tell(explained(error))
            sys.exit(2)


def sweep_overrides(arguments: list[str]) -> list[str] | None:
    """The overrides of a command that asks for a sweep and nothing else, such as only to show it;
    None for any other.

    Raises UserError for an option that Hydra does not know.
    """
    _, overrides, parsed = _parsed(arguments)
    shows = parsed.help or parsed.hydra_help or parsed.cfg or parsed.info or parsed.shell_completion
    if not parsed.multirun or shows:
        return None
    own = (
        [f"hydra.searchpath=[file://{Path(parsed.config_dir).resolve()}]"]
        if parsed.config_dir
        else []
    )
    return [*own, *overrides]


def _parsed(arguments: list[str]) -> tuple[list[str], list[str], Namespace]:
    """Options and overrides apart, which Hydra takes in one order only, and both as it reads them.

    Raises UserError for an option that Hydra does not know.
    """
    parser = get_args_parser()

    def refuse(message: str) -> None:
        raise UserError(f"{message}; `kpflow run --help` shows what there is")

    parser.error = refuse  # type: ignore[method-assign,assignment]
    parsed = parser.parse_intermixed_args(arguments)
    return (
        [argument for argument in arguments if argument not in parsed.overrides],
        parsed.overrides,
        parsed,
    )


def register_help() -> None:
    """Make the help page that config.yaml chooses known to Hydra."""
    keys = list(documented_keys())
    width = max(len(name) for name, _ in keys)
    listed = "\n".join(f"  {name:<{width}}  {meaning}" for name, meaning in keys)
    groups = "\n".join(
        f"{group}: {', '.join(names)}" for group, names in choices((*GROUPS, "sweep")).items()
    )
    template = _HELP.format(keys=listed, groups=groups)
    node = {"app_name": "kpflow", "header": "", "footer": "", "template": template}
    ConfigStore.instance().store(group="hydra/help", name="kpflow", node=node)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
