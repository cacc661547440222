"""The transformer encoder (arXiv 1706.03762) as a network over time."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from kpflow_cli.config.keys import Key
from kpflow_cli.errors import UserError
from kpflow_cli.models.base import Model
from kpflow_cli.models.initialization import Initialization, initialize
from kpflow_cli.ntk import TracedTrajectory, linearize
from kpflow_cli.tracing.watched_module import evaluating

# the longest wavelength of positions over the shortest, 2 pi steps
_WAVELENGTHS = 10_000.0


class Transformer(Model):
    """A linear embedding of x_t, positions added to it, torch's nn.TransformerEncoderLayer a layer
    (GELU, no dropout), and a linear readout of the last, whose output is the state, ``(B, T, n)``.

    Weight sites are found by watching it.
    """

    def __init__(
        self,
        *,
        input_size: int,
        output_size: int,
        units: Annotated[int, Key("units n of each layer, a multiple of model.heads", at_least=1)],
        layers: Annotated[
            int, Key("layers, the last of which has the state", at_least=1, at_most=1000)
        ],
        heads: Annotated[int, Key("attention heads", at_least=1)],
        feedforward: Annotated[
            int, Key("hidden units of each layer's two affine maps after attention", at_least=1)
        ],
        norm_first: Annotated[
            bool, Key("whether layers normalize before attention and those maps, not after them")
        ],
        causal: Annotated[bool, Key("whether a time step attends to none after it")],
        positions: Annotated[
            Literal["sinusoidal", "none"],
            Key("what tells time steps apart: sines and cosines of the step, or nothing"),
        ],
        initialization: Initialization,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        if units % heads:
            raise UserError(f"model.heads={heads}: does not divide model.units={units}")
        self.causal, self.positions = causal, positions
        self.embedding = nn.Linear(input_size, units)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                units,
                heads,
                dim_feedforward=feedforward,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=norm_first,
            )
            for _ in range(layers)
        )
        self.readout = nn.Linear(units, output_size)
        initialize(self, gain=1.0, initialization=initialization, generator=generator)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """As ``Model.forward`` says."""
        state, mask = self.embedding(inputs), None
        if self.positions == "sinusoidal":
            state = state + sinusoidal_positions(*state.shape[1:]).to(state)
        if self.causal:
            mask = nn.Transformer.generate_square_subsequent_mask(
                inputs.shape[1], device=inputs.device, dtype=inputs.dtype
            )
        for layer in self.layers:
            state = layer(state, src_mask=mask, is_causal=self.causal)
        return self.readout(state), state

    def linearize(self, inputs: Tensor) -> TracedTrajectory:
        """As ``Model.linearize`` says, in evaluation mode."""
        with evaluating(self):
            return linearize(self, inputs, state=lambda result: result[1])


def sinusoidal_positions(steps: int, units: int) -> Tensor:
    """sin(t / 10000^(2 k / n)) at units 2 k and the cosine at 2 k + 1, for t = 0, 1, ..., ``steps``
    - 1: ``(steps, units)``, float64.
    """
    times = torch.arange(steps, dtype=torch.float64).unsqueeze(-1)
    pairs = torch.arange((units + 1) // 2, dtype=torch.float64)
    phases = times * _WAVELENGTHS ** (-2 * pairs / units)
    return torch.stack([phases.sin(), phases.cos()], dim=-1).flatten(-2)[:, :units]
