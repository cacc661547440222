"""A run folder read back in Python: its tables, and its network at every measured step."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from kpflow_cli.config.validation import read_only, with_later_keys
from kpflow_cli.errors import UserError
from kpflow_cli.models.base import Model
from kpflow_cli.ntk import GlobalNTK, Trajectory, global_ntk
from kpflow_cli.run.checkpoints import Checkpoint
from kpflow_cli.run.existing_plan import ExistingPlan
from kpflow_cli.run.folder import RunFolder
from kpflow_cli.run.measuring_plan import MeasuringPlan
from kpflow_cli.run.plan import Plan
from kpflow_cli.run.reading import read_tables


class SavedRun:
    """A run that ``kpflow run`` left; nothing is written.

    Attributes:
        path: the run folder.
        config: all that determined the results, as nested dictionaries.

    Example:
        >>> import kpflow_cli as kp
        >>> run = kp.load_run("runs/example")
        >>> isinstance(run, kp.SavedRun), run.config["seed"], run.model(0).readout
        (True, 0, Linear(in_features=7, out_features=3, bias=True))
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            found: Any = OmegaConf.to_container(OmegaConf.load(path / "config.yaml"))
        except (OSError, ValueError):
            raise UserError(f"{path}: no kpflow run there") from None
        self.config: dict[str, Any] = found

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Every CSV file by its stem, such as ``measurements``."""
        return read_tables(self.path)

    @property
    def steps(self) -> list[int]:
        """Steps whose network was saved, ascending."""
        return sorted(self._checkpoints)

    @cached_property
    def _checkpoints(self) -> dict[int, Path]:
        folder = self.path / "checkpoints"
        return {int(path.stem[5:]): path for path in folder.glob("step_*.pt")}

    @cached_property
    def _plan(self) -> MeasuringPlan:
        if "recorded" in self.config:
            raise UserError(
                f"{self.path}: recorded in a loop of its own, whose network's code is not there; "
                ".state_dict(step) has its weights"
            )
        if "weights" in self.config:
            reading = {"run_dir": None, "weights_only": True, "strict": True}
            return ExistingPlan(read_only({**self.config, **reading}), follow=False)
        paths = {"run_dir": None, "workers": None, "save_interval": 1}
        return Plan(read_only(with_later_keys({**self.config, **paths})))

    def model(self, step: int | None = None) -> Model:
        """The network with its weights of a step, by default the last that was saved.

        Every call changes the weights of one and the same network. Raises UserError for a step that
        was not saved.
        """
        self._plan.model.load_state_dict(self._checkpoint(step).model)
        return self._plan.model

    def state_dict(self, step: int | None = None) -> dict[str, Any]:
        """The network's weights of a step, by default the last that was saved, by its own names.

        Raises UserError for a step that was not saved.
        """
        saved = self._checkpoint(step).model
        return {name.removeprefix("network."): value for name, value in saved.items()}

    def _checkpoint(self, step: int | None) -> Checkpoint:
        steps = self.steps
        if not steps:
            raise UserError(f"{self.path}: no checkpoints there")
        chosen = steps[-1] if step is None else step
        if chosen not in steps:
            raise UserError.unknown("step", chosen, [str(each) for each in steps])
        return RunFolder(self.path, self.config).load_checkpoint(self._checkpoints[chosen])

    def trajectory(self, step: int | None = None) -> Trajectory:
        """The network of a step on the run's evaluation trials, in the run's precision."""
        self.model(step)
        return self._plan.trajectory()

    def ntk(self, step: int | None = None) -> GlobalNTK:
        """NTK_S of a step on the run's evaluation trials, on the state that the run measured."""
        return global_ntk(self.trajectory(step))


def load_run(folder: str | Path) -> SavedRun:
    """Read a folder of ``kpflow run``.

    Args:
        folder: such as ``runs/memorypro/gru/<hash>``.

    Returns:
        The run: ``.tables["measurements"]``, ``.steps``, ``.model(step)``, ``.ntk(step)``.

    Raises:
        UserError: for a folder that holds no run.

    Example:
        >>> import kpflow_cli as kp
        >>> run = kp.load_run("runs/example")
        >>> run.steps, sorted(run.tables)
        ([0, 1, 2], ['measurements', 'periods', 'spectra', 'training'])
        >>> run.ntk(2).in_shape
        (4, 8, 7)
    """
    return SavedRun(Path(folder).expanduser())
