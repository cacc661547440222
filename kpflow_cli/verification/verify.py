"""The falsification test of Theorem 1 (arXiv 2605.08746) as a table of relative errors."""

from __future__ import annotations

import math
import sys

import torch
from omegaconf import DictConfig

from kpflow_cli.errors import FailedRunError, UserError
from kpflow_cli.progress_bar import ProgressBar
from kpflow_cli.run.plan import Plan
from kpflow_cli.verification.comparisons import comparisons

TOLERANCE = 1e-10
_LARGEST = 3000
# of the table's first column
_NAME_WIDTH = 44


def verify(config: DictConfig) -> None:
    """Print a table of relative errors.

    Raises FailedRunError if one is above 1e-10, UserError for an instance that is large or not in
    float64.
    """
    torch.set_num_threads(config.threads)
    plan = Plan(config)
    inputs = plan.evaluation.batch.inputs
    trajectory = plan.trajectory()
    size = trajectory.state.numel()
    if size > _LARGEST:
        raise UserError(
            f"B T n = {size}: too large to form NTK_S densely; verify takes at most {_LARGEST}"
        )
    if plan.dtype != torch.float64:
        raise UserError(f"dtype={config.dtype}: verify works in float64")
    print(
        f"{type(plan.model).__name__} on {type(plan.task).__name__}: {inputs.shape[0]} trials, "
        f"{inputs.shape[1]} steps, N = {size}"
    )
    print(f"{'quantity':<{_NAME_WIDTH}}  relative error")
    errors = []
    for comparison in ProgressBar(comparisons(plan), unit="quantity", leave=False, in_logs=False):
        error = comparison.relative_error
        errors.append(error)
        # not a number is no small number
        mark = "" if error <= TOLERANCE else "  <- above 1e-10"
        ProgressBar.write(f"{comparison.name:<{_NAME_WIDTH}}  {error:.1e}{mark}", file=sys.stdout)
    worst = math.nan if any(math.isnan(error) for error in errors) else max(errors)
    if not worst <= TOLERANCE:
        raise FailedRunError(
            f"verification failed: largest relative error {worst:.1e}, above {TOLERANCE:.0e}"
        )
    print(f"all below {TOLERANCE:.0e}; largest {worst:.1e}")
