"""One SGD step of the two vanilla networks: as kpflow trains, through ``forward``, and by a plain
loop over time steps in eager torch.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, mse_loss

from kpflow_cli.benchmarks.products import Size, seconds_of
from kpflow_cli.models.base import RecurrentModel
from kpflow_cli.models.rnn import ContinuousTimeRNN, VanillaRNN
from kpflow_cli.task import Batch, Task

STEP_MODELS = ("vanilla_rnn", "rnn")
STEP_SIZE = Size(128, 40, 64)
# small: what is timed is that every step is made, and the same step by all
_RATE = 1e-3

Outputs = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class StepCost:
    """Seconds of an SGD step, the median of the rounds; ``way`` is ``kpflow``, ``forward`` or
    ``python_loop``.
    """

    model: str
    way: str
    seconds: float


def step_costs(
    name: str, size: Size, task: Task, rounds: int, generator: torch.Generator
) -> Iterator[StepCost]:
    """Every way's cost, on one batch; each round times them all, one after the other. The batch is
    drawn beforehand.
    """
    model = step_model(name, size.units, task, generator)
    batch = task.training_batch(size.trials, generator).to(torch.float32, torch.device("cpu"))
    steps = {
        way: sgd_step(*_with_outputs(copy.deepcopy(model), way), batch)
        for way in ("kpflow", "forward", "python_loop")
    }
    seconds: dict[str, list[float]] = {way: [] for way in steps}
    for _ in range(rounds):
        for way, step in steps.items():
            seconds[way].append(seconds_of(step))
    for way, measured in seconds.items():
        yield StepCost(name, way, statistics.median(measured))


def step_model(
    name: str, units: int, task: Task, generator: torch.Generator
) -> VanillaRNN | ContinuousTimeRNN:
    """``vanilla_rnn``, with biases, or ``rnn`` at initialization, gain 1."""
    sizes = {"input_size": task.input_size, "output_size": task.output_size, "units": units}
    weights = {"gain": 1.0, "initialization": "xavier_normal", "generator": generator}
    if name == "vanilla_rnn":
        return VanillaRNN(**sizes, bias=True, **weights)  # type: ignore[arg-type]
    return ContinuousTimeRNN(**sizes, dt=0.7, **weights)  # type: ignore[arg-type]


def sgd_step(model: nn.Module, outputs: Outputs, batch: Batch) -> Callable[[], float]:
    """A step of ``model`` on the mean squared error of its ``outputs``, which returns the loss
    before it.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=_RATE)

    def step() -> float:
        loss = mse_loss(outputs(batch.inputs), batch.targets)
        value = loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return value

    return step


def _with_outputs(
    model: VanillaRNN | ContinuousTimeRNN, way: str
) -> tuple[RecurrentModel, Outputs]:
    ways: dict[str, Outputs] = {
        "kpflow": model.training_outputs,
        "forward": lambda inputs: model(inputs)[0],
        "python_loop": lambda inputs: loop_outputs(model, inputs),
    }
    return model, ways[way]


def loop_outputs(model: VanillaRNN | ContinuousTimeRNN, inputs: Tensor) -> Tensor:
    """Outputs ``(B, T, n_out)`` as one would write them down: both projections and the nonlinearity
    at every time step.
    """
    step = vanilla_step(model) if isinstance(model, VanillaRNN) else continuous_time_step(model)
    state = inputs.new_zeros(len(inputs), model.readout.in_features)
    states = []
    for now in inputs.unbind(dim=1):
        state = step(now, state)
        states.append(state)
    outputs: Tensor = model.readout(torch.stack(states, dim=1))
    return outputs


def vanilla_step(model: VanillaRNN) -> Callable[[Tensor, Tensor], Tensor]:
    """x_t, h_{t-1} to h_t = tanh(W_in x_t + b_ih + W h_{t-1} + b_hh)."""
    weights = dict(model.rnn.named_parameters())
    from_input, from_state = (
        (weights[f"weight_{site}_l0"], weights.get(f"bias_{site}_l0")) for site in ("ih", "hh")
    )
    return lambda now, state: torch.tanh(linear(now, *from_input) + linear(state, *from_state))


def continuous_time_step(model: ContinuousTimeRNN) -> Callable[[Tensor, Tensor], Tensor]:
    """x_t, h_{t-1} to h_t = (1 - dt) h_{t-1} + dt (W tanh(h_{t-1}) + W_in x_t)."""
    dt, recurrent, feedforward = model.dt, model.recurrent.weight, model.input.weight
    return lambda now, state: (
        (1 - dt) * state + dt * (linear(torch.tanh(state), recurrent) + linear(now, feedforward))
    )
