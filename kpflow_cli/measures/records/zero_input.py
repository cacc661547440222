"""Where a recurrent network goes when nothing comes in: trajectories from several states, and where
they end (Figs. 4 and 8).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kpflow_cli.measures.records.scene import Rows, Scene
from kpflow_cli.models.base import RecurrentModel
from kpflow_cli.models.fixed_points import relative_residuals
from kpflow_cli.models.rnn import ContinuousTimeRNN

# steps of time, starts drawn at random, starts near each planted point and how far from it they
# are, relative to its length
HORIZON, _RANDOM_STARTS, _NEAR_STARTS, _NEARNESS = 600, 8, 2, 0.1
# two trajectories have one end state if at the horizon they are nearer than this; one has an end
# state at all if its speed is below a hundredth of this; both root mean squares over units, of
# states of order 1
SAME_END = 0.05
_SHOWN_TIMES = 120


@torch.no_grad()
def record_zero_input(scene: Scene) -> dict[str, Rows]:
    """trajectories.csv: the first three principal components, of all trajectories together;
    end_states.csv: for each start the number of its end state, empty where it does not come to
    rest; fixed_points.csv: the planted points with their relative residuals.
    """
    model = scene.recurrent_model
    labels, starts = _starts(model, scene.generator)
    inputs = starts.new_zeros(len(starts), HORIZON, model.input_size)
    states = torch.cat([starts.unsqueeze(1), model(inputs, starts)[1]], dim=1)
    centre, axes = principal_components(states)
    projected = ((states - centre).double() @ axes).tolist()
    times = sorted(
        {round((HORIZON + 1) ** (index / (_SHOWN_TIMES - 1))) - 1 for index in range(_SHOWN_TIMES)}
    )
    trajectories: Rows = [
        {"start": index, "near": label, "time": time, **_components(projected[index][time])}
        for index, label in enumerate(labels)
        for time in times
    ]
    ends: Rows = [
        {"start": index, "near": label, "end_state": end, "speed": speed}
        for index, (label, end, speed) in enumerate(
            zip(labels, end_states(states), _speeds(states).tolist(), strict=True)
        )
    ]
    points = ((model.fixed_points - centre).double() @ axes).tolist()
    planted: Rows = [
        {"point": index, "residual": residual, **_components(point)}
        for index, (residual, point) in enumerate(
            zip(relative_residuals(model).tolist(), points, strict=True), start=1
        )
    ]
    return {"trajectories": trajectories, "end_states": ends, "fixed_points": planted}


def _components(values: list[float]) -> dict[str, float]:
    return {f"pc{index}": value for index, value in enumerate(values, start=1)}


def _starts(model: RecurrentModel, generator: torch.Generator) -> tuple[list[int], Tensor]:
    """States ``(m, n)``, random as planted points are, then near each of these; and the number of
    the point each is near, 0 for none.
    """
    points = model.fixed_points
    units = points.shape[1]
    random = torch.randn(_RANDOM_STARTS, units, dtype=torch.float64, generator=generator)
    random = random if isinstance(model, ContinuousTimeRNN) else random.tanh()
    noise = torch.randn(len(points) * _NEAR_STARTS, units, dtype=torch.float64, generator=generator)
    around = points.cpu().double().repeat_interleave(_NEAR_STARTS, dim=0)
    near = around + _NEARNESS * around.norm(dim=1, keepdim=True) / math.sqrt(units) * noise
    labels = [0] * len(random) + [index // _NEAR_STARTS + 1 for index in range(len(near))]
    return labels, torch.cat([random, near]).to(points.device, points.dtype)


def principal_components(states: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(n,)`` and the three leading principal axes ``(n, 3)`` float64, of fewer units 0, of
    states ``(m, T, n)``.
    """
    flat = states.flatten(0, 1)
    centre = flat.mean(0)
    covariance = (flat - centre).double().T @ (flat - centre).double()
    axes = torch.linalg.eigh(covariance).eigenvectors.flip(1)[:, :3]
    return centre, torch.nn.functional.pad(axes, (0, 3 - axes.shape[1]))


def _speeds(states: Tensor) -> Tensor:
    """Root mean square over units of the last step, ``(m,)``."""
    return (states[:, -1] - states[:, -2]).square().mean(-1).sqrt()


def end_states(states: Tensor) -> list[int | None]:
    """For each trajectory of ``(m, T, n)`` the number, from 1, of the end state it shares with
    those that end nearby; None in motion.
    """
    found: list[Tensor] = []
    numbers: list[int | None] = []
    for last, speed in zip(states[:, -1], _speeds(states), strict=True):
        if not speed < SAME_END / 100:
            numbers.append(None)
            continue
        distances = [(last - end).square().mean().sqrt().item() for end in found]
        nearest = min(range(len(distances)), key=distances.__getitem__, default=None)
        if nearest is None or distances[nearest] >= SAME_END:
            found.append(last)
            numbers.append(len(found))
        else:
            numbers.append(nearest + 1)
    return numbers
