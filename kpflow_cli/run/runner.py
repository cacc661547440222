"""One run, start to end: build, train, measure, store; or continue where it stopped."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig

from kpflow_cli.config.validation import identity
from kpflow_cli.errors import (
    FailedRunError,
    UnwrittenFileError,
    UserError,
    describe_machine_error,
)
from kpflow_cli.measures.rows import Measured
from kpflow_cli.run.checkpoints import Checkpoint, Rows
from kpflow_cli.run.folder import Drawing, RunFolder, open_run_folder
from kpflow_cli.run.measuring import measure_step
from kpflow_cli.run.plan import Plan
from kpflow_cli.run.progress import Progress, Reporter
from kpflow_cli.run.signals import Stopped, StopSignals
from kpflow_cli.run.status import Stopwatch, describe_status
from kpflow_cli.run.tables import plain_rows

# each draws from the CSV files of a run; None where they do not hold what it shows
Plots = Mapping[str, Callable[[dict[str, pd.DataFrame]], Drawing | None]]


def run(
    config: DictConfig,
    run_dir: Path,
    plots: Plots,
    progress: Callable[[int, int], Reporter] = Progress,
) -> None:
    """Train and measure as ``config`` (checked) says, in ``run_dir``, continuing what is there;
    then draw ``plots`` from the CSV files.

    A complete run is left as it is, but for CSV files and plots that are missing. The last line of
    standard output names the folder. ``progress`` makes what shows the run's progress, from the
    number of steps and the first of them. Raises UserError, before any work, for input that cannot
    be worked with, and FailedRunError if training diverges.
    """
    torch.set_num_threads(config.threads)
    plan = Plan(config)
    if plan.memory.is_tight:
        print(plan.memory, flush=True)
    if plan.why_no_core:
        print(f"measured without a Kronecker core: {plan.why_no_core}", flush=True)
    if plan.beside_core:
        print(f"in NTK_S, not in the Kronecker core: {plan.beside_core}", flush=True)
    with open_run_folder(run_dir, identity(config)) as folder:
        session = _Session(plan, folder, progress)
        try:
            with session.stop_signals:
                session.work(plots)
        finally:
            print(run_dir, flush=True)


class _Session:
    """The state of a run at work: trainer, tables so far, durations."""

    def __init__(
        self, plan: Plan, folder: RunFolder, progress: Callable[[int, int], Reporter]
    ) -> None:
        self._plan, self._folder, self._make_progress = plan, folder, progress
        self._identity = identity(plan.config)
        self.stop_signals = StopSignals()
        self._error: str | None = None
        self._trainer = plan.trainer()
        self._last_step: int = plan.config.training.steps
        self._tables: dict[str, Rows] = {}
        self._recorded_step = -1
        lost: list[str] = []
        checkpoint = folder.latest_checkpoint(lost.append)
        for line in lost:
            _tell(line)
        if checkpoint is not None:
            self._restore(checkpoint)
        status = folder.read_status()
        self._damaged = folder.damaged_tables(status)
        # whoever has deleted the checkpoints of a complete run wants no others
        at_end = self._recorded_step == self._last_step or not (self._damaged or lost)
        self._was_complete = status.get("status") == "complete" and at_end
        self._earlier: dict[str, Any] = status if checkpoint is not None else {}
        self._stopwatch = Stopwatch(self._earlier.get("seconds", {}))

    def work(self, plots: Plots) -> None:
        """Do what is left to do."""
        if self._was_complete:
            _tell(f"all {self._last_step} steps are done and measured already")
            self._write_outputs(plots)
            return
        with self._recording():
            self._train()
            with self.stop_signals.breaking_off():
                self._write_outputs(plots)

    def _restore(self, checkpoint: Checkpoint) -> None:
        try:
            self._trainer.restore(
                checkpoint.step, checkpoint.model, checkpoint.optimizer, checkpoint.buffers
            )
        except ValueError as error:
            raise UserError(
                f"{self._folder.path}: the checkpoint of step {checkpoint.step} does not fit the "
                f"model ({error})"
            ) from None
        self._recorded_step = checkpoint.step if checkpoint.recorded else checkpoint.step - 1
        self._tables = checkpoint.tables

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """Keep run.json true to how the block goes."""
        self._write_status("running")
        try:
            yield
        except BaseException as error:
            outcome = _outcome(error)
            if outcome != "interrupted":
                self._error = f"{type(error).__name__}: {error}"
            with suppress(FailedRunError):
                self._write_status(outcome)
            raise
        self._write_status("complete")

    def _train(self) -> None:
        """Train to the last step, measuring and saving on the way."""
        if self._trainer.step > 0 or self._recorded_step >= 0:
            _tell(f"continuing from step {self._trainer.step}")
        progress = self._make_progress(self._last_step, self._trainer.step)
        self._stopwatch.switch("training")
        try:
            for loss in self._trainer.losses(self._last_step):
                progress.show_step(self._trainer.step, loss)
                if self._trainer.step > self._recorded_step:
                    self._visit(self._trainer.step, loss, progress)
                if self.stop_signals.received:
                    self._stop(self._checkpoint())
        except UnwrittenFileError:
            raise
        except FailedRunError:
            self._write_tables()
            raise
        finally:
            progress.close()
        self._folder.remove_intermediate_checkpoint()

    def _stop(self, checkpoint: Checkpoint) -> None:
        """Save all there is, then let the signal do what it would have done at once; go on where
        that leaves us alive.
        """
        self._folder.save_checkpoint(checkpoint, measured=False)
        self._write_status("interrupted")
        _tell(
            f"{self.stop_signals.received} at step {self._trainer.step}: saved; the same command "
            "continues"
        )
        self.stop_signals.pass_on()
        self._write_status("running")

    def _write_outputs(self, plots: Plots) -> None:
        """Write CSV files and plots: all of them, or, where the run was complete before, those that
        are missing or damaged.
        """
        self._stopwatch.switch("plotting")
        if not self._was_complete:
            self._write_tables()
        elif self._damaged:
            files = ", ".join(f"{name}.csv" for name in self._damaged)
            _tell(f"{files}: not there as written; written again from the last checkpoint")
            self._write_tables(self._damaged)
        wanted = [
            name for name in plots if not (self._was_complete and self._folder.has_drawing(name))
        ]
        written = self._folder.read_tables() if wanted else {}
        drawn = [name for name in wanted if self._draw(name, partial(plots[name], written))]
        if self._was_complete and (self._damaged or drawn):
            self._folder.write_manifest()

    def _draw(self, name: str, draw: Callable[[], Drawing | None]) -> bool:
        """Draw a plot and write it down; whether that was possible."""
        try:
            drawing = draw()
            if drawing is not None:
                self._folder.write_drawing(name, drawing)
        except FailedRunError:
            raise
        except Exception as error:
            # the numbers are there, and the same command draws what is missing
            _tell(f"plots/{name}: not drawn ({type(error).__name__}: {error})")
            return False
        return drawing is not None

    def _visit(self, step: int, loss: float, progress: Reporter) -> None:
        """Record one step: evaluate, measure, save, as far as each is due."""
        config = self._plan.config
        found: dict[str, Rows] = {}
        if step % config.training.evaluation_interval == 0 or step == self._last_step:
            scores = self._plan.evaluation.scores(self._plan.model)
            found["training"] = [{"step": step, "loss": loss, **scores}]
        is_measured = step in self._plan.schedule
        if is_measured:
            progress.show_measuring()
            self._stopwatch.switch("measuring")
            measured, rows = self._measure_unless_stopped(step)
            progress.show_measured(step, measured)
            found |= rows
        for table, new in found.items():
            self._tables.setdefault(table, []).extend(plain_rows(table, new))
        self._recorded_step = step
        if is_measured or step % config.save_interval == 0:
            self._folder.save_checkpoint(self._checkpoint(), measured=is_measured)
            if is_measured:
                self._write_tables()
                self._stopwatch.switch("training")
            self._write_status("running")

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
        step = self._trainer.step
        return Checkpoint(
            step,
            self._plan.model.state_dict(),
            self._trainer.optimizer.state_dict(),
            self._tables,
            self._trainer.buffers,
            recorded=self._recorded_step == step,
        )

    def _written_tables(self) -> dict[str, Rows]:
        return {name: rows for name, rows in self._tables.items() if rows}

    def _write_tables(self, names: Iterable[str] | None = None) -> None:
        """Write the CSV files of these names, of all there are where none are named."""
        there = self._written_tables()
        chosen = there if names is None else {name: there[name] for name in names if name in there}
        self._folder.write_tables(chosen)

    def _write_status(self, status: str) -> None:
        self._folder.write_status(
            describe_status(
                status,
                step=self._trainer.step,
                steps=self._last_step,
                identity=self._identity,
                error=self._error,
                earlier=self._earlier,
                seconds=self._stopwatch.seconds(),
                tables=sorted(self._written_tables()) or self._earlier.get("tables", []),
            )
        )


def _outcome(error: BaseException) -> str:
    """What run.json says of a run that ended so: ``interrupted`` where the same command can go
    on.
    """
    resumable = isinstance(error, UnwrittenFileError) or describe_machine_error(error)
    if resumable or not isinstance(error, Exception):
        return "interrupted"
    return "diverged" if isinstance(error, FailedRunError) else "failed"


def _tell(line: str) -> None:
    print(line, flush=True)
