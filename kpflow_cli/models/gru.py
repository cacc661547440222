"""The GRU: torch's own nn.GRU with a linear readout."""

from __future__ import annotations

from typing import Annotated, Unpack

import torch
from torch import Tensor, nn

from kpflow_cli.config.keys import Key
from kpflow_cli.models.base import RecurrentModel, Units
from kpflow_cli.models.fixed_points import FixedPoints, draw_points, impose
from kpflow_cli.models.initialization import InitialWeights, initialize
from kpflow_cli.ntk import RecurrentTrajectory, previous_states, site_of


class GRU(RecurrentModel):
    """torch's nn.GRU, one layer, so that trained weights load into a plain nn.GRU; state h of
    ``units`` units.

    Sites (arXiv 2605.08746, Theorem 1): ``recurrent`` W_hh h_{t-1} and ``input`` W_ih x_t, 3n
    outputs each (gates r, z, candidate c). ``fixed_points`` planted states are tanh(N(0, I)); only
    the candidate's recurrent weights change for them.
    """

    recurrent_weight, input_weight = "gru.weight_hh_l0", "gru.weight_ih_l0"

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
        self.gru = nn.GRU(input_size, units, bias=bias, batch_first=True)
        self.readout = nn.Linear(units, output_size)
        initialize(self, self.recurrent_weight, **initial_weights)
        points = draw_points(fixed_points, units, initial_weights["generator"]).tanh()
        self._plant(points)
        self.register_buffer("fixed_points", points, persistent=False)

    @torch.no_grad()
    def _plant(self, points: Tensor) -> None:
        """Make each point d, ``(k, n)``, its own candidate c at zero input: then h = (1-z) c + z h
        = d whatever the gate z.
        """
        units = points.shape[1]
        weights = {name: parameter.double() for name, parameter in self.gru.named_parameters()}
        from_input = weights.get("bias_ih_l0", points.new_zeros(3 * units))
        from_state = nn.functional.linear(
            points, weights["weight_hh_l0"], weights.get("bias_hh_l0")
        )
        r = torch.sigmoid(from_input[:units] + from_state[:, :units])
        bias_c = weights["bias_hh_l0"][2 * units :] if "bias_hh_l0" in weights else 0.0
        wanted = (torch.atanh(points) - from_input[2 * units :]) / r - bias_c
        impose(self.gru.get_parameter("weight_hh_l0")[2 * units :], points, wanted)

    def forward(self, inputs: Tensor, initial_state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As ``RecurrentModel.forward`` says, by nn.GRU."""
        states, _ = self.gru(inputs, None if initial_state is None else initial_state.unsqueeze(0))
        return self.readout(states), states

    @torch.no_grad()
    def linearize(self, inputs: Tensor) -> RecurrentTrajectory:
        """As ``RecurrentModel.linearize`` says."""
        _, states = self(inputs)
        previous = previous_states(states)
        weights = dict(self.gru.named_parameters())
        from_input = nn.functional.linear(
            inputs, weights["weight_ih_l0"], weights.get("bias_ih_l0")
        )
        from_state = nn.functional.linear(
            previous, weights["weight_hh_l0"], weights.get("bias_hh_l0")
        )
        input_r, input_z, input_c = from_input.chunk(3, dim=-1)
        state_r, state_z, state_c = from_state.chunk(3, dim=-1)
        r = torch.sigmoid(input_r + state_r)
        z = torch.sigmoid(input_z + state_z)
        c = torch.tanh(input_c + r * state_c)

        slope_c = (1 - z) * (1 - c * c)
        slope_r = slope_c * state_c * r * (1 - r)
        slope_z = (previous - c) * z * (1 - z)
        recurrent = site_of(
            self.gru,
            "recurrent",
            "weight_hh_l0",
            "bias_hh_l0",
            previous,
            (slope_r, slope_z, slope_c * r),
        )
        feedforward = site_of(
            self.gru, "input", "weight_ih_l0", "bias_ih_l0", inputs, (slope_r, slope_z, slope_c)
        )
        return RecurrentTrajectory(
            state=states,
            sites=(recurrent, feedforward),
            recurrent=recurrent,
            carry=z,
            input_slope=torch.ones_like(z),
        )
