"""V, V V^T and the K that they make, with their ranks; K also by automatic differentiation (Fig. 2
of arXiv 2605.08746).
"""

from __future__ import annotations

import torch
from torch import Tensor

from kpflow_cli.measures.records.scene import Rows, Scene, choose_indices, entries
from kpflow_cli.models.base import RecurrentModel
from kpflow_cli.ntk import GlobalNTK, previous_states

_SHOWN_TRIALS, _SHOWN_TIMES, _SHOWN_UNITS = 3, 20, 2
_CHECKED_VECTORS = 4


def record_core_matrices(scene: Scene) -> dict[str, Rows]:
    """core_matrices.csv: entries of V, V V^T and K on some trials, times and units;
    core_summary.csv: ranks, and K's relative error.

    K is ordered by unit, then trial and time, as the Kronecker product is.
    """
    ntk = scene.ntk
    trials, steps, units = ntk.in_shape
    places = [
        trial * steps + time
        for trial in choose_indices(trials, _SHOWN_TRIALS)
        for time in choose_indices(steps, _SHOWN_TIMES)
    ]
    variables = ntk.core.site_variables
    matrices = {
        "v": variables[places],
        "gram": variables[places] @ variables[places].T,
        "k": _block(ntk, places, choose_indices(units, _SHOWN_UNITS)),
    }
    eigenvalues = ntk.parameter_operator.eigenvalues()
    summary = {
        "relative_error": _relative_error(scene),
        "rank_v": int(torch.linalg.matrix_rank(variables.double())),
        "rank_k": None if eigenvalues is None else _rank(eigenvalues, ntk.dtype),
        "rank_bound": ntk.rank_bound(),
        "effective_rank_v": (eigenvalue := ntk.core.singular_values().square()).sum().item() ** 2
        / eigenvalue.square().sum().item(),
        "trial_times": trials * steps,
        "states": ntk.in_size,
    }
    return {
        "core_matrices": [
            row for name, matrix in matrices.items() for row in entries(matrix, matrix=name)
        ],
        "core_summary": [
            {"quantity": quantity, "value": value} for quantity, value in summary.items()
        ],
    }


def _rank(eigenvalues: Tensor, dtype: torch.dtype) -> int:
    """Of descending eigenvalues those above rounding."""
    return int((eigenvalues > eigenvalues[0] * len(eigenvalues) * torch.finfo(dtype).eps).sum())


def _block(ntk: GlobalNTK, places: list[int], units: list[int]) -> Tensor:
    """Entries of K between the chosen (unit, trial and time), unit-major."""
    size = ntk.in_shape[2]
    chosen = torch.tensor(
        [place * size + unit for unit in units for place in places], device=ntk.device
    )
    columns = []
    for part in chosen.split(16):
        impulses = torch.zeros(len(part), ntk.in_size, dtype=ntk.dtype, device=ntk.device)
        impulses[torch.arange(len(part)), part] = 1
        columns.append(
            ntk.parameter_operator.matblock(impulses.view(-1, *ntk.in_shape)).flatten(1)[:, chosen]
        )
    return torch.cat(columns).T


def _relative_error(scene: Scene) -> float:
    """||K Q - D D^* Q|| / ||D D^* Q|| for random vectors Q, D = D_theta f by automatic
    differentiation of single steps.
    """
    ntk, model = scene.ntk, scene.recurrent_model
    vectors = torch.randn(
        _CHECKED_VECTORS, *ntk.in_shape, dtype=ntk.dtype, generator=scene.generator
    ).to(ntk.device)
    by_autograd = torch.stack(
        [
            parameter_operator_by_autograd(model, scene.evaluation.batch.inputs, vector)
            for vector in vectors
        ]
    )
    return (
        (ntk.parameter_operator.matblock(vectors) - by_autograd).norm() / by_autograd.norm()
    ).item()


def parameter_operator_by_autograd(model: RecurrentModel, inputs: Tensor, vector: Tensor) -> Tensor:
    """K q of states ``(B, T, n)``: the network makes every step alone, from the state before it,
    and is differentiated twice.

    D^* q is a reverse pass; it is linear in q, so a reverse pass through it gives D of its own
    value.
    """
    with torch.no_grad():
        previous = previous_states(model(inputs)[1]).flatten(0, 1)
    with torch.enable_grad():
        stepped = model(inputs.flatten(0, 1).unsqueeze(1), previous)[1]
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        direction = vector.reshape(stepped.shape).requires_grad_()
        pulled = torch.autograd.grad(
            stepped, trained, direction, create_graph=True, allow_unused=True
        )
        reached = [gradient for gradient in pulled if gradient is not None]
        (pushed,) = torch.autograd.grad(
            reached, direction, [gradient.detach() for gradient in reached]
        )
    return pushed.reshape(vector.shape)
