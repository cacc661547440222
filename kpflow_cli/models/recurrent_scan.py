"""The vanilla and the continuous-time RNN from inputs to outputs, with backpropagation through time
written out: for training.

What torch's automatic differentiation of a loop over time spends beside the products with W, on
nodes of the graph, fresh memory and a weight gradient at every step, is saved: states and adjoints
are computed in place, in a buffer for all times, and each gradient is one product over all trials
and times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import Function, once_differentiable
from torch.nn.functional import linear, pad

# of what drives the units, root mean square: above it the rounding of tanh by sigmoid, 4e-8 in
# single precision, is below 1e-5 of the state
_LARGE_DRIVE = 0.01
# so many are read out faster by the product of the transposes, 3 of 64 units in two thirds of the
# time
_FEW_OUTPUTS = 8
# multiplies by the derivative of tanh where its value is the second argument; looked up here, as a
# look-up a step costs time
_times_slope = torch.ops.aten.tanh_backward.grad_input


def vanilla_outputs(
    inputs: Tensor,
    input_weight: Tensor,
    recurrent_weight: Tensor,
    bias: Tensor | None,
    readout: nn.Linear,
) -> Tensor:
    """The readout of h_t = tanh(W h_{t-1} + W_in x_t + b) from h_0 = 0: inputs ``(B, T, n_in)`` to
    outputs ``(B, T, n_out)``.

    Differentiable once, in reverse: a second derivative, forward mode and torch.func raise
    RuntimeError.
    """
    inputs = inputs.transpose(0, 1)
    if bias is not None:
        # one more column of W_in, whose input is 1: no product of its own, forwards or backwards
        inputs, input_weight = (
            pad(inputs, (0, 1), value=1.0),
            torch.cat([input_weight, bias.unsqueeze(1)], 1),
        )
    outputs: Tensor = _Scan.apply(
        inputs, input_weight, recurrent_weight, readout.weight, readout.bias, None
    )
    return outputs


def continuous_time_outputs(
    inputs: Tensor, input_weight: Tensor, recurrent_weight: Tensor, dt: float, readout: nn.Linear
) -> Tensor:
    """The readout of h_t = (1 - dt) h_{t-1} + dt (W tanh(h_{t-1}) + W_in x_t); otherwise as
    ``vanilla_outputs``.
    """
    weights = (dt * input_weight, dt * recurrent_weight, readout.weight, readout.bias)
    outputs: Tensor = _Scan.apply(inputs.transpose(0, 1), *weights, 1 - dt)
    return outputs


class _Scan(Function):
    """Drive d_t = W_in x_t. Without ``carry`` h_t = r_t = tanh(d_t + W r_{t-1}); with it h_t = d_t
    + W r_{t-1} + carry h_{t-1}, r_t = tanh(h_t). Within, time is the first axis: a step of all
    trials is contiguous.
    """

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        input_weight: Tensor,
        recurrent_weight: Tensor,
        readout_weight: Tensor,
        readout_bias: Tensor | None,
        carry: float | None,
    ) -> Tensor:
        """Inputs ``(T, B, n_in)`` to outputs ``(B, T, n_out)``."""
        inputs = inputs.contiguous()
        # twice the drive: by sigmoid it takes tanh x = 2 sigmoid(2x) - 1, and the factor is exact
        states = linear(inputs, 2 * input_weight)
        rates = states if carry is None else torch.empty_like(states)
        if _takes_sigmoid(states):
            _scan(states, rates, (2 * recurrent_weight).T, carry, _tanh_of_half(states))
            if carry is not None:
                states.mul_(0.5)
        else:
            _scan(states.mul_(0.5), rates, recurrent_weight.T, carry, torch.tanh)
        ctx.carry = carry
        ctx.save_for_backward(inputs, states, rates, input_weight, recurrent_weight, readout_weight)
        return _read_out(states, readout_weight, readout_bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, ...]:
        """From dL/doutputs the adjoints dL/dd_t, backwards in time; from them the gradients that
        are asked for.
        """
        inputs, states, rates, input_weight, recurrent_weight, readout_weight = ctx.saved_tensors
        error = error.transpose(0, 1).contiguous()
        adjoints = error @ readout_weight
        if ctx.carry is None:
            _scan_back(adjoints, recurrent_weight, rates)
        else:
            _scan_back_with_carry(adjoints, recurrent_weight, rates, ctx.carry)
        of_inputs, of_input_weight, of_recurrent_weight, of_readout_weight, of_readout_bias, _ = (
            ctx.needs_input_grad
        )
        return (
            adjoints @ input_weight if of_inputs else None,
            # for few inputs several times as fast as the product of the transposes
            _summed_products(inputs, adjoints).T if of_input_weight else None,
            _summed_products(adjoints[1:], rates[:-1]) if of_recurrent_weight else None,
            _summed_products(error, states) if of_readout_weight else None,
            error.sum((0, 1)) if of_readout_bias else None,
            None,
        )


def _scan(
    states: Tensor,
    rates: Tensor,
    weight: Tensor,
    carry: float | None,
    squash: Callable[..., Tensor],
) -> None:
    """The drive in ``states``, in place, to the states, and what ``squash`` makes of them to
    ``rates``; ``weight`` is W^T.
    """
    times = states.unbind()
    previous = None
    for state, rate in zip(times, times if rates is states else rates.unbind(), strict=True):
        if previous is not None:
            state.addmm_(previous[1], weight)
            if carry is not None:
                state.add_(previous[0], alpha=carry)
        squash(state, out=rate)
        previous = (state, rate)


def _read_out(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """States ``(T, B, n)`` to outputs ``(B, T, n_out)``; contiguous, for the loss takes half the
    time then.
    """
    if bias is not None and len(weight) <= _FEW_OUTPUTS:
        transposed = torch.addmm(bias.unsqueeze(1), weight, states.flatten(0, 1).T)
        return transposed.unflatten(1, states.shape[:2]).permute(2, 1, 0).contiguous()
    return linear(states, weight, bias).transpose(0, 1).contiguous()


def _takes_sigmoid(doubled_drive: Tensor) -> bool:
    """Whether tanh by sigmoid is faster, as on a CPU, where it takes two fifths of the time, and
    accurate enough.

    It is exact to the rounding of 1, not to that of its argument, whose size a few trials tell.
    """
    some = doubled_drive[:, ::16]
    large = 2 * _LARGE_DRIVE * some.numel() ** 0.5
    return some.device.type == "cpu" and bool(torch.linalg.vector_norm(some) >= large)


def _tanh_of_half(like: Tensor) -> Callable[..., Tensor]:
    """tanh(x / 2) = 2 sigmoid(x) - 1, called as torch.tanh is with ``out``."""
    # a Python number would be converted at every step
    minus_one = like.new_full((), -1)

    def by_sigmoid(values: Tensor, *, out: Tensor) -> Tensor:
        return torch.add(minus_one, torch.sigmoid(values, out=out), alpha=2, out=out)

    return by_sigmoid


def _scan_back(adjoints: Tensor, weight: Tensor, rates: Tensor) -> None:
    """The readout's dL/dh_t, in place, to dL/dd_t: l_t = (dL/dh_t + W^T l_{t+1}) (1 - h_t^2)."""
    following = None
    for adjoint, rate in zip(reversed(adjoints.unbind()), reversed(rates.unbind()), strict=True):
        if following is not None:
            adjoint.addmm_(following, weight)
        _times_slope(adjoint, rate, grad_input=adjoint)
        following = adjoint


def _scan_back_with_carry(adjoints: Tensor, weight: Tensor, rates: Tensor, carry: float) -> None:
    """As ``_scan_back`` with a carry: l_t = dL/dh_t + carry l_{t+1} + (W^T l_{t+1}) (1 - r_t^2)."""
    following, pulled = None, torch.empty_like(adjoints[0])
    for adjoint, rate in zip(reversed(adjoints.unbind()), reversed(rates.unbind()), strict=True):
        if following is not None:
            torch.mm(following, weight, out=pulled)
            _times_slope(pulled, rate, grad_input=pulled)
            adjoint.add_(pulled).add_(following, alpha=carry)
        following = adjoint


def _summed_products(left: Tensor, right: Tensor) -> Tensor:
    """sum_{t,b} left right^T of ``(T, B, p)`` and ``(T, B, q)``: ``(p, q)``."""
    return left.flatten(0, 1).T @ right.flatten(0, 1)
