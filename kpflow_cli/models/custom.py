"""Any network of torch's under one contract: what ``model=custom`` runs.

The class that ``target`` names is constructed by keywords, ``target(input_size=...,
output_size=..., units=..., **kwargs)``. Its ``forward`` takes inputs ``(B, T, input_size)`` and
returns ``(output, state)``: output ``(B, T, output_size)``, state ``(B, T, m)``. Or it returns the
output alone and the configuration names the state, ``state=<submodule>``: the submodule's output is
the state. Trained parameters that do not act through linear maps are counted by automatic
differentiation, or refused with ``others=refuse``.
"""

from __future__ import annotations

import pkgutil
from contextlib import nullcontext
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from kpflow_cli.config.keys import Key
from kpflow_cli.errors import UserError
from kpflow_cli.models.base import Model, Units
from kpflow_cli.ntk import TracedTrajectory, linearize
from kpflow_cli.tracing.site_search import OtherParameters
from kpflow_cli.tracing.state_choice import state_of_submodule
from kpflow_cli.tracing.watched_module import evaluating, recording


class CustomModel(Model):
    """A network whose weight sites are found by watching it."""

    def __init__(
        self,
        *,
        units: Units,
        target: Annotated[
            str,
            Key(
                "class of the network, of your own: built by keywords input_size, output_size, "
                "units, returns (output, state)"
            ),
        ],
        kwargs: Annotated[
            dict[str, Any],
            Key("further keywords of that class; one is added by +model.kwargs.<name>=<value>"),
        ],
        state: Annotated[
            str | None,
            Key("submodule whose output is the state; null where forward returns (output, state)"),
        ],
        others: Annotated[
            OtherParameters,
            Key("trained parameters outside of linear maps: counted by autograd, or refused"),
        ],
        input_size: int,
        output_size: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.target, self.others, self._state, self._output_size = (
            target,
            others,
            state,
            output_size,
        )
        build = _import(target)
        # the class draws its initial weights from torch's global generator
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch.randint(2**62, (), generator=generator).item())
            try:
                self.network: nn.Module = build(
                    input_size=input_size, output_size=output_size, units=units, **kwargs
                )
            except (TypeError, ValueError, AssertionError) as error:
                raise UserError(
                    f"model.target={target}: not built from input_size, output_size, units and "
                    f"model.kwargs ({error})"
                ) from error
        if not isinstance(self.network, nn.Module):
            raise UserError(
                f"model.target={target}: makes a {type(self.network).__name__}, not a "
                "torch.nn.Module"
            )

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """As ``Model.forward`` says. Raises UserError where the network does not keep
        its contract.
        """
        recorded: list[Any] = []
        with nullcontext() if self._state is None else recording(self._named_state(), recorded):
            result = self.network(inputs)
        if self._state is None:
            if not (isinstance(result, tuple) and len(result) == 2):
                raise UserError(
                    f"model.target={self.target}: forward returns no (output, state); name the "
                    "state with model.state=<submodule>"
                )
            output, state = result
        else:
            output = result if isinstance(result, Tensor) else result[0]
            state = state_of_submodule(self._state, recorded)
        if state.shape[:2] != inputs.shape[:2] or state.ndim != 3:
            raise UserError(
                f"model.target={self.target}: the state is of shape {tuple(state.shape)}, not (B, "
                f"T, m) = {(*inputs.shape[:2], 'm')}"
            )
        if output.shape != (*inputs.shape[:2], self._output_size):
            wanted = (*inputs.shape[:2], self._output_size)
            raise UserError(
                f"model.target={self.target}: the output is of shape {tuple(output.shape)}, not "
                f"(B, T, output_size) = {wanted}"
            )
        return output, state

    def linearize(self, inputs: Tensor) -> TracedTrajectory:
        """As ``Model.linearize`` says, in evaluation mode."""
        with evaluating(self):
            return linearize(self, inputs, state=lambda result: result[1], others=self.others)

    def _named_state(self) -> nn.Module:
        assert self._state is not None
        known = dict(self.network.named_modules())
        if self._state not in known:
            raise UserError.unknown("model.state", self._state, [name for name in known if name])
        return known[self._state]


def _import(target: str) -> Any:
    try:
        return pkgutil.resolve_name(target)
    except Exception as error:
        # whatever a module of the user's own does when it is imported
        raise UserError(f"model.target={target}: cannot be imported ({error})") from None
