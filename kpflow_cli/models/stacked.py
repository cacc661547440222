"""Recurrent networks of torch's with one or more layers: the LSTM and the stacked GRU."""

from __future__ import annotations

from typing import Annotated, ClassVar, Unpack

from torch import Tensor, nn

from kpflow_cli.config.keys import Key
from kpflow_cli.models.base import Model, Units
from kpflow_cli.models.initialization import InitialWeights, initialize
from kpflow_cli.ntk import TracedTrajectory, linearize
from kpflow_cli.tracing.watched_module import evaluating


class Stacked(Model):
    """Layers of one of torch's recurrences, each driven by the one before, and a linear readout of
    the last, whose h is the state, ``(B, T, n)``.

    Weight sites are found by watching it: h of the last layer alone is no recurrence, for it
    depends on an LSTM's cell and on the layers below as well. Weights load into a plain module of
    torch's under ``recurrence.``.
    """

    kind: ClassVar[type[nn.LSTM] | type[nn.GRU]]

    def __init__(
        self,
        *,
        input_size: int,
        output_size: int,
        units: Units,
        layers: Annotated[
            int, Key("layers, the last of which has the state", at_least=1, at_most=1000)
        ],
        bias: Annotated[bool, Key("whether the recurrence has biases")],
        **initial_weights: Unpack[InitialWeights],
    ) -> None:
        super().__init__()
        self.recurrence = self.kind(
            input_size, units, num_layers=layers, bias=bias, batch_first=True
        )
        self.readout = nn.Linear(units, output_size)
        recurrent = (f"recurrence.weight_hh_l{layer}" for layer in range(layers))
        initialize(self, *recurrent, **initial_weights)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """As ``Model.forward`` says, by torch's own module."""
        states = self.recurrence(inputs)[0]
        return self.readout(states), states

    def linearize(self, inputs: Tensor) -> TracedTrajectory:
        """As ``Model.linearize`` says, in evaluation mode."""
        with evaluating(self):
            return linearize(self, inputs, state=lambda result: result[1])


class LSTM(Stacked):
    """torch's nn.LSTM; the state is h, not the cell c."""

    kind = nn.LSTM


class StackedGRU(Stacked):
    """torch's nn.GRU of several layers. Of one layer it is what ``model=gru`` measures faster."""

    kind = nn.GRU
