"""Networks of torch's own layers under the contract of ``model=custom``: outputs ``(B, T, n_out)``
and states ``(B, T, m)``.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

# each is a step of a loop, already where the network is made
_MOST_LAYERS = 1000


def _refuse_many(layers: int) -> int:
    """The number of layers, if it is none that a network cannot be made of."""
    if not 1 <= layers <= _MOST_LAYERS:
        raise ValueError(f"layers={layers}: at least 1, at most {_MOST_LAYERS}")
    return layers


class MLP(nn.Module):
    """A multilayer perceptron at each time step; the state is the last hidden layer."""

    def __init__(self, *, input_size: int, output_size: int, units: int, layers: int = 2) -> None:
        super().__init__()
        sizes = [input_size, *[units] * _refuse_many(layers)]
        self.hidden = nn.Sequential(
            *(
                module
                for sizes_in, sizes_out in pairwise(sizes)
                for module in (nn.Linear(sizes_in, sizes_out), nn.Tanh())
            )
        )
        self.readout = nn.Linear(units, output_size)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and state."""
        state = self.hidden(inputs)
        return self.readout(state), state


class CNN(nn.Module):
    """A convolution over time and input channels, then one over time; the state has as many units
    as the second has channels.
    """

    def __init__(
        self,
        *,
        input_size: int,
        output_size: int,
        units: int,
        channels: int = 4,
        kernel_size: int = 3,
    ) -> None:
        super().__init__()
        self.plane = nn.Conv2d(1, channels, kernel_size, padding="same")
        self.time = nn.Conv1d(channels * input_size, units, kernel_size, padding="same")
        self.readout = nn.Linear(units, output_size)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and state."""
        features = torch.tanh(self.plane(inputs.unsqueeze(1))).transpose(2, 3).flatten(1, 2)
        state = torch.tanh(self.time(features)).mT
        return self.readout(state), state


class TiedAutoencoder(nn.Module):
    """One weight used four times: inputs are embedded by W, the state updated twice by a shared
    layer, outputs read out by W^T.
    """

    def __init__(self, *, input_size: int, output_size: int, units: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(input_size, units)
        self.update = nn.Linear(units, units)
        self.readout = nn.Linear(input_size, output_size)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and state."""
        hidden = torch.tanh(self.update(torch.tanh(self.embedding(inputs))))
        seen = functional.linear(hidden, self.embedding.weight.T)
        state = torch.tanh(self.update(hidden) + self.embedding(seen))
        return self.readout(functional.linear(state, self.embedding.weight.T)), state
