"""The weight sites of any module, found by watching one forward pass; no code of the module's own
is needed.

A site is a product of a trained parameter with something else, u = W v + b: a call of one of
torch's linear functions (linear_maps.py) with a trained parameter, or a view of one, in the place
of W or b. Fused recurrent layers are written out (unrolled.py). The pass can be repeated with
perturbations added to the sites' outputs, which is how derivatives with respect to them are taken.
What is found is checked against the module's own gradient (self_check.py) before anything is made
of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial, reduce
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kpflow_cli.errors import UserError
from kpflow_cli.tracing.linear_maps import LinearMap
from kpflow_cli.tracing.linearized_pass import LinearizedPass
from kpflow_cli.tracing.refusals import (
    refuse_impossible_state,
    refuse_infinite_gradients,
    refuse_no_sites,
    refuse_outside,
    refuse_unreached,
    refuse_unseen,
    refuse_what_cannot_work,
    warn_of_evaluation,
)
from kpflow_cli.tracing.row_search import find_layouts
from kpflow_cli.tracing.self_check import (
    check_direction,
    find_unseen_parameters,
    precision,
    refuse_changed_parameters,
    refuse_state_of_another,
    refuse_unless_adjoint,
    refuse_unless_function,
)
from kpflow_cli.tracing.site_call import ParameterView, SiteCall
from kpflow_cli.tracing.site_rows import Layouts, reaching_rows, take_apart
from kpflow_cli.tracing.state_choice import (
    MaskedState,
    SitesByRow,
    SiteState,
    StateChoice,
    find_state_of,
)
from kpflow_cli.tracing.traced_pass import TracedPass
from kpflow_cli.tracing.watched_module import StateFinder, WatchedModule, WatchedPass

__all__ = ["OtherParameters", "SiteState", "StateChoice", "TracedPass", "find_sites"]

OtherParameters = Literal["refuse", "autograd"]


def find_sites(
    module: nn.Module,
    *inputs: Any,
    state: StateChoice = None,
    others: OtherParameters = "autograd",
    mask: Tensor | None = None,
) -> TracedPass:
    """Watch ``module(*inputs)`` in evaluation mode and find its weight sites.

    Arguments, warnings and errors are those of ``linearize``. Every call starts from the buffers
    and attributes that the module has now.
    """
    refuse_what_cannot_work(module, inputs)
    warn_of_evaluation(module)
    with torch.inference_mode(False), torch.enable_grad():
        finder = find_state_of(state, module, inputs)
        if mask is not None:
            finder = MaskedState(finder, mask)
        try:
            with refuse_changed_parameters(module):
                return _trace(module, inputs, finder, others)
        except UserError:
            raise
        except Exception as error:
            first_line = (str(error).splitlines() or [""])[0]
            raise UserError(
                f"{type(module).__name__}: forward, or its derivative, fails here: "
                f"{type(error).__name__}: {first_line}"
            ) from error


def _trace(
    module: nn.Module,
    inputs: tuple[Any, ...],
    finder: StateFinder,
    others: OtherParameters,
    opaque: Collection[str] = (),
    known: Mapping[str, Tensor | None] | None = None,
) -> TracedPass:
    """As ``find_sites`` says; ``opaque`` parameters are exchanged as a whole. The real gradients
    are then those ``known`` from a pass where none was: a backward pass may work with the
    parameters themselves.
    """
    watched = WatchedModule(module, inputs, finder, opaque)
    found = watched.run_perturbed()
    if finder.of_sites and not found.calls:
        refuse_no_sites(watched, found)
    refuse_impossible_state(found.state)
    of_calls, of_shifts, own = _gradients(found, watched)
    real = own if known is None else known
    kept = [index for index, gradient in enumerate(of_calls) if gradient is not None]
    direct = [name for name, gradient in of_shifts.items() if gradient is not None]
    if all(gradient is None for gradient in real.values()):
        refuse_unreached(watched, found)
    if direct and others == "refuse":
        refuse_outside(direct, found.outside)
    refuse_infinite_gradients(real)
    unseen = find_unseen_parameters(found, of_calls, of_shifts, real)
    if unseen and others == "autograd" and not set(unseen) <= set(opaque):
        return _trace(module, inputs, finder, others, {*opaque, *unseen}, real)
    if unseen:
        refuse_unseen(unseen, counted=others == "autograd")
    counting = kept if finder.mask is not None else []
    reaching = [reaching_rows(found.calls[index], of_calls[index]) for index in counting]
    trajectory = _assemble(watched, finder, found, kept, direct, reaching)
    epsilon = precision(found.state, found.calls)
    refuse_unless_function(watched, found.state, trajectory.linearized.state, epsilon)
    refuse_unless_adjoint(trajectory.linearized, epsilon)
    if not trajectory.of_sites:
        refuse_state_of_another(watched, found.state, epsilon)
    return trajectory


def _gradients(
    found: WatchedPass, watched: WatchedModule
) -> tuple[list[Tensor | None], dict[str, Tensor | None], dict[str, Tensor | None]]:
    """Of <s, state> in the output of each call, in what is added to each parameter outside of
    linear maps, and in the real parameters.
    """
    calls, names = len(found.calls), list(watched.trained)
    gradients: list[Tensor | None] = [None] * (calls + 2 * len(names))
    if found.state.requires_grad:
        variables = [
            *found.perturbations,
            *(found.shifts[name] for name in names),
            *watched.trained.values(),
        ]
        gradients = list(
            torch.autograd.grad(
                found.state,
                variables,
                check_direction(found.state),
                retain_graph=False,
                allow_unused=True,
            )
        )
    of_shifts, real = gradients[calls : calls + len(names)], gradients[calls + len(names) :]
    return (
        gradients[:calls],
        dict(zip(names, of_shifts, strict=True)),
        dict(zip(names, real, strict=True)),
    )


def _assemble(
    watched: WatchedModule,
    finder: StateFinder,
    found: WatchedPass,
    kept: list[int],
    direct: list[str],
    reaching: list[Tensor],
) -> TracedPass:
    calls = [found.calls[index] for index in kept]
    sites = [*calls, *(_direct_site(name, found.shifts[name]) for name in direct)]
    names = {view.name for call in sites for view in (call.weight, call.bias) if view is not None}
    run = _perturbed_by(watched, len(found.calls), kept, direct)
    zeros = [
        torch.zeros(call.shape, dtype=call.dtype, device=found.state.device, requires_grad=True)
        for call in sites
    ]
    trained = watched.trained.items()
    return TracedPass(
        state=found.state.detach(),
        calls=tuple(sites),
        parameters={name: parameter.detach() for name, parameter in trained if name in names},
        dtype=reduce(torch.promote_types, (call.dtype for call in sites), found.state.dtype),
        site_places=finder.places(calls),
        outside={name: found.outside[name] for name in direct},
        output=found.output,
        of_sites=finder.of_sites,
        mask=finder.mask,
        linearized=LinearizedPass(run(zeros), zeros),
        _run=run,
        _output_of=partial(_output_of, watched, finder),
        _find_layouts=partial(_layouts, watched, finder, calls),
        _reaching=tuple(reaching),
    )


def _perturbed_by(
    watched: WatchedModule, calls: int, kept: list[int], direct: list[str]
) -> Callable[[Sequence[Tensor]], Tensor]:
    """The state as a function of what is added to the outputs of the calls that are ``kept``, of so
    many in all, and to the parameters outside of linear maps, ``direct``.
    """

    def run(given: Sequence[Tensor]) -> Tensor:
        at_calls = dict(zip(kept, given[: len(kept)], strict=True))
        position = iter(range(calls))

        def perturb(_call: SiteCall, _map: LinearMap, result: Tensor) -> Tensor:
            perturbation = at_calls.get(next(position))
            return result if perturbation is None else result + perturbation

        return watched.run(dict(zip(direct, given[len(kept) :], strict=True)), perturb)[0]

    return run


def _layouts(watched: WatchedModule, finder: StateFinder, calls: list[SiteCall]) -> Layouts:
    return finder.layouts(calls) if isinstance(finder, SitesByRow) else find_layouts(watched, calls)


def _direct_site(name: str, shift: Tensor) -> SiteCall:
    """A parameter outside of linear maps: it is itself what is perturbed."""
    return SiteCall(
        LinearMap("value", None, None, lambda w: w),
        ParameterView(name),
        None,
        shift.shape,
        shift.dtype,
    )


def _output_of(watched: WatchedModule, finder: StateFinder, state: Tensor) -> Any:
    """As ``TracedPass.output_of`` says."""
    if not isinstance(finder, SitesByRow):
        raise ValueError("only a state of site outputs or site inputs determines the output")
    calls: list[SiteCall] = []
    shapes: list[torch.Size] = []

    def look(call: SiteCall, live: LinearMap, output: Tensor) -> Tensor:
        calls.append(call)
        shapes.append(finder.of_call(call, live, output).shape)
        return output

    with torch.no_grad():
        watched.run({}, look)
    given = iter(take_apart(finder.layouts(calls), calls, shapes, state, finder.rows))

    def replace_output(_: SiteCall, live: LinearMap, _output: Tensor) -> Tensor:
        value = next(given)
        if finder.kind is SiteState.OUTPUTS:
            return value
        assert live.of_variables is not None
        return live.of_variables(value)

    return watched.run({}, replace_output)[1]
