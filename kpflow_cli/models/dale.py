"""A leaky recurrent network of excitatory and inhibitory units (Dale's law)."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from kpflow_cli.config.keys import Key
from kpflow_cli.models.base import Model, Units
from kpflow_cli.models.initialization import initialize
from kpflow_cli.ntk import TracedTrajectory, linearize


class DaleRNN(Model):
    """h_t = (1 - alpha) h_{t-1} + alpha relu(W_rec h_{t-1} + W_in x_t + b) with W_rec = |W|
    diag(s), s = 1 of excitatory units, which come first, and -1 of inhibitory ones; no unit
    connects to itself.

    States are rates, 0 or more. The readout is linear in the excitatory units alone: inhibition is
    local in the cortex, and long-range projections are excitatory (Song, Yang & Wang 2016, PLoS
    Comput Biol 12:e1004792, whose initial weights these are too).

    Example:
        >>> import torch, kpflow_cli as kp
        >>> from kpflow_cli.models.dale import DaleRNN
        >>> sizes = {"input_size": 3, "output_size": 1, "units": 5}
        >>> draws = {"gain": 1.5, "generator": torch.Generator()}
        >>> network = DaleRNN(**sizes, alpha=0.2, excitatory=0.8, **draws)
        >>> network.signs, network.readout.in_features
        (tensor([ 1.,  1.,  1.,  1., -1.]), 4)
        >>> (network.recurrent_weight() * network.signs >= 0).all()
        tensor(True)
    """

    signs: Tensor
    _others: Tensor

    def __init__(
        self,
        *,
        input_size: int,
        output_size: int,
        units: Units,
        alpha: Annotated[float, Key("time step over the units' time constant", above=0, at_most=1)],
        excitatory: Annotated[float, Key("share of excitatory units", above=0, at_most=1)],
        gain: Annotated[float, Key("spectral radius of the initial W_rec", at_least=0)],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        # the readout needs one
        count = max(1, round(excitatory * units))
        signs = torch.where(torch.arange(units) < count, 1.0, -1.0)
        self.register_buffer("signs", signs, persistent=False)
        self.register_buffer("_others", 1 - torch.eye(units), persistent=False)
        self.recurrent = nn.Linear(units, units)
        self.input = nn.Linear(input_size, units, bias=False)
        self.readout = nn.Linear(count, output_size)
        initialize(self, gain=1.0, initialization="xavier_normal", generator=generator)
        _balance(self.recurrent.weight, signs.double(), gain, generator)

    def recurrent_weight(self) -> Tensor:
        """W_rec, ``(n, n)``."""
        return self.recurrent.weight.abs() * self.signs * self._others

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """As ``Model.forward`` says, from zero initial state."""
        weight, driven = self.recurrent_weight(), self.input(inputs)
        state, states = torch.zeros_like(driven[:, 0]), []
        for drive in driven.unbind(dim=1):
            current = functional.linear(state, weight, self.recurrent.bias) + drive
            state = (1 - self.alpha) * state + self.alpha * torch.relu(current)
            states.append(state)
        rates = torch.stack(states, dim=1)
        return self.readout(rates[..., : self.readout.in_features]), rates

    def linearize(self, inputs: Tensor) -> TracedTrajectory:
        """As ``Model.linearize`` says."""
        return linearize(self, inputs, state=lambda result: result[1], others=self.others)


@torch.no_grad()
def _balance(
    weight: Tensor, signs: Tensor, spectral_radius: float, generator: torch.Generator
) -> None:
    """Draw |W| from a gamma distribution of shape 2, inhibition so much stronger as its units are
    fewer, that the mean of each row of W_rec is 0; then scale W_rec to a spectral radius.
    """
    # in double precision on the CPU, so that dtypes and devices start from the same network
    uniform = torch.rand(2, *weight.shape, generator=generator, dtype=torch.float64)
    drawn = -torch.log1p(-uniform).sum(0)
    excitatory, inhibitory = (signs > 0).sum(), (signs < 0).sum()
    drawn[:, signs < 0] *= excitatory / inhibitory
    connected = drawn * signs * (1 - torch.eye(len(signs), dtype=torch.float64))
    radius = torch.linalg.eigvals(connected).abs().max()
    # a single unit has no connections
    weight.copy_(drawn * spectral_radius / radius if radius > 0 else drawn)
