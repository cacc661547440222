"""Networks that exist already: any module, its state by name, the other arguments that it is called
with beside the trials.
"""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from torch import Tensor, nn

from kpflow_cli.errors import UserError
from kpflow_cli.models.base import Model
from kpflow_cli.ntk import TracedTrajectory, linearize
from kpflow_cli.tracing.row_order import tensors_in
from kpflow_cli.tracing.state_choice import SiteState, StateChoice, state_of_submodule
from kpflow_cli.tracing.watched_module import evaluating, recording


class ExistingNetwork(Model):
    """A module as it is, under the contract of ``Model``.

    Outputs are the first tensor that it returns, the state is a submodule's output, or its own;
    each ``(B, T, n)``, ``(B, n)`` as ``(B, 1, n)``, and of a network whose axes are time first,
    trials second, ``(T, B, n)`` brought to that.

    Attributes:
        mask: bool ``(B, T)``, which trials and times count; None: all.
    """

    mask: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        *,
        state: str | None = None,
        arguments: Sequence[Tensor] = (),
        batch_first: bool = True,
        mask: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.network, self._state, self._batch_first = network, state, batch_first
        self._names = [f"argument_{index}" for index in range(1, len(arguments) + 1)]
        for name, argument in zip(self._names, arguments, strict=True):
            self.register_buffer(name, argument, persistent=False)
        self.register_buffer("mask", mask, persistent=False)
        known = dict(network.named_modules())
        if state is not None and state not in known:
            raise UserError.unknown("state", state, [name for name in known if name])

    def forward(self, inputs: Tensor, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs ``(B, T, ...)`` to outputs ``(B, T, m)`` and states ``(B, T, n)``; other arguments
        than the network's own for other trials.
        """
        recorded: list[Any] = []
        named = None if self._state is None else self.network.get_submodule(self._state)
        with nullcontext() if named is None else recording(named, recorded):
            given = inputs if self._batch_first else inputs.transpose(0, 1)
            result = self.network(given, *(arguments or self._arguments))
        output = _first_tensor(result)
        if named is not None:
            state = state_of_submodule(self._state or "", recorded)
        else:
            state = result[1] if isinstance(self.network, Model) else output
        return self._arrange(output, inputs), self._arrange(state, inputs)

    def linearize(self, inputs: Tensor) -> TracedTrajectory:
        """As ``Model.linearize`` says, in evaluation mode."""
        return self.trajectory(inputs)

    def trajectory(self, inputs: Tensor, state: SiteState | None = None) -> TracedTrajectory:
        """As ``Model.trajectory`` says; what the mask leaves out does not count."""
        choice: StateChoice = (lambda result: result[1]) if state is None else state
        with evaluating(self):
            return linearize(
                self,
                inputs,
                *self._arguments,
                state=choice,
                others=self.others,
                mask=self.mask,
            )

    @property
    def _arguments(self) -> list[Tensor]:
        return [getattr(self, name) for name in self._names]

    def _arrange(self, found: Tensor, inputs: Tensor) -> Tensor:
        if found.ndim == 3 and not self._batch_first:
            found = found.transpose(0, 1)
        if found.ndim == 2:
            found = found.unsqueeze(1)
        if found.ndim != 3 or len(found) != len(inputs):
            hint = " or, with batch_first=false, (T, B, n)" if self._batch_first else ""
            raise UserError(
                f"state={self._state or 'null'}: of shape {tuple(found.shape)}, not (B, T, n) = "
                f"{(*inputs.shape[:2], 'n')}{hint}; name another submodule"
            )
        return found


def _first_tensor(result: Any) -> Tensor:
    found = next(tensors_in(result), None)
    if found is None:
        raise UserError(f"the network returns a {type(result).__name__} with no tensor in it")
    return found


def arrange_arguments(network: nn.Module, named: Mapping[str, Tensor]) -> list[Any]:
    """Arguments by their names in the order that forward takes them. Raises UserError for one that
    it does not take.
    """
    signature = inspect.signature(network.forward)
    try:
        bound = signature.bind(**named)
        bound.apply_defaults()
    except TypeError as error:
        raise UserError(
            f"inputs: forward does not take {', '.join(named)} ({error}); it takes "
            f"{', '.join(signature.parameters)}"
        ) from None
    arguments = list(bound.args)
    while arguments and not isinstance(arguments[-1], Tensor):
        arguments.pop()
    return arguments


def train_only(network: nn.Module, patterns: Sequence[str]) -> None:
    """Freeze every parameter whose name none of the patterns matches. Raises UserError for a
    pattern that matches none.
    """
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            raise UserError(
                f"trained={pattern}: matches no parameter; there are {', '.join(names)}"
            )
    for name, parameter in network.named_parameters():
        kept = any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
        parameter.requires_grad_(kept and parameter.requires_grad)


def draw_afresh(network: nn.Module) -> None:
    """Draw every parameter and buffer again as its own layer does, from torch's global generator.
    Raises UserError for parameters whose module cannot.
    """
    drawn: set[int] = set()
    for module in network.modules():
        reset = getattr(module, "reset_parameters", None) or getattr(
            module, "_reset_parameters", None
        )
        if callable(reset):
            reset()
            drawn.update(id(each) for each in module.parameters(recurse=False))
            # nn.MultiheadAttention draws its projection's too
            if not hasattr(module, "reset_parameters"):
                drawn.update(id(each) for each in module.parameters())
    missing = [name for name, each in network.named_parameters() if id(each) not in drawn]
    if missing:
        raise UserError(
            f"control=initialization: the network is made with weights of its own, and nothing "
            f"draws {', '.join(missing[:5])} anew; have its constructor draw them"
        )
