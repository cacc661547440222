"""Recurrent networks of torch's with one or more layers: the LSTM and the stacked GRU."""

from __future__ import annotations

from typing import Annotated, ClassVar, Unpack

from torch import Tensor, nn

from kpflow_cli.config.keys import Key
from kpflow_cli.errors import UserError
from kpflow_cli.models.base import Model, Units
from kpflow_cli.models.initialization import InitialWeights, initialize
from kpflow_cli.ntk import TracedTrajectory, linearize
from kpflow_cli.tracing.watched_module import evaluating

Layers = Annotated[int, Key("layers, the last of which has the state", at_least=1, at_most=1000)]
Bias = Annotated[bool, Key("whether the recurrence has biases")]


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
        layers: Layers,
        bias: Bias,
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
    """torch's nn.LSTM; the state is h, not the cell c.

    With biases around 0 a cell forgets half of itself in a step; ``forget_bias`` 1 (Jozefowicz,
    Zaremba & Sutskever 2015) leaves it 73 %.
    """

    kind = nn.LSTM

    def __init__(
        self,
        *,
        input_size: int,
        output_size: int,
        units: Units,
        layers: Layers,
        bias: Bias,
        forget_bias: Annotated[
            float, Key("added to the forget gates' initial biases; 0 without biases")
        ],
        **initial_weights: Unpack[InitialWeights],
    ) -> None:
        if forget_bias and not bias:
            raise UserError(f"model.forget_bias={forget_bias:g}: model.bias=false leaves it at 0")
        super().__init__(
            input_size=input_size,
            output_size=output_size,
            units=units,
            layers=layers,
            bias=bias,
            **initial_weights,
        )
        for layer in range(layers if bias else 0):
            # gates in torch's order: input, forget, candidate, output
            gates = self.recurrence.get_parameter(f"bias_ih_l{layer}").detach()
            gates[units : 2 * units] += forget_bias


class StackedGRU(Stacked):
    """torch's nn.GRU of several layers. Of one layer it is what ``model=gru`` measures faster."""

    kind = nn.GRU
