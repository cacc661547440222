"""Weights & Biases."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from kpflow_cli.config.keys import Key
from kpflow_cli.errors import UserError
from kpflow_cli.trackers.base import Folder, TrackedRun, folder_of, load_package, read_folder


class WandB:
    """A run of Weights & Biases whose id is the run's hash.

    Offline, each start makes one folder, ``wandb/offline-run-*-<hash>``, which holds the run from
    its first step on, and removes that of an earlier start; ``wandb sync`` uploads it. Online, the
    server's run is resumed by its id, and steps that it has are not sent again: a run that
    continues makes the same values.
    """

    def __init__(
        self,
        *,
        project: Annotated[str, Key("project of Weights & Biases that the run is shown in")],
        entity: Annotated[str | None, Key("user or team; null: the one who is logged in")],
        mode: Annotated[
            Literal["offline", "online"],
            Key("whether to write files that `wandb sync` uploads, or to send all to the server"),
        ],
        folder: Folder,
    ) -> None:
        self._wandb: Any = load_package("wandb")
        self._project, self._entity, self._mode = project, entity, mode
        self._folder = read_folder(folder)
        self._run: Any = None
        if mode == "online" and not self._wandb.login(prompt=False):
            raise UserError("tracker.mode=online: nobody is logged in; `wandb login` does that")

    def start(self, run: TrackedRun) -> None:
        """As ``Tracker.start`` says."""
        folder = folder_of(run, self._folder)
        folder.mkdir(parents=True, exist_ok=True)
        for earlier in (folder / "wandb").glob(f"offline-run-*-{run.hash}"):
            shutil.rmtree(earlier)
        self._run = self._wandb.init(
            dir=folder,
            project=self._project,
            entity=self._entity,
            id=run.hash,
            name=run.hash,
            resume="allow" if self._mode == "online" else None,
            mode=self._mode,
            config=dict(run.hyperparameters),
            # the run's own provenance, checkpoints and messages stay with it
            settings=self._wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
            ),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """As ``Tracker.log`` says."""
        if step >= self._run.starting_step:
            self._run.log(dict(values), step=step)

    def close(self) -> None:
        """As ``Tracker.close`` says."""
        if self._run is not None:
            self._run.finish()
