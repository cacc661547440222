"""One run, start to end: build, train, measure, store; or continue where it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig

from kpflow_cli.config.validation import identity
from kpflow_cli.errors import FailedRunError, UserError
from kpflow_cli.measures.checkpoint import measure
from kpflow_cli.measures.records import RECORDS
from kpflow_cli.measures.records.scene import Scene
from kpflow_cli.measures.rows import Measured
from kpflow_cli.ntk import global_ntk
from kpflow_cli.run import provenance, tables
from kpflow_cli.run.folder import Checkpoint, Drawing, Rows, RunFolder, open_run_folder, read_tables
from kpflow_cli.run.identity import identity_hash
from kpflow_cli.run.plan import Plan
from kpflow_cli.run.progress import Progress, Reporter
from kpflow_cli.run.signals import StopSignals

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
    with open_run_folder(run_dir, identity(config)) as folder:
        session = _Session(plan, folder, progress)
        try:
            with session.stop_signals:
                session.work(plots)
        finally:
            print(run_dir, flush=True)


def _sessions(status: dict[str, Any]) -> list[dict[str, Any]]:
    """What made the run so far, session by session: the step that each reached, and what it ran on;
    empty for an empty status.
    """
    if not status:
        return []
    return [
        *status.get("continues", []),
        {key: status.get(key) for key in ("step", *provenance.made_by())},
    ]


class _Stopwatch:
    """Seconds spent on each activity; exactly one is always under way."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = dict(seconds)
        self._activity, self._since = "starting", time.perf_counter()

    def switch(self, activity: str) -> None:
        """Go on with another activity."""
        self.seconds()
        self._activity = activity

    def seconds(self) -> dict[str, float]:
        """Seconds of each activity until now."""
        now = time.perf_counter()
        self._seconds[self._activity] = self._seconds.get(self._activity, 0.0) + now - self._since
        self._since = now
        return {activity: round(seconds, 3) for activity, seconds in self._seconds.items()}


