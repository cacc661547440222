"""The runs that a figure is drawn from: which there are, which are done, and making those that are missing, several at a time."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import queue
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig
from tqdm import tqdm

from kpflow_cli.errors import FailedRunError, UserError
from kpflow_cli.schema import FigureSpec, identity
from kpflow_cli.store import identity_hash, is_complete, read_tables

# from overrides to a checked configuration and the names chosen of each group
Compose = Callable[[list[str]], tuple[DictConfig, dict[str, str]]]


@dataclass(frozen=True)
class FigureRun:
    """One run of a figure: the name it has there, its configuration (checked) and its folder."""

    name: str
    config: DictConfig
    path: Path

    @property
    def seed(self) -> int:
        """Of every random draw in it."""
        return int(self.config.seed)


def figure_runs(spec: FigureSpec, profile: str, overrides: list[str], compose: Compose, runs_dir: Path) -> list[FigureRun]:
    """Every run and seed of a figure in a profile; ``overrides`` come last, a seed among them replaces the profile's.

    Raises UserError for what cannot be composed.
    """
    chosen = spec.profiles[profile]
    seeds = [f"seed={seed}" for seed in chosen.seeds]
    if any(override.startswith("seed=") for override in overrides):
        seeds = seeds[:1]
    runs = []
    for name, own in spec.runs.items():
        for seed in seeds:
            config, choices = compose([*spec.overrides, *chosen.overrides, *own, seed, *overrides])
            runs.append(FigureRun(name, config, runs_dir / choices["task"] / choices["model"] / identity_hash(identity(config))))
    return runs


def gathered(runs: Iterable[FigureRun]) -> dict[str, pd.DataFrame]:
    """Each CSV file of all runs as one table, with columns ``run`` (its name) and ``seed`` in front."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for run in runs:
        for stem, table in read_tables(run.path).items():
            table.insert(0, "run", run.name)
            table.insert(1, "seed", run.seed)
            parts.setdefault(stem, []).append(table)
    return {stem: pd.concat(tables, ignore_index=True) for stem, tables in parts.items()}


def make_missing(runs: Iterable[FigureRun], label: str) -> None:
    """Make or continue every run that is not complete, as many at a time as there are cores for.

    Raises FailedRunError that names the runs that failed, after all have been tried.
    """
    missing = {run.path: run for run in runs if not is_complete(run.path)}
    if not missing:
        return
    workers = min(len(missing), max(1, (os.cpu_count() or 1) // max(run.config.threads for run in missing.values())))
    # spawned, not forked: a forked process inherits torch's threads in an undefined state
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(workers, mp_context=context) as pool:
        news = manager.Queue()
        jobs = {pool.submit(_make, run.config, run.path, news): run for run in missing.values()}
        try:
            failures = list(_watch(jobs, news, label))
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise
    if failures:
        raise FailedRunError(f"{label}: {len(failures)} of {len(missing)} runs failed: {'; '.join(failures)}")


def _watch(jobs: dict[Future[None], FigureRun], news: Any, label: str) -> Iterable[str]:
    """Show progress until all jobs have ended; yields what went wrong with each run that failed."""
    interval = 0.2 if sys.stderr.isatty() else 60.0
    steps = sum(run.config.training.steps + 1 for run in jobs.values())
    pending = set(jobs)
    with tqdm(total=steps, unit="step", desc=label, mininterval=interval, maxinterval=interval, dynamic_ncols=True) as bar:
        while pending:
            with contextlib.suppress(queue.Empty):
                bar.update(news.get(timeout=0.2))
            for job in [job for job in pending if job.done()]:
                pending.remove(job)
                bar.set_postfix_str(f"{len(jobs) - len(pending)} of {len(jobs)} runs done")
                error = job.exception()
                if isinstance(error, FailedRunError | UserError | BrokenProcessPool):
                    yield f"{jobs[job].name}, seed {jobs[job].seed} ({jobs[job].path}): {error}"
                elif error is not None:
                    raise error
        while not news.empty():
            bar.update(news.get())


class _RemoteProgress:
    """What would be shown of a run, told to another process as numbers of steps."""

    def __init__(self, news: Any) -> None:
        self._news, self._told = news, 0

    def at(self, step: int, _loss: float) -> None:
        """Tell the steps done since last time; step 0 is one of them."""
        self._news.put(step + 1 - self._told)
        self._told = step + 1

    def measuring(self) -> None:
        """Nothing to tell."""

    def measured(self, _step: int, _measured: object) -> None:
        """Nothing to tell."""

    def close(self) -> None:
        """Nothing to put away."""


def _make(config: DictConfig, path: Path, news: Any) -> None:
    """One run in a worker process, its own output left out."""
    from kpflow_cli.runner import run

    with contextlib.redirect_stdout(io.StringIO()):
        run(config, path, plots={}, progress=lambda _steps, _first_step: _RemoteProgress(news))
