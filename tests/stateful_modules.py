"""Networks whose state is more than their parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class _Network(nn.Module):
    def __init__(self, *, input_size: int, output_size: int, units: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(input_size, units)
        self.readout = nn.Linear(units, output_size)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        states = self.transform(inputs).tanh()
        return self.readout(states), states


class Normalized(_Network):
    """Each forward pass in training moves the running mean that evaluation uses."""

    def __init__(self, **sizes: int) -> None:
        super().__init__(**sizes)
        self.norm = nn.BatchNorm1d(sizes["units"], affine=False)

    def transform(self, inputs: Tensor) -> Tensor:
        return self.norm(self.hidden(inputs).transpose(1, 2)).transpose(1, 2)


class Counting(_Network):
    """A forward pass in training depends on how many there were; the count is no part of the state
    dict.
    """

    def __init__(self, **sizes: int) -> None:
        super().__init__(**sizes)
        self.register_buffer("passes", torch.zeros(()), persistent=False)

    def transform(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.passes += 1
        return self.hidden(inputs) / (1 + self.passes)


class Remembering(_Network):
    """Has a temperature of numpy's in its state dict."""

    temperature = np.float64(0.5)

    def transform(self, inputs: Tensor) -> Tensor:
        return float(self.temperature) * self.hidden(inputs)

    def get_extra_state(self) -> Any:
        return {"temperature": self.temperature}

    def set_extra_state(self, state: Any) -> None:
        assert type(state["temperature"]) is np.float64
        self.temperature = state["temperature"]


class Unreadable(_Network):
    """Its extra state is an object that no checkpoint gives back."""

    def transform(self, inputs: Tensor) -> Tensor:
        return self.hidden(inputs)

    def get_extra_state(self) -> Any:
        return {"made by": type(self)}

    def set_extra_state(self, state: Any) -> None:
        pass
