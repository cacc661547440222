"""Networks that are hard to trace: each class states what it does; parameters are drawn by torch's
global generator, seeded by the test.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


class Network(nn.Module):
    """A forward function with parameters of given shapes, or submodules, by name."""

    def __init__(self, forward: Callable[..., Any], **parts: tuple[int, ...] | nn.Module) -> None:
        super().__init__()
        self.function = forward
        for name, part in parts.items():
            setattr(
                self, name, part if isinstance(part, nn.Module) else nn.Parameter(torch.randn(part))
            )

    def forward(self, *inputs: Any) -> Any:
        return self.function(self, *inputs)


def scripted(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(function)


def traced(module: nn.Module, inputs: Tensor) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.trace(module, inputs)


def _cell(x: Tensor, h: Tensor, w: Tensor, u: Tensor) -> Tensor:
    return torch.tanh(torch.mm(x, w.t()) + torch.mm(h, u.t()))


def _scaled(x: Tensor, by: Tensor) -> Tensor:
    return x * by


class ScriptedCell(nn.Module):
    """A scripted step between a layer and a loop that are in the open."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.cell = nn.Linear(4, 4), scripted(_cell)
        self.w, self.u = nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(3, 3) / 2)

    def forward(self, inputs: Tensor) -> Tensor:
        inputs, state, states = (
            torch.tanh(self.encoder(inputs)),
            inputs.new_zeros(len(inputs), 3),
            [],
        )
        for drive in inputs.unbind(1):
            state = self.cell(drive, state, self.w, self.u)
            states.append(state)
        return torch.stack(states, 1)


class PartlyScripted(nn.Module):
    """One weight in a layer and, beside it, in a scripted function."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.scaled = nn.Parameter(torch.randn(3, 4)), scripted(_scaled)

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs, self.w) + 0.1 * self.scaled(inputs[..., :3], self.w[:, 0])


class ViewOfInit(nn.Module):
    """The transpose of a weight, made once and kept."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, 4))
        self.transposed, self.layer = self.w.t(), nn.Linear(3, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(torch.tanh(inputs @ self.transposed))


class OwnLinear(torch.autograd.Function):
    """x W^T with a derivative of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x @ w.t()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, w = ctx.saved_tensors
        return gradient @ w, gradient.flatten(0, -2).t() @ x.flatten(0, -2)


class Spike(torch.autograd.Function):
    """A step with a surrogate gradient."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        return gradient / (1 + 10 * u.abs()) ** 2


class OnceDifferentiable(torch.autograd.Function):
    """A ReLU whose backward pass cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return u.clamp(0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        return gradient * (u > 0)


class NumpyBackward(torch.autograd.Function):
    """A ReLU whose backward pass leaves torch."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return u.clamp(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        return torch.from_numpy(gradient.detach().numpy() * (u.detach().numpy() > 0))


class WorkingInPlace(torch.autograd.Function):
    """A square whose backward pass doubles what it has kept, as a parallel scan may."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u.clone())
        return u.square()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        return gradient * u.mul_(2)


class Adjoint(torch.autograd.Function):
    """A step of a cell whose backward pass calls the cell again, as adjoint solvers do."""

    @staticmethod
    def forward(ctx: Any, cell: nn.Module, state: Tensor, *parameters: Tensor) -> Tensor:
        ctx.cell = cell
        ctx.save_for_backward(state, *parameters)
        with torch.no_grad():
            return torch.tanh(cell(state))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        with torch.enable_grad():
            given, *parameters = ctx.saved_tensors
            state = given.detach().requires_grad_()
            found = torch.autograd.grad(
                torch.tanh(ctx.cell(state)), [state, *parameters], gradient, allow_unused=True
            )
        return None, *found


class NoisyLoop(nn.Module):
    """Noise within each step."""

    def __init__(self) -> None:
        super().__init__()
        self.i, self.h = nn.Linear(4, 3), nn.Linear(3, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        state, states = inputs.new_zeros(len(inputs), 3), []
        for drive in inputs.unbind(1):
            state = torch.tanh(self.i(drive) + self.h(state) + 0.5 * torch.randn_like(state))
            states.append(state)
        return torch.stack(states, 1)


class OwnGenerator(nn.Module):
    """Noise from a generator that the module keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.generator = nn.Linear(4, 3), torch.Generator().manual_seed(1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs + torch.randn(inputs.shape, generator=self.generator))


class KeptHidden(nn.Module):
    """Goes on from the hidden state of the last call."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.hidden = nn.GRUCell(4, 3), None

    def forward(self, inputs: Tensor) -> Tensor:
        state = inputs.new_zeros(len(inputs), 3) if self.hidden is None else self.hidden
        states = []
        for drive in inputs.unbind(1):
            state = self.cell(drive, state)
            states.append(state)
        self.hidden = state.detach()
        return torch.stack(states, 1)


class KeptBuffer(nn.Module):
    """A running mean, changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, inputs: Tensor) -> Tensor:
        output = self.layer(inputs) - self.mean
        self.mean.mul_(0.9).add_(0.1 * output.detach().mean((0, 1)))
        return torch.tanh(output)


