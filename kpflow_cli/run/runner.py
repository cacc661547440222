"""One run, start to end: build, train, measure, store; or continue where it stopped."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from kpflow_cli.config.validation import identity
from kpflow_cli.errors import DivergedError, FailedRunError, UnwrittenFileError, UserError
from kpflow_cli.measures.rows import Measured
from kpflow_cli.run.checkpoints import Checkpoint, Rows
from kpflow_cli.run.folder import RunFolder, open_run_folder
from kpflow_cli.run.measuring import measure_step
from kpflow_cli.run.measuring_plan import MeasuringPlan
from kpflow_cli.run.plan import Plan
from kpflow_cli.run.progress import Progress, Reporter
from kpflow_cli.run.recording import Page, Plots, Recording, tell
from kpflow_cli.run.signals import Stopped, StopSignals
from kpflow_cli.run.time_left import TimeLeft
from kpflow_cli.run.tracked import track
from kpflow_cli.trackers.tracking import Tracking


def run(
    config: DictConfig,
    run_dir: Path,
    plots: Plots,
    progress: Callable[[int, int, TimeLeft], Reporter] = Progress,
    page: Page | None = None,
) -> None:
    """Train and measure as ``config`` (checked) says, in ``run_dir``, continuing what is there;
    then draw ``plots`` from the CSV files.

    A complete run is left as it is, but for CSV files and plots that are missing. The last line of
    standard output names the folder. ``progress`` makes what shows the run's progress, from the
    number of steps and the first of them; ``page`` the run's page. Raises UserError, before any
    work, for input that cannot be worked with, and FailedRunError if training diverges.
    """
    torch.set_num_threads(config.threads)
    follow(Plan(config), run_dir, plots, progress, page)


def follow(
    plan: MeasuringPlan,
    run_dir: Path,
    plots: Plots,
    progress: Callable[[int, int, TimeLeft], Reporter] = Progress,
    page: Page | None = None,
) -> None:
    """Do what a plan says, as ``run`` does what a configuration says."""
    if plan.memory.is_tight:
        tell(str(plan.memory))
    if plan.why_no_core:
        tell(f"measured without a Kronecker core: {plan.why_no_core}")
    if plan.beside_core:
        tell(f"in NTK_S, not in the Kronecker core: {plan.beside_core}")
    tracking = track(plan.config, run_dir)
    with open_run_folder(run_dir, identity(plan.config)) as folder:
        session = _Session(plan, folder, progress, tracking)
        if page is not None:
            session.keep_page(page, is_wanted=bool(plan.config.get("report")))
        try:
            with session.stop_signals:
                session.work(plots)
        finally:
            tell(str(run_dir))


class _Session:
    """A run at work: what changes the weights, and what is recorded on the way."""

    def __init__(
        self,
        plan: MeasuringPlan,
        folder: RunFolder,
        progress: Callable[[int, int, TimeLeft], Reporter],
        tracking: Tracking,
    ) -> None:
        self._plan, self._make_progress = plan, progress
        self._recording = Recording(folder, identity(plan.config), plan.last_step, tracking)
        self.stop_signals = StopSignals()
        self._trainer = plan.trainer()
        if self._recording.last is not None:
            self._restore(self._recording.last, folder.path)

    def keep_page(self, page: Page, *, is_wanted: bool) -> None:
        """Have the run's page tell of each measured step and of the end."""
        self._recording.keep_page(page, is_wanted=is_wanted)

    def work(self, plots: Plots) -> None:
        """Do what is left to do."""
        if self._recording.was_complete:
            tell(f"all {self._plan.last_step} steps are done and measured already")
            self._recording.finish(plots)
            return
        with self._recording.under_way():
            try:
                self._train()
            except DivergedError:
                with self.stop_signals.breaking_off():
                    self._recording.draw(plots)
                raise
            with self.stop_signals.breaking_off():
                self._recording.finish(plots)

    def _restore(self, checkpoint: Checkpoint, path: Path) -> None:
        try:
            self._trainer.restore(checkpoint)
        except ValueError as error:
            raise UserError(
                f"{path}: the checkpoint of step {checkpoint.step} does not fit the model ({error})"
            ) from None

    def _train(self) -> None:
        """Train to the last step, measuring and saving on the way."""
        if self._recording.step > 0 or self._recording.recorded_step >= 0:
            tell(f"continuing from step {self._recording.step}")
        self._recording.switch("training")
        left = self._recording.time_left(self._plan.schedule)
        progress = self._make_progress(self._plan.last_step, self._recording.step, left)
        try:
            for loss in self._trainer.losses(self._plan.last_step):
                self._recording.step = self._trainer.step
                progress.show_step(self._trainer.step, loss)
                if self._trainer.step > self._recording.recorded_step:
                    self._visit(self._trainer.step, loss, progress)
                if self.stop_signals.received:
                    self._stop(self._checkpoint())
        except UnwrittenFileError:
            raise
        except FailedRunError as error:
            self._recording.step = self._trainer.step
            if isinstance(error, DivergedError):
                end = {"step": self._trainer.step, "loss": error.loss}
                self._recording.add(self._trainer.step, {"training": [end]})
            self._recording.write_tables()
            raise
        finally:
            progress.close()

    def _stop(self, checkpoint: Checkpoint) -> None:
        """Save all there is, then let the signal do what it would have done at once; go on where
        that leaves us alive.
        """
        self._recording.save_interrupted(checkpoint)
        tell(
            f"{self.stop_signals.received} at step {self._trainer.step}: saved; the same command "
            "continues"
        )
        self.stop_signals.pass_on()
        self._recording.write_status("running")

    def _visit(self, step: int, loss: float, progress: Reporter) -> None:
        """Record one step: evaluate, measure, save, as far as each is due."""
        found: dict[str, Rows] = {}
        if self._plan.is_evaluated(step):
            scores = self._plan.evaluation.scores(self._plan.model)
            found["training"] = [{"step": step, "loss": loss, **scores}]
        is_measured = step in self._plan.schedule
        if is_measured:
            progress.show_measuring()
            self._recording.switch("measuring")
            measured, rows = self._measure_unless_stopped(step)
            progress.show_measured(step, measured)
            found |= rows
        self._recording.add(step, found)
        if is_measured or self._plan.is_saved(step):
            self._recording.save(self._checkpoint(), measured=is_measured)

    def _measure_unless_stopped(self, step: int) -> tuple[Measured, dict[str, Rows]]:
        """Measure at one step. A signal drops what is measured of it so far and saves what was
        before; where that leaves us alive, it is measured from the start.
        """
        before = self._checkpoint()
        before = replace(before, model=copy.deepcopy(before.model))
        while True:
            try:
                with self.stop_signals.breaking_off():
                    return measure_step(self._plan, step, self._trainer.batch)
            except Stopped:
                self._put_back_buffers(before.model)
                self._stop(before)

    def _put_back_buffers(self, state: dict[str, Any]) -> None:
        """Measuring, broken off, may leave buffers of the model changed."""
        for name, buffer in self._plan.model.named_buffers():
            if name in state and not torch.equal(buffer, state[name]):
                buffer.data.copy_(state[name])

    def _checkpoint(self) -> Checkpoint:
        """All there is at this step, recorded or not."""
        return self._recording.checkpoint(
            self._plan.model.state_dict(), self._trainer.optimizer_state(), self._trainer.buffers
        )
