"""``kpflow measure``: a network that exists already, on trials of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kpflow_cli.errors import UserError

HELP = "measure a network that is trained already, at each of its checkpoints"
_ABOUT = """\
usage: kpflow measure [KEY=VALUE ...]

Measure NTK_S = P K P^* of a network that exists already: any torch.nn.Module, with its weights and
a batch of trials from files. Leaves the folder that `kpflow run` leaves, which the last line of
output names, for `kpflow table`, pandas and kp.load_run. The same command continues what was
interrupted, and goes on with checkpoints that have come since.

  kpflow measure model.target=my_nets.Net weights='*.pt' inputs=x.npy state=lstm
                                  a class, its checkpoints, trials (B, T, n_in), the submodule
                                  whose output is the state
  kpflow measure model.target=nets.py:Net model.kwargs.units=64 ...
                                  a class in a file, with keywords
  kpflow measure ... control=initialization draws=5
                                  beside it five networks with fresh weights
  kpflow measure ... targets=y.npy loss=cross_entropy
                                  with losses and target modes
  kpflow measure ... trained='*.weight_hh*' lengths=lengths.npy
                                  only these weights; padded trials
  kpflow measure weights=runs/memorypro/gru/<hash> inputs=x.npy
                                  a network of `kpflow run` on other trials

Nothing in a file of weights or trials is run while it is read (weights_only=false allows it); the
class that model.target names is.

  -h, --help                 this page

"""


def execute(words: list[str]) -> None:
    """Measure what the arguments ask for, or show what they ask to see."""
    from kpflow_cli.config.help import write_measure_page

    if any(word in ("-h", "--help") for word in words):
        print(write_measure_page(_ABOUT), end="")
        return
    from kpflow_cli.config.command_line import read_arguments, show
    from kpflow_cli.config.measure import for_hydra

    asked = read_arguments(for_hydra(words), "measure")
    if asked.is_sweep:
        raise UserError("measure: takes one network at a time; -m belongs to `kpflow run`")
    if asked.shows:
        show(asked)
    else:
        _measure(asked.overrides)


def _measure(overrides: list[str]) -> None:
    import torch

    from kpflow_cli.commands.pages import page_maker
    from kpflow_cli.config.grid import compose_one
    from kpflow_cli.config.measure import check_measure
    from kpflow_cli.config.validation import read_only
    from kpflow_cli.plotting.loading import load_plots
    from kpflow_cli.run.existing_plan import ExistingPlan
    from kpflow_cli.run.runner import follow

    values = _with_checksums(check_measure(compose_one(overrides, "measure")))
    torch.set_num_threads(values["threads"])
    plots = load_plots()
    follow(ExistingPlan(read_only(values)), _run_dir(values), plots, page=page_maker(plots))


def _with_checksums(values: dict[str, Any]) -> dict[str, Any]:
    """The configuration with the checksums of its files, so that it tells what is in them."""
    from kpflow_cli.array_files import array_checksum
    from kpflow_cli.config.measure import FILE_KEYS

    given = {key: values[key] for key in FILE_KEYS if values[key] is not None}
    return {**values, "sha256": {key: array_checksum(place, key) for key, place in given.items()}}


def _run_dir(values: dict[str, Any]) -> Path:
    from kpflow_cli.config.paths import read_path
    from kpflow_cli.config.validation import identity
    from kpflow_cli.run.identity import identity_hash

    if values["run_dir"] is not None:
        return read_path(values["run_dir"], "run_dir")
    target = values["model"]["target"] or "run"
    name = target.replace(":", ".").rpartition(".")[2]
    return Path("runs") / "measure" / name / identity_hash(identity(values))
