"""Modules of every kind of layer, with float64 parameters, and their NTK_S by dense autograd
through torch's own layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from oracles import jacobian, normal
from torch import Tensor, nn
from torch.nn import functional


class TiedLanguageModel(nn.Module):
    """Embedding and readout share their weight, a layer is used twice, a padding index does not
    train.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4, padding_idx=0)
        self.layer = nn.Linear(4, 4)
        self.bias = nn.Parameter(torch.zeros(5))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(self.layer(self.embedding(tokens)))
        hidden = torch.tanh(self.layer(hidden))
        return functional.linear(hidden, self.embedding.weight) + self.bias, hidden


class HandWritten(nn.Module):
    """Products with bare parameters on either side, views of parameters, a loop over time."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(4, 4))
        self.both = nn.Parameter(torch.zeros(8, 4))
        self.b = nn.Parameter(torch.zeros(4))

    def forward(self, inputs: Tensor) -> Tensor:
        first, second = self.both.chunk(2)
        state, states = torch.zeros_like(inputs[:, 0]), []
        for drive in inputs.unbind(1):
            state = torch.tanh(state @ self.w.T + (first @ drive.T).T + self.b)
            state = state + torch.tanh(drive @ second[:2].transpose(0, 1)).repeat(1, 2)
            states.append(state)
        return torch.stack(states, dim=1)


class StepByStep(nn.Module):
    """Cells called in a loop, states written in place."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, inputs: Tensor) -> Tensor:
        states = inputs.new_zeros(*inputs.shape[:2], 3)
        state: Any = None
        for step, drive in enumerate(inputs.unbind(1)):
            state = self.cell(drive, state)
            states[:, step] = state[0] if isinstance(state, tuple) else state
        return states


class Shifted(nn.Module):
    """Sites that are a bias only, one for each unit and one for each time and unit."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4, bias=False)
        self.by_unit = nn.Parameter(torch.zeros(4))
        self.by_place = nn.Parameter(torch.zeros(3, 4))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.tanh(self.layer(torch.tanh(inputs + self.by_unit)) + self.by_place)


class CrossAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, kdim=3, vdim=3, batch_first=True)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.attention(inputs, inputs[..., :3], inputs[..., 1:])[0]


def first(result: Any) -> Tensor:
    return result if isinstance(result, Tensor) else result[0]


def encoder(**options: Any) -> nn.Module:
    return nn.TransformerEncoderLayer(4, 2, 6, dropout=0.3, batch_first=True, **options)


def causally_masked(layer: nn.Module) -> nn.Module:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, inputs: Tensor) -> Tensor:
            mask = nn.Transformer.generate_square_subsequent_mask(
                inputs.shape[1], dtype=inputs.dtype
            )
            return self.layer(inputs, src_mask=mask, is_causal=True)

    return Masked()


SEQUENCES = normal(2, 3, 4, seed=1)
TOKENS = torch.tensor([[0, 2, 3], [1, 1, 4]])
# a module and what it is called with
MODULES: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "mlp": (
        lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3, bias=False)),
        SEQUENCES,
    ),
    "cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 2, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(2, 2, 1),
            nn.Flatten(),
            nn.Linear(8, 3),
        ),
        SEQUENCES.unsqueeze(1),
    ),
    "conv1d_options": (
        lambda: nn.Conv1d(4, 6, 2, stride=2, padding=2, dilation=2, padding_mode="circular"),
        normal(2, 4, 5),
    ),
    "conv1d_groups": (lambda: nn.Conv1d(4, 4, 2, groups=2), SEQUENCES.mT),
    "conv2d_same": (lambda: nn.Conv2d(1, 2, 3, padding="same", bias=False), SEQUENCES.unsqueeze(1)),
    "conv3d": (lambda: nn.Conv3d(1, 2, 2), normal(2, 1, 2, 3, 2)),
    "rnn_relu": (lambda: nn.RNN(4, 3, nonlinearity="relu", bias=False), SEQUENCES),
    "gru": (lambda: nn.GRU(4, 3, batch_first=True), SEQUENCES),
    "gru_two_layers": (
        lambda: nn.GRU(4, 3, num_layers=2, batch_first=True, dropout=0.5),
        SEQUENCES,
    ),
    "lstm": (lambda: nn.LSTM(4, 3, batch_first=True), SEQUENCES),
    "lstm_bidirectional": (lambda: nn.LSTM(4, 3, num_layers=2, bidirectional=True), SEQUENCES),
    "lstm_projection": (lambda: nn.LSTM(4, 3, proj_size=2, bias=False), SEQUENCES),
    "lstm_unbatched": (lambda: nn.LSTM(4, 3), SEQUENCES[0]),
    "rnn_cell": (lambda: StepByStep(nn.RNNCell(4, 3)), SEQUENCES),
    "gru_cell": (lambda: StepByStep(nn.GRUCell(4, 3)), SEQUENCES),
    "lstm_cell": (lambda: StepByStep(nn.LSTMCell(4, 3)), SEQUENCES),
    "cross_attention": (CrossAttention, SEQUENCES),
    "encoder_post": (
        lambda: causally_masked(encoder(norm_first=False, activation="gelu")),
        SEQUENCES,
    ),
    "encoder_pre": (lambda: causally_masked(encoder(norm_first=True)), SEQUENCES),
    "shifted": (Shifted, SEQUENCES),
    "tied": (TiedLanguageModel, TOKENS),
    "hand_written": (HandWritten, SEQUENCES),
}


def build(name: str) -> tuple[nn.Module, Tensor]:
    make, inputs = MODULES[name]
    module = make().double().eval()
    with torch.no_grad():
        for index, parameter in enumerate(module.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=10 + index) / math.sqrt(2))
    return module, inputs


def trained(module: nn.Module) -> list[Tensor]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def oracle(module: nn.Module, inputs: Tensor, state: Callable[[Any], Tensor] = first) -> Tensor:
    """NTK_S through torch's own layers, the fused ones too."""
    module.eval()
    derivative = jacobian(state(module(inputs)), trained(module))
    return derivative @ derivative.T
