"""The configuration of ``kpflow measure``: a network that exists already, its weights, its
trials.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf

from kpflow_cli.config.declarations import keys_of
from kpflow_cli.config.keys import Key
from kpflow_cli.config.plugins import TARGET, keys_of_class
from kpflow_cli.config.validation import check_analysis, check_keys
from kpflow_cli.errors import UserError

# words whose values are paths or patterns, which hold what Hydra reads as grammar
PATH_KEYS = ("weights", "inputs", "targets", "mask", "lengths", "run_dir", "trained")
FILE_KEYS = ("inputs", "targets", "mask", "lengths")


@dataclass
class ExistingModel:
    """Group ``model`` of ``kpflow measure``."""

    target: Annotated[
        str | None,
        Key(
            "class of the network, or a function that makes it: package.module.Name or "
            "path/to/file.py:Name; null where weights= is a folder of `kpflow run`"
        ),
    ]
    kwargs: Annotated[
        dict[str, Any], Key("keywords it is called with, one by model.kwargs.<name>=<value>")
    ]


@dataclass
class Measure:
    """Keys of ``kpflow measure`` outside the groups."""

    weights: Annotated[
        str | None,
        Key(
            "a file of weights (*.pt, *.pth, *.ckpt, *.bin, *.safetensors, an *.index.json of "
            "shards), a quoted glob of checkpoints, or a folder, also of `kpflow run`; null: as "
            "the constructor makes them"
        ),
    ]
    weights_key: Annotated[
        str | None,
        Key("the state dict within a file, with dots for one within another; null finds it"),
    ]
    weights_only: Annotated[
        bool, Key("false: files may run code of their authors' while they are read")
    ]
    strict: Annotated[bool, Key("false: weights that the network does not have are left out")]
    inputs: Annotated[
        str,
        Key("file of the trials (*.npy, *.npz, *.pt), (B, T, ...), as the network takes them"),
    ]
    inputs_key: Annotated[str | None, Key("the array in a file of several")]
    targets: Annotated[
        str | None,
        Key("file of the targets, (B, T, n_out), or classes (B, T): adds loss and target modes"),
    ]
    targets_key: Annotated[str | None, Key("the array in a file of several")]
    loss: Annotated[Literal["mse", "cross_entropy"], Key("that the network was trained with")]
    mask: Annotated[str | None, Key("file of (B, T), 0 where a trial is padded")]
    mask_key: Annotated[str | None, Key("the array in a file of several")]
    lengths: Annotated[str | None, Key("file of (B,), the times of each trial that count")]
    lengths_key: Annotated[str | None, Key("the array in a file of several")]
    batch_first: Annotated[
        bool, Key("false: axes of inputs and states are time, trial, as nn.LSTM's by default")
    ]
    state: Annotated[
        str | None,
        Key("submodule whose output is the state; null: the first tensor that forward returns"),
    ]
    trained: Annotated[
        list[str], Key("patterns of names: the weights that NTK_S counts, such as *.weight_hh*")
    ]
    control: Annotated[
        Literal["none", "initialization"],
        Key("beside the first checkpoint: the same network with weights drawn afresh"),
    ]
    draws: Annotated[int, Key("networks of control=initialization", at_least=1, at_most=1000)]
    seed: Annotated[int, Key("every random draw derives from it", at_least=0, at_most=2**63 - 1)]
    device: Annotated[str, Key("cpu, cuda or cuda:<index>")]
    dtype: Annotated[Literal["float32", "float64"], Key("precision of measuring")]
    threads: Annotated[int, Key("threads of torch", at_least=1, at_most=1024)]
    report: Annotated[bool, Key("true: report.html, written anew at each checkpoint")]
    run_dir: Annotated[str | None, Key("output folder; default runs/measure/<network>/<hash>")]


def check_measure(config: DictConfig) -> dict[str, Any]:
    """Plain values of a composed configuration, each of its declared type and within its range.
    Raises UserError that names the key, the bad value and what is valid.
    """
    found = OmegaConf.to_container(config, resolve=True)
    assert isinstance(found, dict)
    rest: dict[Any, Any] = dict(found)
    groups: dict[str, Any] = {
        name: rest.pop(name, None) for name in ("model", "analysis", "tracker")
    }
    for group, node in groups.items():
        if not isinstance(node, dict):
            raise UserError(f"{group}={node}: choose its keys, such as {group}.target=")
    if isinstance(rest.get("trained"), str):
        rest["trained"] = [rest["trained"]]
    values = {
        "model": check_keys(keys_of(ExistingModel), groups["model"], "model"),
        **check_keys(keys_of(Measure), rest),
        "analysis": check_analysis(groups["analysis"]),
        "tracker": check_keys(
            keys_of_class("tracker", groups["tracker"].get(TARGET)), groups["tracker"], "tracker"
        ),
    }
    if values["model"]["target"] is None and values["weights"] is None:
        raise UserError("model.target: no value; it names the class of the network")
    if values["mask"] is not None and values["lengths"] is not None:
        raise UserError(f"lengths={values['lengths']}: beside mask=; one of the two will do")
    return values


def for_hydra(words: list[str]) -> list[str]:
    """Words of a command line as Hydra takes them: paths and patterns in quotes, and keywords of
    the network's added, which no file has.
    """
    quoted = []
    for word in words:
        name, equals, value = word.partition("=")
        plain = equals and value and value[0] not in "[{'\"" and value != "null"
        if plain and name in PATH_KEYS:
            escaped = value.replace("\\", "\\\\").replace("'", r"\'")
            word = f"{name}='{escaped}'"
        if name.startswith("model.kwargs."):
            word = f"++{word}"
        quoted.append(word)
    return quoted
