"""The configuration keys of a run beside those of its task and model, which own theirs: type, range
and meaning. Values stand in the YAML files under configs/.

A key that came after runs had been made has a default here, which says what was done before: it is
no part of a run's identity where it has that value, so that those runs are found and continue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from kpflow_cli.config.keys import Key

GROUPS = ("task", "model", "training", "analysis", "tracker")
# far beyond these, the threading library crashes without a word
MOST_THREADS = 1024
# how files are read, which does not tell what is in them
READING_KEYS = ("weights_only", "strict")
RUNTIME_KEYS = ("tracker", "save_interval", "report", "run_dir", "workers")


@dataclass
class Training:
    """Group ``training``."""

    steps: Annotated[int, Key("gradient steps", at_least=0, at_most=10**8)]
    batch_size: Annotated[int, Key("trials in a batch", at_least=1)]
    learning_rate: Annotated[float, Key("eta, the step size", above=0, at_most=1e38)]
    optimizer: Annotated[Literal["sgd", "momentum", "adam", "shampoo"], Key("update rule")]
    momentum: Annotated[float, Key("of optimizer=momentum, 0 for the others", at_least=0, below=1)]
    evaluation_interval: Annotated[int, Key("steps between rows of training.csv", at_least=1)]
    loss: Annotated[
        str,
        Key(
            "what gradient descent makes smaller: the mean squared error, or the cross-entropy of "
            "classes",
            registry="kpflow_cli.losses:LOSSES",
        ),
    ] = "mse"


@dataclass
class Analysis:
    """Group ``analysis``."""

    measures: Annotated[
        list[str],
        Key(
            "what is measured at each checkpoint: NTK_S, its two reductions, the factors K and P, "
            "V and the core, or what a function of your own makes",
            registry="kpflow_cli.measures.registry:MEASURES",
            finder="kpflow_cli.measures.registry:find_measure",
        ),
    ]
    records: Annotated[
        list[str],
        Key(
            "what is written down at the first, middle and last checkpoint, for figures",
            registry="kpflow_cli.measures.records:RECORDS",
        ),
    ]
    state: Annotated[
        Literal["own", "site_outputs", "site_inputs"],
        Key(
            "what NTK_S acts on: the model's own state (of model=attention all site outputs), or "
            "all weight sites' outputs or inputs"
        ),
    ]
    checkpoints: Annotated[
        int,
        Key(
            "measured checkpoints: the first step, the last, and between them ever sparser",
            at_least=2,
            at_most=10_000,
        ),
    ]
    probes: Annotated[
        int,
        Key(
            "random probe vectors behind each full estimate; N = B T n of them make it exact",
            at_least=2,
        ),
    ]
    tolerance: Annotated[
        float | None,
        Key(
            "relative standard error to add probes for, of NTK_S and its reductions' ranks (of "
            "its alignment absolute); null for none",
            above=0,
        ),
    ]
    most_probes: Annotated[int, Key("probes that a tolerance may lead to", at_least=2)]
    eigenvalues: Annotated[
        int,
        Key(
            "leading eigenvalues and singular values to keep, also deflated from the estimates",
            at_least=1,
        ),
    ]
    sketch: Annotated[int, Key("vectors that deflate each reduction of NTK_S", at_least=0)]
    krylov_block: Annotated[
        int, Key("start vectors of the block Krylov iteration for NTK_S", at_least=1)
    ]
    krylov_depth: Annotated[int, Key("products of that iteration", at_least=1)]
    propagator_krylov_block: Annotated[
        int, Key("start vectors a trial of the iteration for P", at_least=1)
    ]
    propagator_krylov_depth: Annotated[int, Key("products of that iteration", at_least=1)]
    block_size: Annotated[
        int | None,
        Key(
            "vectors multiplied at once; null chooses by memory; does not change the numbers "
            "beyond rounding",
            at_least=1,
        ),
    ]


@dataclass
class Run:
    """Keys outside the groups."""

    seed: Annotated[int, Key("every random draw derives from it", at_least=0, at_most=2**63 - 1)]
    device: Annotated[str, Key("cpu, cuda or cuda:<index>")]
    dtype: Annotated[Literal["float32", "float64"], Key("precision of training and measuring")]
    threads: Annotated[
        int,
        Key(
            "threads of torch (part of a run's identity: sums depend on it)",
            at_least=1,
            at_most=MOST_THREADS,
        ),
    ]
    save_interval: Annotated[
        int, Key("steps between saves that a killed run continues from", at_least=1)
    ]
    report: Annotated[
        bool,
        Key(
            "true: report.html, written anew at each measured step and at the end; one that "
            "`kpflow report` has made is kept up to date in any case"
        ),
    ]
    run_dir: Annotated[
        str | None,
        Key(
            "output folder; under -m the parent folder of the points; default "
            "runs/<task>/<model>/<hash>"
        ),
    ]
    workers: Annotated[
        int | None,
        Key(
            "of a sweep, at a time; null: as many as the launcher has room for",
            at_least=1,
            at_most=1024,
        ),
    ]
