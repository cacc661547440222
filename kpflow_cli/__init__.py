"""kpflow: measure the operator that gradient descent induces on a network's state, NTK_S = P K P^*.

``import kpflow_cli as kp`` has every name that a notebook needs; each is loaded, and torch with it,
when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kpflow_cli.config.keys import Key
    from kpflow_cli.errors import FailedRunError, UserError
    from kpflow_cli.estimators.estimate import Estimate
    from kpflow_cli.estimators.exchangeable_traces import xnystrace, xtrace
    from kpflow_cli.estimators.spectrum import leading_eigenpairs, leading_singular_triplets
    from kpflow_cli.estimators.statistics import (
        cosine_alignment,
        effective_rank,
        frobenius_norm,
        rayleigh_quotient,
        trace,
    )
    from kpflow_cli.estimators.trace_methods import hutch_plus_plus_trace, hutchinson_trace
    from kpflow_cli.measures.layers import layer_shares
    from kpflow_cli.measures.registry import Measure
    from kpflow_cli.measures.rows import Measured, Measurement
    from kpflow_cli.measures.subject import Subject
    from kpflow_cli.models.base import Model, RecurrentModel
    from kpflow_cli.ntk.contract import GlobalNTK, Trajectory, global_ntk
    from kpflow_cli.ntk.recurrent import RecurrentTrajectory
    from kpflow_cli.ntk.traced import linearize
    from kpflow_cli.ntk.weight_sites import WeightSite
    from kpflow_cli.operators.base import LinearOperator
    from kpflow_cli.operators.gram import GramOperator
    from kpflow_cli.operators.reductions import mean_over, restrict, trace_over
    from kpflow_cli.operators.structured import (
        DenseOperator,
        Identity,
        TensorProduct,
        WrappedOperator,
    )
    from kpflow_cli.recorder import Recorder
    from kpflow_cli.run.saved import SavedRun, load_run
    from kpflow_cli.run.schedule import geometric
    from kpflow_cli.task import Batch, ScoredTask, Task, TeacherTask, TimedTask
    from kpflow_cli.tracing.state_choice import SiteState

try:
    __version__ = version("kpflow")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+uninstalled"

# each name of the front door by the module that it lives in
_HOMES = {
    "config.keys": ("Key",),
    "errors": ("FailedRunError", "UserError"),
    "estimators.estimate": ("Estimate",),
    "estimators.spectrum": ("leading_eigenpairs", "leading_singular_triplets"),
    "estimators.statistics": (
        "cosine_alignment",
        "effective_rank",
        "frobenius_norm",
        "rayleigh_quotient",
        "trace",
    ),
    "estimators.exchangeable_traces": ("xnystrace", "xtrace"),
    "estimators.trace_methods": ("hutch_plus_plus_trace", "hutchinson_trace"),
    "measures.layers": ("layer_shares",),
    "measures.registry": ("Measure",),
    "measures.rows": ("Measured", "Measurement"),
    "measures.subject": ("Subject",),
    "models.base": ("Model", "RecurrentModel"),
    "ntk.contract": ("GlobalNTK", "Trajectory", "global_ntk"),
    "ntk.recurrent": ("RecurrentTrajectory",),
    "ntk.traced": ("linearize",),
    "ntk.weight_sites": ("WeightSite",),
    "operators.base": ("LinearOperator",),
    "operators.gram": ("GramOperator",),
    "operators.reductions": ("mean_over", "restrict", "trace_over"),
    "operators.structured": ("DenseOperator", "Identity", "TensorProduct", "WrappedOperator"),
    "recorder": ("Recorder",),
    "run.saved": ("SavedRun", "load_run"),
    "run.schedule": ("geometric",),
    "task": ("Batch", "ScoredTask", "Task", "TeacherTask", "TimedTask"),
    "tracing.state_choice": ("SiteState",),
}
_MODULES = {name: f"kpflow_cli.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "Batch",
    "DenseOperator",
    "Estimate",
    "FailedRunError",
    "GlobalNTK",
    "GramOperator",
    "Identity",
    "Key",
    "LinearOperator",
    "Measure",
    "Measured",
    "Measurement",
    "Model",
    "Recorder",
    "RecurrentModel",
    "RecurrentTrajectory",
    "SavedRun",
    "ScoredTask",
    "SiteState",
    "Subject",
    "Task",
    "TeacherTask",
    "TensorProduct",
    "TimedTask",
    "Trajectory",
    "UserError",
    "WeightSite",
    "WrappedOperator",
    "cosine_alignment",
    "effective_rank",
    "frobenius_norm",
    "geometric",
    "global_ntk",
    "hutch_plus_plus_trace",
    "hutchinson_trace",
    "layer_shares",
    "leading_eigenpairs",
    "leading_singular_triplets",
    "linearize",
    "load_run",
    "mean_over",
    "rayleigh_quotient",
    "restrict",
    "trace",
    "trace_over",
    "xnystrace",
    "xtrace",
]


def __getattr__(name: str) -> Any:
    """Load a name of the front door, once."""
    if name not in _MODULES:
        raise AttributeError(f"module 'kpflow_cli' has no attribute '{name}'")
    found = getattr(import_module(_MODULES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
