"""Every configuration key: its type, its range, its meaning. Values stand in the YAML files under
configs/.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any


def key(meaning: str, *, choices: tuple[str, ...] = (), **limits: float) -> Any:
    """A dataclass field that documents a configuration key and the values it takes; limits are
    at_least, above, at_most, below.
    """
    return field(metadata={"meaning": meaning, "choices": choices, "limits": limits})


@dataclass
class MemoryProTask:
    """``task=memorypro``."""

    _target_: str = key("class of the task")
    stimulus_steps: int = key("time steps of the stimulus period", at_least=1)
    memory_steps: int = key("time steps of the memory period", at_least=0)
    response_steps: int = key("time steps of the response period", at_least=1)
    noise: float = key("standard deviation of the Gaussian noise on training inputs", at_least=0)
    evaluation_trials: int = key("noise-free evaluation trials, angles equally spaced", at_least=1)
    anti: bool = key("respond with the opposite sign")
    stimulus_stays: bool = key("keep the stimulus on through memory and response")


@dataclass
class StudentTeacherTask:
    """``task=student_teacher``."""

    _target_: str = key("class of the task")
    case: str = key(
        "what the student draws and trains, all else is the teacher's", choices=("W", "Win", "both")
    )
    input_rank: int = key("rank r_x of the inputs, at most task.input_dim", at_least=1)
    input_dim: int = key("input channels", at_least=1)
    normalize_inputs: bool = key(
        "divide inputs by sqrt(r_x), so that their power does not grow with the rank"
    )
    time_steps: int = key("time steps of a trial", at_least=1)
    evaluation_trials: int = key("evaluation trials, fixed", at_least=1)
    teacher_gain: float = key("factor g* on the teacher's recurrent weights", at_least=0)
    input_gain: float = key(
        "factor on the student's input weights in the cases Win and both; by default model.gain",
        at_least=0,
    )


@dataclass
class AttentionTask:
    """``task=attention``."""

    _target_: str = key("class of the task")
    input_dim: int = key("input channels", at_least=1)
    time_steps: int = key("time steps of a trial", at_least=1)
    evaluation_trials: int = key("evaluation trials, fixed", at_least=1)
    standardize: bool = key(
        "shift and scale targets to mean 0 and variance 1 over the evaluation trials"
    )


@dataclass
class Model:
    """What recurrent and custom models have in common."""

    _target_: str = key("class of the model")
    units: int = key("hidden units n", at_least=1)


@dataclass
class CustomModel(Model):
    """``model=custom`` and the networks that come with it."""

    target: str = key(
        "class of the network, of your own: built by keywords input_size, output_size, units, "
        "returns (output, state)"
    )
    kwargs: dict[str, Any] = key(  # noqa: RUF009
        "further keywords of that class; one is added by +model.kwargs.<name>=<value>"
    )
    state: str | None = key(
        "submodule whose output is the state; null where forward returns (output, state)"
    )
    others: str = key("trained parameters outside of linear maps", choices=("refuse", "autograd"))


@dataclass
class RecurrentModel(Model):
    """What the recurrent models have in common."""

    gain: float = key("factor g on the initial recurrent weights", at_least=0)
    initialization: str = key(
        "how weight matrices are drawn", choices=("xavier_normal", "orthogonal", "torch_default")
    )
    fixed_points: int = key(
        "non-trivial fixed points planted at initialization: states that zero input leaves where "
        "they are",
        at_least=0,
    )


@dataclass
class TorchModel(RecurrentModel):
    """``model=gru`` and ``model=vanilla_rnn``."""

    bias: bool = key("whether the recurrence, or the maps of model=attention, have biases")


@dataclass
class AttentionModel:
    """``model=attention``."""

    _target_: str = key("class of the model")
    width: int = key("units of the attention layer, a multiple of model.heads", at_least=1)
    heads: int = key("attention heads", at_least=1)
    mlp_width: int = key("units of the MLP's hidden layers", at_least=1)
    mlp_layers: int = key("affine maps of the MLP, the last of which gives the outputs", at_least=1)
    bias: bool = key("whether the recurrence, or the maps of model=attention, have biases")
    causal: bool = key("whether a time step attends to none after it")
    positions: int = key("learned positional embeddings, one a time step; 0 for none", at_least=0)
    fourier_features: int = key(
        "lift each input x to so many of sin(2 pi x), cos(2 pi x), sin(4 pi x), cos(4 pi x), "
        "sin(8 pi x), ...; 0 for x itself",
        at_least=0,
        # beyond, numbers of single precision overflow
        at_most=240,
    )
    initialization: str = key(
        "how weight matrices are drawn", choices=("xavier_normal", "orthogonal", "torch_default")
    )


@dataclass
class ContinuousTimeRNNModel(RecurrentModel):
    """``model=rnn``."""

    dt: float = key("time step over the units' time constant", above=0, at_most=1)


@dataclass
class Training:
    """Group ``training``."""

    steps: int = key("gradient steps", at_least=0)
    batch_size: int = key("trials in a batch", at_least=1)
    learning_rate: float = key("eta, the step size", above=0)
    optimizer: str = key("update rule", choices=("sgd", "momentum", "adam", "shampoo"))
    momentum: float = key("of optimizer=momentum, 0 for the others", at_least=0, below=1)
    evaluation_interval: int = key("steps between rows of training.csv", at_least=1)


@dataclass
class Analysis:
    """Group ``analysis``."""

    measures: list[str] = key(  # noqa: RUF009
        "what is measured at each checkpoint: NTK_S, its two reductions, the factors K and P, V "
        "and the core",
        choices=("ntk", "mean", "trace", "k", "p", "v"),
    )
    records: list[str] = key(  # noqa: RUF009
        "what is written down at the first, middle and last checkpoint, for figures",
        choices=(
            "outputs",
            "temporal_modes",
            "temporal_spectra",
            "error_propagation",
            "core_matrices",
            "reductions",
            "zero_input",
            "attention_map",
        ),
    )
    state: str = key(
        "what NTK_S acts on: the model's own state (of model=attention all site outputs), or all "
        "weight sites' outputs or inputs",
        choices=("own", "site_outputs", "site_inputs"),
    )
    checkpoints: int = key(
        "measured checkpoints: the first step, the last, and between them ever sparser", at_least=2
    )
    probes: int = key(
        "random probe vectors behind each full estimate; N = B T n of them make it exact",
        at_least=2,
    )
    tolerance: float | None = key(
        "relative standard error to add probes for, of NTK_S and its reductions' ranks (of its "
        "alignment absolute); null for none",
        above=0,
    )
    most_probes: int = key("probes that a tolerance may lead to", at_least=2)
    eigenvalues: int = key(
        "leading eigenvalues and singular values to keep, also deflated from the estimates",
        at_least=1,
    )
    sketch: int = key("vectors that deflate each reduction of NTK_S", at_least=0)
    krylov_block: int = key("start vectors of the block Krylov iteration for NTK_S", at_least=1)
    krylov_depth: int = key("products of that iteration", at_least=1)
    propagator_krylov_block: int = key("start vectors a trial of the iteration for P", at_least=1)
    propagator_krylov_depth: int = key("products of that iteration", at_least=1)
    block_size: int | None = key(
        "vectors multiplied at once; null chooses by memory; does not change the numbers beyond "
        "rounding",
        at_least=1,
    )


@dataclass
class Run:
    """Keys outside the groups."""

    seed: int = key("every random draw derives from it", at_least=0)
    device: str = key("cpu, cuda or cuda:<index>")
    dtype: str = key("precision of training and measuring", choices=("float32", "float64"))
    threads: int = key("threads of torch (part of a run's identity: sums depend on it)", at_least=1)
    save_interval: int = key("steps between saves that a killed run continues from", at_least=1)
    run_dir: str | None = key(
        "output folder; under -m the parent folder of the points; default "
        "runs/<task>/<model>/<hash>"
    )
    workers: int | None = key(
        "of a sweep, at a time; null: as many as the launcher has room for", at_least=1
    )


# a task or model of the user's own has no entry here and answers for its own keys
SCHEMAS: dict[str, type] = {
    "kpflow_cli.tasks.memory_pro.MemoryPro": MemoryProTask,
    "kpflow_cli.tasks.student_teacher.StudentTeacher": StudentTeacherTask,
    "kpflow_cli.tasks.attention.Attention": AttentionTask,
    "kpflow_cli.models.attention.SelfAttention": AttentionModel,
    "kpflow_cli.models.gru.GRU": TorchModel,
    "kpflow_cli.models.rnn.ContinuousTimeRNN": ContinuousTimeRNNModel,
    "kpflow_cli.models.rnn.VanillaRNN": TorchModel,
    "kpflow_cli.models.custom.CustomModel": CustomModel,
}
GROUPS = ("task", "model", "training", "analysis")
RUNTIME_KEYS = ("save_interval", "run_dir", "workers")


def documented_keys() -> Iterator[tuple[str, str]]:
    """Each key with its meaning and valid values, in the order of the help page."""
    tasks = {
        declared.name: declared
        for schema in (MemoryProTask, StudentTeacherTask, AttentionTask)
        for declared in fields(schema)
    }
    schemas = (TorchModel, ContinuousTimeRNNModel, AttentionModel, CustomModel)
    models = {declared.name: declared for schema in schemas for declared in fields(schema)}
    groups = (("", fields(Run)), ("task.", tasks.values()), ("model.", models.values()))
    for prefix, declarations in (
        *groups,
        ("training.", fields(Training)),
        ("analysis.", fields(Analysis)),
    ):
        for declared in declarations:
            if declared.name != "_target_":
                valid = valid_values(declared)
                yield (
                    prefix + declared.name,
                    declared.metadata["meaning"] + (f" ({valid})" if valid else ""),
                )


def valid_values(declared: Field[Any]) -> str:
    """The valid values of a key in words; empty if any of its type will do."""
    limits = [
        f"{word.replace('_', ' ')} {limit:g}" for word, limit in declared.metadata["limits"].items()
    ]
    return ", ".join(declared.metadata["choices"] or limits)