class KeptLists(nn.Module):
    """Counts its calls, in a number, a list and a dict of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls, self.past, self.cache = (
            nn.Linear(4, 3),
            0,
            [],
            {"sum": torch.zeros(())},
        )

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        self.past.append(inputs.mean())
        self.cache["sum"] += 1
        return torch.tanh(self.layer(inputs) * (self.calls + len(self.past) + self.cache["sum"]))


def mean_without_gradient(self: Network, inputs: Tensor) -> Tensor:
    states = self.gru(inputs)[0]
    with torch.no_grad():
        mean = states.mean(1, keepdim=True)
    return self.readout(states - mean)


def norm_without_gradient(self: Network, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        size = self.a(inputs).norm(dim=-1, keepdim=True)
    return self.b(torch.tanh(self.a(inputs) / size))


def frozen_branch(self: Network, inputs: Tensor) -> Tensor:
    hidden = self.a(inputs)
    with torch.set_grad_enabled(False):
        gate = self.b(hidden)
    return torch.tanh(hidden) * gate


def straight_through(self: Network, inputs: Tensor) -> Tensor:
    hidden = self.a(inputs)
    return self.b(hidden + (torch.sign(hidden) - hidden).detach())


class AddsInPlace(nn.Module):
    """What the layer ``a`` returned is changed later."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 5)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.a(inputs)
        hidden.add_(self.b(torch.tanh(hidden)))
        hidden[:, 0] = 0
        return hidden


class BackwardLoop(nn.Module):
    """A loop from the last time to the first; ``restored`` puts its states into the
    order of time.
    """

    def __init__(self, *, restored: bool = True) -> None:
        super().__init__()
        self.cell, self.restored = nn.RNNCell(4, 3, bias=False), restored

    def forward(self, inputs: Tensor) -> Tensor:
        state, states = inputs.new_zeros(len(inputs), 3), []
        for drive in reversed(inputs.unbind(1)):
            state = self.cell(drive, state)
            states.append(state)
        return torch.stack(states[::-1] if self.restored else states, 1)


class TimeFirstCell(nn.Module):
    """A loop over the first axis."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(4, 3, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        state, states = inputs.new_zeros(inputs.shape[1], 3), []
        for drive in inputs:
            state = self.cell(drive, state)
            states.append(state)
        return torch.stack(states)


class FlippedGRU(nn.Module):
    """A layer that sees time from its end, and perhaps attention after it."""

    def __init__(self, *, attends: bool = False) -> None:
        super().__init__()
        self.rnn = nn.RNN(4, 4, batch_first=True, bias=False)
        self.attention = nn.MultiheadAttention(4, 1, batch_first=True) if attends else None

    def forward(self, inputs: Tensor) -> Tensor:
        states = self.rnn(inputs.flip(1))[0].flip(1)
        return states if self.attention is None else self.attention(states, states, states)[0]


class TokenMixing(nn.Module):
    """A layer across times and one across units."""

    def __init__(self, times: int, units: int) -> None:
        super().__init__()
        self.times, self.units = nn.Linear(times, times), nn.Linear(units, units, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        mixed = inputs + self.times(inputs.mT).mT
        return mixed + self.units(torch.tanh(mixed))


class FixedPositions(nn.Module):
    """A parameter for each of three times, and perhaps attention."""

    def __init__(self, *, attends: bool = False) -> None:
        super().__init__()
        self.positions, self.layer = nn.Parameter(torch.randn(3, 4)), nn.Linear(4, 4)
        self.attention = nn.MultiheadAttention(4, 1, batch_first=True) if attends else None

    def forward(self, inputs: Tensor) -> Tensor:
        placed = inputs + self.positions
        placed = placed if self.attention is None else self.attention(placed, placed, placed)[0]
        return torch.tanh(self.layer(placed))


class Checkpointed(nn.Module):
    """A part that is computed again in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.b(checkpoint(lambda x: torch.tanh(self.a(x)), inputs, use_reentrant=False))


class SingleBesideDouble(nn.Module):
    """Single precision, then double."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5).float(), nn.Linear(5, 3).double()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.b(torch.tanh(self.a(inputs.float())).double())


class ComplexLinear(nn.Module):
    """Complex weights, a real state."""

    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Linear(4, 3, dtype=torch.complex128)

    def forward(self, inputs: Tensor) -> Tensor:
        output = self.b(inputs.to(torch.complex128))
        return torch.cat([output.real, output.imag], -1)


class Autocast(nn.Module):
    """Mixed precision within."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5).float(), nn.Linear(5, 3).float()

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return torch.tanh(self.b(torch.tanh(self.a(inputs.float())))).float()


def clamps_its_weight(self: Network, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        self.a.weight.clamp_(-0.1, 0.1)
    return self.a(inputs)


def scales_its_data(self: Network, inputs: Tensor) -> Tensor:
    self.a.weight.data.mul_(0.9)
    return self.a(inputs)


def replaces_its_weight(self: Network, inputs: Tensor) -> Tensor:
    self.a.weight = nn.Parameter(self.a.weight.detach() * 0.9)
    return self.a(inputs)


class WeightNormed(nn.Module):
    """A hidden layer whose weight is a direction times a length, under the contract of
    ``model=custom``.
    """

    def __init__(self, *, input_size: int, output_size: int, units: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Linear(input_size, units)), nn.Tanh()
        )
        self.readout = nn.Linear(units, output_size)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        state = self.hidden(inputs)
        return self.readout(state), state


class DeadReLU(nn.Module):
    """Hidden units that are off on many trials and times."""

    def __init__(self, *, input_size: int, output_size: int, units: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(input_size, units), nn.ReLU())
        self.readout = nn.Linear(units, output_size)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        state = self.hidden(inputs)
        return self.readout(state), state


class ParallelUnits(nn.Module):
    """A state that repeats one half of itself."""

    def __init__(self, *, input_size: int, output_size: int, units: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(input_size, units // 2)
        self.readout = nn.Linear(units, output_size)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        half = torch.tanh(self.hidden(inputs))
        state = torch.cat([half, half], -1)
        return self.readout(state), state
