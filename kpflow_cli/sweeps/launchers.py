"""Hydra's launchers as engines: ``hydra/launcher=joblib``, ``submitit_local``, ``submitit_slurm``
or any other that is installed.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import hydra
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from kpflow_cli.config.combinations import force_params
from kpflow_cli.config.command_line import explain
from kpflow_cli.errors import FailedRunError, UserError
from kpflow_cli.sweeps.engines import Engine, Work, in_process, room
from kpflow_cli.sweeps.worker import Failures

# jobs in a queue at a time, where nobody says how many
_QUEUED = 16
# between looks at Slurm's queue, at most; shorter at first
_LOOK_SECONDS = 30


def launcher_engine(
    overrides: list[str], config_name: str, *, threads: int, workers: int | None, logs: Path
) -> Engine:
    """The launcher that a configuration and Hydra's ``overrides`` choose, sequential by default;
    what it leaves goes to the folder ``logs``.

    ``workers`` of it run at a time, by default as many as this machine's cores have room for, on a
    cluster 16. Raises UserError for a launcher that is not there or cannot be made so.
    """
    config = _configure(overrides, config_name, logs)
    name = str(config.hydra.runtime.choices["hydra/launcher"])
    if name == "basic":
        if workers not in (None, 1):
            raise UserError(
                f"workers={workers}: without a launcher there is one; hydra/launcher=joblib "
                "starts several"
            )
        return in_process
    joblib_workers = (
        config.hydra.launcher.get("n_jobs")
        if any(each.lstrip("+").startswith("hydra.launcher.n_jobs") for each in overrides)
        else None
    )
    chosen = workers or joblib_workers or (_QUEUED if "slurm" in name else room(threads))

    def engine(work: Work, most: int) -> list[Failures]:
        count = min(chosen, most)
        if "n_jobs" in config.hydra.launcher:
            config.hydra.launcher.n_jobs = count
        try:
            return [_result(job) for job in _launch(config, work, count)]
        except (UserError, FailedRunError):
            raise
        except Exception as error:
            raise FailedRunError(
                f"hydra/launcher={name}: a worker was lost ({_reason(error)}); the same command "
                "continues"
            ) from None
        finally:
            _remove_empty(logs)

    return engine


def _configure(overrides: list[str], config_name: str, logs: Path) -> DictConfig:
    with hydra.initialize_config_module(
        "kpflow_cli.configs", version_base="1.3", job_name="kpflow"
    ):
        try:
            config = GlobalHydra.instance().hydra.compose_config(  # type: ignore[union-attr]
                config_name,
                [*force_params(overrides), f"hydra.sweep.dir='{logs}'"],
                run_mode=RunMode.MULTIRUN,
                from_shell=False,
            )
        except (HydraException, OmegaConfBaseException) as error:
            raise explain(error) from None
    with open_dict(config):
        config.hydra.mode = RunMode.MULTIRUN
    return config


def _launch(config: DictConfig, work: Work, count: int) -> list[JobReturn]:
    with hydra.initialize_config_module(
        "kpflow_cli.configs", version_base="1.3", job_name="kpflow"
    ):
        if str(config.hydra.launcher._target_).endswith("submitit_launcher.SlurmLauncher"):
            _watch_queue()
        context = HydraContext(
            config_loader=GlobalHydra.instance().config_loader(), callbacks=Callbacks()
        )
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context,
            task_function=lambda _config: work(),
            config=OmegaConf.create(config),
        )
        return list(launcher.launch([[] for _ in range(count)], initial_job_idx=0))


def _watch_queue() -> None:
    """Let submitit look for its jobs in Slurm's queue: it asks sacct, which without accounting
    never tells it that a job was cancelled.
    """
    from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob

    class QueueWatcher(SlurmInfoWatcher):
        def _make_command(self) -> list[str] | None:
            waiting = self._registered - self._finished
            return (
                ["squeue", "--noheader", "--array", "--format=%i", f"--user={os.getuid()}"]
                if waiting
                else None
            )

        def read_info(self, string: bytes | str) -> dict[str, dict[str, str]]:
            queued = (string if isinstance(string, str) else string.decode()).split()
            return {
                job: {"State": "RUNNING" if job in queued else "not in the queue"}
                for job in self._registered
            }

    SlurmJob.watcher = QueueWatcher(delay_s=_LOOK_SECONDS)


def _reason(error: Exception) -> str:
    """The first two lines of an error in one: submitit names the job in the first and says what
    became of it in the second.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" -")]
    return " ".join(lines[:2]) or type(error).__name__


def _result(job: JobReturn) -> Failures:
    if job.status is not JobStatus.COMPLETED:
        raise job._return_value
    return job.return_value


def _remove_empty(folder: Path) -> None:
    """Hydra makes a folder for each job, whether it needs one or not."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            with contextlib.suppress(OSError):
                path.rmdir()
    with contextlib.suppress(OSError):
        folder.rmdir()