class _Session:
    """The state of a run at work: trainer, tables so far, durations."""

    def __init__(
        self, plan: Plan, folder: RunFolder, progress: Callable[[int, int], Reporter]
    ) -> None:
        self._plan, self._folder, self._make_progress = plan, folder, progress
        self.stop_signals = StopSignals()
        self._error: str | None = None
        self._trainer = plan.trainer()
        self._last_step: int = plan.config.training.steps
        self._tables: dict[str, Rows] = {}
        self._recorded_step = -1
        checkpoint = folder.latest_checkpoint()
        if checkpoint is not None:
            self._restore(checkpoint)
        status = folder.read_status()
        at_end = self._recorded_step == self._last_step or all(
            folder.has_table(name) for name in status.get("tables", ())
        )
        self._was_complete = status.get("status") == "complete" and at_end
        self._earlier: dict[str, Any] = status if checkpoint is not None else {}
        self._stopwatch = _Stopwatch(self._earlier.get("seconds", {}))

    def work(self, plots: Plots) -> None:
        """Do what is left to do."""
        if self._was_complete:
            print(f"all {self._last_step} steps are done and measured already", flush=True)
            self._write_outputs(plots)
            return
        with self._recording():
            self._train()
            self._write_outputs(plots)

    def _restore(self, checkpoint: Checkpoint) -> None:
        try:
            self._plan.model.load_state_dict(checkpoint.model)
            self._trainer.optimizer.load_state_dict(checkpoint.optimizer)
        except (RuntimeError, ValueError, KeyError) as error:
            raise UserError(
                f"{self._folder.path}: the checkpoint of step {checkpoint.step} does not fit the "
                f"model ({error})"
            ) from None
        self._trainer.step = self._recorded_step = checkpoint.step
        self._tables = checkpoint.tables

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """Keep run.json true to how the block goes."""
        outcome = "interrupted"
        self._write_status("running")
        try:
            yield
            outcome = "complete"
        except Exception as error:
            outcome = "diverged" if isinstance(error, FailedRunError) else "failed"
            self._error = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._write_status(outcome)

    def _train(self) -> None:
        """Train to the last step, measuring and saving on the way."""
        if self._recorded_step >= 0:
            print(f"continuing from step {self._recorded_step}", flush=True)
        progress = self._make_progress(self._last_step, self._trainer.step)
        self._stopwatch.switch("training")
        try:
            for loss in self._trainer.losses(self._last_step):
                progress.show_step(self._trainer.step, loss)
                if self._trainer.step > self._recorded_step:
                    self._visit(self._trainer.step, loss, progress)
                if self.stop_signals.received:
                    self._stop()
        except FailedRunError:
            self._write_tables()
            raise
        finally:
            progress.close()
        self._folder.remove_intermediate_checkpoint()

    def _stop(self) -> None:
        """Save all there is, then let the signal do what it would have done at once; go on where
        that leaves us alive.
        """
        self._save(self._trainer.step, measured=False)
        self._write_status("interrupted")
        print(
            f"{self.stop_signals.received} at step {self._trainer.step}: saved; the same command "
            "continues",
            flush=True,
        )
        self.stop_signals.pass_on()
        self._write_status("running")

    def _write_outputs(self, plots: Plots) -> None:
        """Write CSV files and plots: all of them, or, where the run was complete before, those that
        are missing.
        """
        self._stopwatch.switch("plotting")
        self._write_tables(missing_only=self._was_complete)
        tables_written = read_tables(self._folder.path)
        for name, draw in plots.items():
            if not (self._was_complete and self._folder.has_drawing(name)):
                drawing = draw(tables_written)
                if drawing is not None:
                    self._folder.write_drawing(name, drawing)

    def _visit(self, step: int, loss: float, progress: Reporter) -> None:
        """Record one step: evaluate, measure, save, as far as each is due."""
        config = self._plan.config
        if step % config.training.evaluation_interval == 0 or step == self._last_step:
            self._add(
                "training",
                [{"step": step, "loss": loss, **self._plan.evaluation.scores(self._plan.model)}],
            )
        if step in self._plan.schedule:
            progress.show_measuring()
            self._stopwatch.switch("measuring")
            progress.show_measured(step, self._measure(step))
            self._save(step, measured=True)
            self._write_tables()
            self._stopwatch.switch("training")
            self._write_status("running")
        elif step % config.save_interval == 0:
            self._save(step, measured=False)
            self._write_status("running")

    def _measure(self, step: int) -> Measured:
        """Measure everything at one step and add the rows to the tables."""
        plan = self._plan
        trajectory, precise = plan.trajectories()
        generator = plan.randomness.generator("probes", step)
        ntk, directions = global_ntk(trajectory), plan.target_directions(precise or trajectory)
        precise_ntk = None if precise is None else global_ntk(precise, compressed=False)
        try:
            measured = measure(ntk, directions, plan.analysis, generator, precise=precise_ntk)
        except FailedRunError as error:
            raise FailedRunError(f"step {step}: {error}") from None
        self._add("measurements", tables.measurement_rows(step, measured))
        self._add("spectra", tables.spectrum_rows(step, measured))
        if step in {plan.schedule[index] for index in (0, len(plan.schedule) // 2, -1)}:
            scene = Scene(
                plan.model, plan.evaluation, self._trainer.batch, trajectory, ntk, generator
            )
            for name in plan.analysis.records:
                for table, rows in RECORDS[name].rows(scene).items():
                    self._add(table, ({"step": step, **row} for row in rows))
        return measured

    def _add(self, table: str, rows: Iterable[dict[str, Any]]) -> None:
        self._tables.setdefault(table, []).extend(rows)

    def _save(self, step: int, *, measured: bool) -> None:
        model, optimizer = self._plan.model.state_dict(), self._trainer.optimizer.state_dict()
        self._folder.save_checkpoint(
            Checkpoint(step, model, optimizer, self._tables), measured=measured
        )

    def _write_tables(self, *, missing_only: bool = False) -> None:
        kept = {name: rows for name, rows in self._tables.items() if rows}
        if missing_only:
            kept = {name: rows for name, rows in kept.items() if not self._folder.has_table(name)}
        self._folder.write_tables(kept)

    def _write_status(self, status: str) -> None:
        config = self._plan.config
        seconds = self._stopwatch.seconds()
        content = {
            "status": status,
            "step": self._trainer.step,
            "steps": self._last_step,
            "seed": config.seed,
            "hash": identity_hash(identity(config)),
            "config": identity(config),
            **provenance.made_by(),
            **({} if self._error is None else {"error": self._error}),
            "continues": _sessions(self._earlier),
            "duration": round(sum(seconds.values()), 3),
            "seconds": seconds,
            "tables": sorted(name for name, rows in self._tables.items() if rows)
            or self._earlier.get("tables", []),
            "peak_memory_mib": max(
                provenance.peak_memory_mib(), self._earlier.get("peak_memory_mib", 0.0)
            ),
        }
        self._folder.write_status(content)
