"""torch's recurrent layers written out over their linear maps, step by step, with torch's own
equations.

nn.RNN, nn.GRU, nn.LSTM and their cells each call one fused function; ``UNROLLED`` has for each the
same computation in terms of ``functional.linear``, where weight sites can be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from kpflow_cli.errors import UserError

# the time step that a layer's recurrent product belongs to, while it is made: a layer that runs
# backwards makes them in another order
TIME_STEP: ContextVar[int | None] = ContextVar("TIME_STEP", default=None)

# a cell's state: (h,), for the LSTM (h, c)
State = tuple[Tensor, ...]
# from W_ih x + b_ih, W_hh h + b_hh and the state to the next state
Update = Callable[[Tensor, Tensor, State], State]


def _rnn_update(
    nonlinearity: Callable[[Tensor], Tensor], from_input: Tensor, from_state: Tensor, _: State
) -> State:
    return (nonlinearity(from_input + from_state),)


def _gru_update(from_input: Tensor, from_state: Tensor, state: State) -> State:
    input_r, input_z, input_c = from_input.chunk(3, dim=-1)
    state_r, state_z, state_c = from_state.chunk(3, dim=-1)
    r, z = torch.sigmoid(input_r + state_r), torch.sigmoid(input_z + state_z)
    candidate = torch.tanh(input_c + r * state_c)
    return ((1 - z) * candidate + z * state[0],)


def _lstm_update(from_input: Tensor, from_state: Tensor, state: State) -> State:
    i, f, g, o = (from_input + from_state).chunk(4, dim=-1)
    cell = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


def _unrolled_cell(
    update: Update,
    input: Tensor,  # noqa: A002
    hidden: Tensor | Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Any:
    state = (hidden,) if isinstance(hidden, Tensor) else tuple(hidden)
    found = update(
        functional.linear(input, w_ih, b_ih), functional.linear(state[0], w_hh, b_hh), state
    )
    return found if len(found) > 1 else found[0]


def _refuse_packed_or_random(
    weights: Sequence[Tensor] | Tensor, batch_first: bool | None, *, dropout: bool
) -> None:
    if isinstance(weights, Tensor) or batch_first is None:
        raise UserError(
            "packed sequences have no rectangular (trial, time) axes; give the recurrent layer "
            "padded ones"
        )
    if dropout:
        raise UserError(
            "dropout between recurrent layers stays on in evaluation mode: forward is random; "
            "set it to 0"
        )


def _unrolled_layers(
    update: Update,
    input: Tensor,  # noqa: A002
    hidden: Tensor | Sequence[Tensor],
    weights: Any,
    has_biases: Any,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: Any = None,
) -> tuple[Tensor, ...]:
    _refuse_packed_or_random(weights, batch_first, dropout=bool(dropout and train))
    initial = (hidden,) if isinstance(hidden, Tensor) else tuple(hidden)
    directions = 2 if bidirectional else 1
    per_direction = len(weights) // (num_layers * directions)
    sequence = input if batch_first else input.transpose(0, 1)
    final: list[State] = []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            index = layer * directions + direction
            own = weights[index * per_direction : (index + 1) * per_direction]
            states, last = _scan(
                update,
                sequence,
                tuple(part[index] for part in initial),
                own,
                has_biases,
                reverse=direction == 1,
            )
            outputs.append(states)
            final.append(last)
        sequence = torch.cat(outputs, dim=-1)
    result = sequence if batch_first else sequence.transpose(0, 1)
    return result, *(torch.stack(parts) for parts in zip(*final, strict=True))


def _scan(
    update: Update,
    sequence: Tensor,
    state: State,
    weights: Sequence[Tensor],
    has_biases: bool,
    *,
    reverse: bool,
) -> tuple[Tensor, State]:
    """One layer in one direction over ``(B, T, d)``: states ``(B, T, n)`` and the last state."""
    w_ih, w_hh, *others = weights
    b_ih, b_hh = others[:2] if has_biases else (None, None)
    # an LSTM with proj_size has a projection of its state as the last weight
    projection = others[-1] if len(others) > (2 if has_biases else 0) else None
    # unbound at once: the derivative of one step's slice would fill all steps with zeros
    from_input = functional.linear(sequence, w_ih, b_ih).unbind(1)
    steps = range(sequence.shape[1])
    states: dict[int, Tensor] = {}
    for step in reversed(steps) if reverse else steps:
        token = TIME_STEP.set(step)
        state = update(from_input[step], functional.linear(state[0], w_hh, b_hh), state)
        if projection is not None:
            state = (functional.linear(state[0], projection), *state[1:])
        TIME_STEP.reset(token)
        states[step] = state[0]
    return torch.stack([states[step] for step in steps], dim=1), state


_UPDATES: dict[str, Update] = {
    "rnn_tanh": partial(_rnn_update, torch.tanh),
    "rnn_relu": partial(_rnn_update, torch.relu),
    "gru": _gru_update,
    "lstm": _lstm_update,
}
UNROLLED: dict[Callable[..., Any], Callable[..., Any]] = {
    **{
        getattr(torch, name): partial(_unrolled_layers, update) for name, update in _UPDATES.items()
    },
    **{
        getattr(torch, f"{name}_cell"): partial(_unrolled_cell, update)
        for name, update in _UPDATES.items()
    },
}
