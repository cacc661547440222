"""Non-trivial fixed points: states, planted at initialization, that the network keeps under zero
input (Figs. 4 and 8 of arXiv 2605.08746).
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from kpflow_cli.config.keys import Key
from kpflow_cli.errors import UserError
from kpflow_cli.models.base import RecurrentModel

FixedPoints = Annotated[
    int,
    Key(
        "non-trivial fixed points planted at initialization: states that zero input leaves where "
        "they are",
        at_least=0,
    ),
]


def draw_points(count: int, units: int, generator: torch.Generator) -> Tensor:
    """d_i ~ N(0, I), ``(count, units)`` float64. Raises UserError for more points than units: they
    would not be independent.
    """
    if count > units:
        raise UserError(
            f"model.fixed_points={count}: at most model.units={units} points are independent"
        )
    return torch.randn(count, units, dtype=torch.float64, generator=generator)


@torch.no_grad()
def impose(weight: Tensor, site_variables: Tensor, site_outputs: Tensor) -> None:
    """Make W v_i = u_i for all i at once by the smallest change of ``weight``, in place: W <- W +
    (U - W V) V^+.

    ``weight`` is ``(a, d)``; ``site_variables`` v_i ``(k, d)``, independent, and ``site_outputs``
    u_i ``(k, a)`` are float64.
    """
    missing = site_outputs - site_variables @ weight.double().T
    weight += (missing.T @ torch.linalg.pinv(site_variables).T).to(weight.dtype)


@torch.no_grad()
def relative_residuals(model: RecurrentModel) -> Tensor:
    """||f(d_i, 0) - d_i|| / ||d_i|| of the planted points, ``(k,)`` float64: about 1e-6 where the
    model is float32.
    """
    points = model.fixed_points
    _, states = model(points.new_zeros(len(points), 1, model.input_size), points)
    return (states[:, 0] - points).double().norm(dim=1) / points.double().norm(dim=1)
