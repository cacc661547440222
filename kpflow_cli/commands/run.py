"""``kpflow run``: a run, or with ``-m`` a sweep of them."""

from __future__ import annotations

from pathlib import Path

HELP = (
    "train a network on a task; measure spectra, effective ranks and alignment of NTK_S along the "
    "way"
)
_ABOUT = """\
usage: kpflow run [-m] [GROUP=CHOICE ...] [KEY=VALUE ...] [OPTION ...]

Train a network by gradient descent and measure NTK_S = P K P^* along the way. Writes CSV files,
checkpoints and plots into a folder of its own, which the last line of output names. The same
command continues what was interrupted.

  kpflow run task=memorypro model=gru                 one run
  kpflow run model=rnn training.learning_rate=0.01    other choices, other values
  kpflow run -m model.gain=0.5,1,1.5 seed=0,1         a sweep: every combination of values
  kpflow run -m +sweep=memorypro_gain                 a named one
  kpflow run -m ... hydra/launcher=joblib             several runs at a time on this machine;
                                                      submitit_slurm: on a cluster
  kpflow run --config-dir DIR task=mine               a task of your own, DIR/task/mine.yaml
  kpflow run model=attention --help                   the keys of that model

  -m, --multirun             a sweep
  -cd, --config-dir DIR      groups of your own
  -c, --cfg job              show the configuration and stop
  -i, --info [WHAT]          show where the configuration comes from
  -h, --help                 this page, for the task and model that are chosen
"""


def execute(words: list[str]) -> None:
    """Make the run or the sweep that the arguments ask for, or show what they ask to see."""
    from kpflow_cli.config.help import read_or_show

    asked = read_or_show(words, "config", _ABOUT)
    if asked is None:
        return
    if asked.is_sweep:
        from kpflow_cli.sweeps.command import sweep

        sweep(asked.overrides, asked.config_name)
    else:
        _make_run(asked.overrides, asked.config_name)


def _make_run(overrides: list[str], config_name: str) -> None:
    from kpflow_cli.commands.pages import page_maker
    from kpflow_cli.config.grid import compose_point
    from kpflow_cli.config.paths import read_path
    from kpflow_cli.config.validation import identity
    from kpflow_cli.plotting.loading import NAMES, load_plots
    from kpflow_cli.run.finished import finished_summary
    from kpflow_cli.run.reading import run_path

    point = compose_point(overrides, config_name)
    chosen = point.values["run_dir"]
    path = (
        read_path(chosen, "run_dir")
        if chosen is not None
        else run_path(Path("runs"), point.choices, identity(point.values))
    )
    summary = finished_summary(path, point.values, NAMES)
    if summary is not None:
        steps = point.values["training"]["steps"]
        told = (f"all {steps} steps are done and measured already", summary, path)
        print(*told, sep="\n", flush=True)
        return
    from kpflow_cli.run.runner import run

    plots = load_plots()
    run(point.config, path, plots, page=page_maker(plots))
