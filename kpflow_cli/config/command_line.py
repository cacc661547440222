"""Hydra's command line, read and made ours: what it asks for, and errors told in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from kpflow_cli.config.paths import is_folder
from kpflow_cli.config.plugins import PLUGIN_GROUPS, TARGET, keys_of_class
from kpflow_cli.errors import UserError, nearest

# extras of this package, by the first letters of the launchers that they bring
_LAUNCHER_EXTRAS = {"joblib": "joblib", "submitit": "slurm"}


@dataclass(frozen=True)
class Arguments:
    """What a command line of ``kpflow run`` or ``kpflow verify`` asks for.

    Attributes:
        overrides: all of them, that which makes ``config_dir`` known first.
        options: all else, as it was written.
        helps, is_sweep, shows: whether it asks for help, for many points, for what only Hydra can
            show, such as the configuration.
    """

    config_name: str
    overrides: list[str]
    options: list[str]
    config_dir: Path | None
    helps: bool
    is_sweep: bool
    shows: bool


def read_arguments(words: list[str], config_name: str) -> Arguments:
    """Options and overrides apart, as Hydra reads them. Raises UserError for an option that it does
    not know and a folder that is not there.
    """
    parser = get_args_parser()

    def refuse(message: str) -> None:
        raise UserError(f"{message}; `kpflow run --help` shows what there is")

    parser.error = refuse  # type: ignore[method-assign,assignment]
    parsed = parser.parse_intermixed_args(words)
    for option in ("config_path", "experimental_rerun"):
        if getattr(parsed, option) is not None:
            refuse(f"unrecognized arguments: --{option.replace('_', '-')}")
    config_dir = Path(parsed.config_dir) if parsed.config_dir is not None else None
    if config_dir and not is_folder(config_dir):
        raise UserError(f"Additional config directory '{config_dir.absolute()}' not found")
    return Arguments(
        parsed.config_name or config_name,
        [*_search_path(config_dir), *parsed.overrides],
        [word for word in words if word not in parsed.overrides],
        config_dir,
        helps=parsed.help,
        is_sweep=parsed.multirun,
        shows=bool(
            parsed.hydra_help
            or parsed.cfg
            or parsed.resolve
            or parsed.info
            or parsed.shell_completion
        ),
    )


def _search_path(config_dir: Path | None) -> list[str]:
    if config_dir is None:
        return []
    quoted = str(config_dir.resolve()).replace("'", r"\'")
    return [f"hydra.searchpath=['file://{quoted}']"]


def show(arguments: Arguments) -> None:
    """Print what Hydra itself can show: the configuration, what it is made of, completions."""
    # makes Hydra raise its errors instead of printing them over several lines
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [sys.argv[0], *arguments.overrides, *arguments.options]
    with explain_errors():
        hydra.main(
            version_base="1.3",
            config_path="pkg://kpflow_cli.configs",
            config_name=arguments.config_name,
        )(lambda _config: None)()


@contextmanager
def explain_errors() -> Iterator[None]:
    """Until a job starts all there is is what the user wrote: any error is turned into a UserError,
    but for a reader of our output that left.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except Exception as error:
        raise explain(error) from None


def explain(error: Exception) -> UserError:
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
            f"no {group or 'configuration'} '{name}'{nearest(name, options)}"
            + (f"; valid: {', '.join(options)}" if options else "")
            + missing
        )
    if isinstance(error, OverrideParseException):
        return UserError(f"cannot read '{error.override}': {_first_line(error)}")
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, DictConfig):
        return _unknown_key(str(cause.full_key), str(cause.key), cause.parent_node)
    return UserError(
        _first_line(error)
        if isinstance(error, HydraException | OmegaConfBaseException)
        else str(error)
    )


def _unknown_key(full_key: str, key: str, parent: DictConfig) -> UserError:
    """A key that no file has; one that a class has a default of can be added."""
    group = full_key.removesuffix(f".{key}")
    if group in PLUGIN_GROUPS and key in keys_of_class(group, parent.get(TARGET)).declared:
        return UserError(
            f"no key '{full_key}' in the file of this {group}, which leaves it at its default; "
            f"+{full_key}= sets it"
        )
    keys = [str(each) for each in parent if each != "hydra"]
    return UserError(f"no key '{full_key}'{nearest(key, keys)}; keys there: {', '.join(keys)}")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
