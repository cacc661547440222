"""Which rows of a weight site belong to which rows, such as (trial, time), of the state; found out,
never guessed.

The sizes of inputs are changed: an axis of a site whose size follows that of an axis of the state
is that axis. Its direction, forwards or backwards, and the order of calls in a loop are told by
which rows of the state a row of the site reaches: its own must be among them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, permutations, product
from typing import Any

import torch
from torch import Tensor

from kpflow_cli.tracing.linearized_pass import LinearizedPass
from kpflow_cli.tracing.site_call import SiteCall
from kpflow_cli.tracing.site_rows import Layouts, SiteLayout, by_site
from kpflow_cli.tracing.small_inputs import on_few_trials
from kpflow_cli.tracing.watched_module import WatchedModule, WatchedPass

# products that telling the rows of the state apart may take
_MOST_ROWS = 2048


def find_layouts(
    watched: WatchedModule, calls: Sequence[SiteCall], *, reaching: bool = True
) -> Layouts:
    """The layouts of the sites whose ``calls`` these are, on the state of ``watched``, which is run
    on few trials and times for that.

    The state must have rows, ``(*rows, m)``. ``calls`` are those that reach it, or without
    ``reaching`` all there are.
    """
    sites = [calls[indices[0]] for indices in by_site(calls)]
    small, larger = (
        _SmallPass.of(each.run_perturbed(), reaching) for each in on_few_trials(watched)
    )
    parameters = [_parameters(call) for call in sites]
    if any(parameters != [_parameters(site[0]) for site in each.sites] for each in (small, larger)):
        return Layouts(
            dict.fromkeys(
                (call.site for call in sites),
                "on other numbers of trials and times the network has other sites",
            )
        )
    if math.prod(small.rows) > _MOST_ROWS:
        return Layouts(
            dict.fromkeys(
                (call.site for call in sites),
                "the network runs on no other numbers of trials and times",
            )
        )
    return Layouts({call.site: _layout(small, larger, index) for index, call in enumerate(sites)})


def inputs_in_order(watched: WatchedModule) -> bool:
    """Whether the rows of the state are those of the first input, a tensor of numbers, as far as
    can be told.
    """
    passes = []
    for each in on_few_trials(watched):
        inputs = each.inputs[0].requires_grad_()
        found = each.run_perturbed()
        by_input = (
            LinearizedPass(found.state, [inputs])
            .pull_back(_one_row_each(found.state))[0]
            .flatten(3)
        )
        reach = (by_input != 0).any(-1).movedim(0, -1)
        calls: Any = [[None]]
        sizes = [[inputs.shape[:2]]]
        passes.append(_SmallPass(found.state.shape[:-1], calls, sizes, [[reach]], found.reorders))
    return _layout(passes[0], passes[1], 0) == SiteLayout(((0,), (1,)))


def _parameters(call: SiteCall) -> tuple[str, ...]:
    """What tells a site at any size of the inputs."""
    return call.map.function, *(
        "" if view is None else view.name for view in (call.weight, call.bias)
    )


@dataclass(frozen=True)
class _SmallPass:
    """A pass on few trials and times.

    Attributes:
        rows: of the state.
        sites: the calls of each site.
        row_shapes: of each of these calls its rows.
        reach: of each which of its rows reach which of the state's, ``(*rows of the call, S)`` with
            S rows of the state.
        reorders: as ``WatchedPass.reorders``.
    """

    rows: torch.Size
    sites: list[list[SiteCall]]
    row_shapes: list[list[torch.Size]]
    reach: list[list[Tensor]]
    reorders: bool

    @classmethod
    def of(cls, watched: WatchedPass, reaching: bool) -> _SmallPass:
        state = watched.state
        gradients: Sequence[Tensor | None] = [None] * len(watched.calls)
        if state.requires_grad and watched.perturbations:
            gradients = torch.autograd.grad(
                state.sum(), watched.perturbations, retain_graph=True, allow_unused=True
            )
        kept = [
            index
            for index, gradient in enumerate(gradients)
            if gradient is not None or not reaching
        ]
        calls = [watched.calls[index] for index in kept]
        rows = state.shape[:-1]
        pulled = (
            watched.linearize(kept).pull_back(_one_row_each(state))
            if math.prod(rows) <= _MOST_ROWS
            else []
        )
        reach = [
            torch.stack([(call.map.by_row(each) != 0).any(-1) for each in gradient], dim=-1)
            for call, gradient in zip(calls, pulled, strict=False)
        ]
        shapes = [
            call.map.by_row(torch.empty(call.shape, device="meta")).shape[:-1] for call in calls
        ]
        sites = by_site(calls)

        def grouped(values: list[Any]) -> list[list[Any]]:
            return [[values[index] for index in indices] for indices in sites] if values else []

        return cls(rows, grouped(calls), grouped(shapes), grouped(reach), watched.reorders)


def _one_row_each(state: Tensor) -> Tensor:
    """A cotangent for each row of the state, 0 on all others, ``(S, *state.shape)``."""
    rows = math.prod(state.shape[:-1])
    cotangents = torch.zeros(rows, rows, state.shape[-1], dtype=state.dtype, device=state.device)
    # of no sign pattern that a network could cancel
    weights = (
        torch.rand(state.shape[-1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        + 0.5
    )
    cotangents.diagonal(dim1=0, dim2=1).copy_(
        weights.to(state.device, state.dtype).unsqueeze(1).expand(-1, rows)
    )
    return cotangents.reshape(rows, *state.shape)


def _layout(small: _SmallPass, larger: _SmallPass, site: int) -> SiteLayout | str | None:
    candidates = list(_candidates(small, larger, site))
    if not candidates:
        return (
            None
            if _has_other_rows(small, larger, site)
            else "they are those of the state in no simple way"
        )
    fitting = [candidate for candidate in candidates if _own_row_is_reached(small, site, candidate)]
    if not fitting:
        return "they reach those in no known order"
    forwards = [candidate for candidate in fitting if not candidate.backwards]
    in_order = len(forwards) == 1 and (
        forwards[0].stepwise is None
        or all(call.time_step is not None for call in small.sites[site])
    )
    certain = len(fitting) == 1 or (in_order and not small.reorders)
    found = fitting[0] if len(fitting) == 1 else forwards[0] if forwards else fitting[0]
    fixed = [
        axis
        for axis, sizes in enumerate(zip(small.rows, larger.rows, strict=True))
        if sizes[0] == sizes[1] != 1
    ]
    if not certain or not all(_is_ordered(small, site, found, axis) for axis in fixed):
        return "what they reach does not tell"
    return found


def _has_other_rows(small: _SmallPass, larger: _SmallPass, site: int) -> bool:
    """Whether a site of a single call has certainly not one row for each of the state's: pooled,
    strided or with a row for each channel.
    """
    shapes = [each.row_shapes[site] for each in (small, larger)]
    return all(len(each) == 1 for each in shapes) and all(
        shape[0].numel() != rows.numel()
        for shape, rows in zip(shapes, (small.rows, larger.rows), strict=True)
    )


def _candidates(small: _SmallPass, larger: _SmallPass, site: int) -> Iterator[SiteLayout]:
    """All layouts of the sizes that a site has."""
    axes = {
        axis: sizes
        for axis, sizes in enumerate(zip(small.rows, larger.rows, strict=True))
        if sizes != (1, 1)
    }
    shapes = [set(each.row_shapes[site]) for each in (small, larger)]
    if any(len(each) > 1 for each in shapes) or len({len(next(iter(each))) for each in shapes}) > 1:
        return
    choices = []
    for size in zip(*(next(iter(each)) for each in shapes), strict=True):
        orders = chain.from_iterable(
            permutations(axes, count) for count in range(0 if size == (1, 1) else 1, len(axes) + 1)
        )
        choices.append([order for order in orders if _sizes(axes, order) == size])
    counts = (len(small.sites[site]), len(larger.sites[site]))
    for stepwise in [None, *(axis for axis, sizes in axes.items() if sizes == counts)]:
        for made_of in product(*choices):
            covered = [axis for each in made_of for axis in each] + (
                [] if stepwise is None else [stepwise]
            )
            if sorted(covered) == list(axes):
                for turned in chain.from_iterable(
                    combinations(axes, count) for count in range(len(axes) + 1)
                ):
                    yield SiteLayout(made_of, stepwise, frozenset(turned))


def _sizes(axes: dict[int, tuple[int, int]], chosen: Sequence[int]) -> tuple[int, int]:
    return math.prod(axes[axis][0] for axis in chosen), math.prod(axes[axis][1] for axis in chosen)


def _reach_by_row(small: _SmallPass, site: int, layout: SiteLayout) -> Tensor:
    """Which row of the state each use of the site reaches from each row, ``(S, uses, S)``."""
    arranged = layout.arrange(small.reach[site], small.rows)
    assert arranged is not None
    rows = math.prod(small.rows)
    return arranged.reshape(rows, -1, rows)


def _own_row_is_reached(small: _SmallPass, site: int, layout: SiteLayout) -> bool:
    """Whether each row reaches its own of the state, if it reaches any, for units that are off
    reach none; or all go one way along each axis: the first key of causal attention, which has no
    rival yet, reaches later rows alone.
    """
    reach = _reach_by_row(small, site, layout)
    own = reach.diagonal(dim1=0, dim2=2).T
    one_way = all(_is_ordered(small, site, layout, axis) for axis in range(len(small.rows)))
    return one_way or bool((own | ~reach.any(-1)).all())


def _is_ordered(small: _SmallPass, site: int, layout: SiteLayout, axis: int) -> bool:
    """Whether along an axis rows reach their own of the state and later ones only, or earlier ones
    only.
    """
    reach = _reach_by_row(small, site, layout).any(1).reshape(*small.rows, *small.rows)
    others = [each for each in range(reach.ndim) if each not in (axis, axis + len(small.rows))]
    along = reach.any(dim=others) if others else reach
    return bool(along.any()) and not (bool(along.triu(1).any()) and bool(along.tril(-1).any()))
