"""The two vanilla recurrent networks: continuous-time (no biases) and torch's nn.RNN."""

from __future__ import annotations

from typing import Annotated, Unpack

import torch
from torch import Tensor, nn

from kpflow_cli.config.keys import Key
from kpflow_cli.models.base import RecurrentModel, Units
from kpflow_cli.models.fixed_points import FixedPoints, draw_points, impose
from kpflow_cli.models.initialization import InitialWeights, initialize
from kpflow_cli.models.recurrent_scan import continuous_time_outputs, vanilla_outputs
from kpflow_cli.ntk import RecurrentTrajectory, previous_states, site_of


class ContinuousTimeRNN(RecurrentModel):
    """h_t = (1 - dt) h_{t-1} + dt (W tanh(h_{t-1}) + W_in x_t), a linear readout of h, no biases in
    the recurrence.

    Sites: ``recurrent`` W tanh(h_{t-1}) and ``input`` W_in x_t; df/du = dt I for both, so K = dt^2
    V V^T (x) I_n exactly. ``fixed_points`` planted states are N(0, I).
    """

    recurrent_weight, input_weight = "recurrent.weight", "input.weight"

    def __init__(
        self,
        *,
        input_size: int,
        output_size: int,
        units: Units,
        dt: Annotated[float, Key("time step over the units' time constant", above=0, at_most=1)],
        fixed_points: FixedPoints = 0,
        **initial_weights: Unpack[InitialWeights],
    ) -> None:
        super().__init__()
        self.input_size, self.dt = input_size, dt
        self.recurrent = nn.Linear(units, units, bias=False)
        self.input = nn.Linear(input_size, units, bias=False)
        self.readout = nn.Linear(units, output_size)
        initialize(self, self.recurrent_weight, **initial_weights)
        points = draw_points(fixed_points, units, initial_weights["generator"])
        impose(self.recurrent.weight, points.tanh(), points)
        self.register_buffer("fixed_points", points, persistent=False)

    def forward(self, inputs: Tensor, initial_state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As ``RecurrentModel.forward`` says, by a loop over time."""
        driven = self.dt * self.input(inputs)
        state = torch.zeros_like(driven[:, 0]) if initial_state is None else initial_state
        states = []
        for drive in driven.unbind(dim=1):
            state = (1 - self.dt) * state + self.dt * self.recurrent(torch.tanh(state)) + drive
            states.append(state)
        trajectory = torch.stack(states, dim=1)
        return self.readout(trajectory), trajectory

    def training_outputs(self, inputs: Tensor) -> Tensor:
        """As ``Model.training_outputs`` says, by a scan."""
        return continuous_time_outputs(
            inputs, self.input.weight, self.recurrent.weight, self.dt, self.readout
        )

    @torch.no_grad()
    def linearize(self, inputs: Tensor) -> RecurrentTrajectory:
        """As ``RecurrentModel.linearize`` says."""
        _, states = self(inputs)
        rates = torch.tanh(previous_states(states))
        output_slopes = (torch.full_like(states, self.dt),)
        recurrent = site_of(
            self, "recurrent", "recurrent.weight", "recurrent.bias", rates, output_slopes
        )
        feedforward = site_of(self, "input", "input.weight", "input.bias", inputs, output_slopes)
        return RecurrentTrajectory(
            state=states,
            sites=(recurrent, feedforward),
            recurrent=recurrent,
            carry=torch.full_like(states, 1 - self.dt),
            input_slope=1 - rates * rates,
        )


class VanillaRNN(RecurrentModel):
    """torch's nn.RNN with tanh, h_t = tanh(W h_{t-1} + b_hh + W_in x_t + b_ih), and a linear
    readout.

    Sites: ``recurrent`` W h_{t-1} and ``input`` W_in x_t; df/du = diag(1 - h_t^2) for both.
    ``fixed_points`` planted states are tanh(N(0, I)).
    """

    recurrent_weight, input_weight = "rnn.weight_hh_l0", "rnn.weight_ih_l0"

    def __init__(
        self,
        *,
        input_size: int,
        output_size: int,
        units: Units,
        bias: Annotated[bool, Key("whether the recurrence has biases")],
        fixed_points: FixedPoints = 0,
        **initial_weights: Unpack[InitialWeights],
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.rnn = nn.RNN(input_size, units, nonlinearity="tanh", bias=bias, batch_first=True)
        self.readout = nn.Linear(units, output_size)
        initialize(self, self.recurrent_weight, **initial_weights)
        points = draw_points(fixed_points, units, initial_weights["generator"]).tanh()
        biases = sum(
            parameter.detach().double()
            for name, parameter in self.rnn.named_parameters()
            if name.startswith("bias")
        )
        impose(self.rnn.get_parameter("weight_hh_l0"), points, torch.atanh(points) - biases)
        self.register_buffer("fixed_points", points, persistent=False)

    def forward(self, inputs: Tensor, initial_state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As ``RecurrentModel.forward`` says, by nn.RNN."""
        states, _ = self.rnn(inputs, None if initial_state is None else initial_state.unsqueeze(0))
        return self.readout(states), states

    def training_outputs(self, inputs: Tensor) -> Tensor:
        """As ``Model.training_outputs`` says, by a scan."""
        weights = dict(self.rnn.named_parameters())
        bias = weights["bias_ih_l0"] + weights["bias_hh_l0"] if self.rnn.bias else None
        return vanilla_outputs(
            inputs, weights["weight_ih_l0"], weights["weight_hh_l0"], bias, self.readout
        )

    @torch.no_grad()
    def linearize(self, inputs: Tensor) -> RecurrentTrajectory:
        """As ``RecurrentModel.linearize`` says."""
        _, states = self(inputs)
        output_slopes = (1 - states * states,)
        recurrent = site_of(
            self.rnn,
            "recurrent",
            "weight_hh_l0",
            "bias_hh_l0",
            previous_states(states),
            output_slopes,
        )
        feedforward = site_of(
            self.rnn, "input", "weight_ih_l0", "bias_ih_l0", inputs, output_slopes
        )
        return RecurrentTrajectory(
            state=states,
            sites=(recurrent, feedforward),
            recurrent=recurrent,
            carry=torch.zeros_like(states),
            input_slope=torch.ones_like(states),
        )
