"""Which rows of a weight site belong to which rows, such as (trial, time), of the state; found out,
never guessed.

The sizes of inputs are changed: an axis of a site whose size follows that of an axis of the state
is that axis. Its direction, forwards or backwards, and the order of calls in a loop are told by
which rows of the state a row of the site reaches: its own must be among them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, permutations, product
from typing import Any

import torch
from torch import Tensor

from kpflow_cli.errors import UserError
from kpflow_cli.tracing.linearized_pass import LinearizedPass
from kpflow_cli.tracing.site_mode import SiteCall
from kpflow_cli.tracing.small_inputs import on_few_trials
from kpflow_cli.tracing.watched_module import WatchedModule, WatchedPass

# products that telling the rows of the state apart may take
_MOST_ROWS = 2048


def by_site(calls: Sequence[SiteCall]) -> list[list[int]]:
    """The indices of each site's calls, sites as they first occur; calls of a recurrent layer in
    the order of time.
    """
    found: dict[str, list[int]] = {}
    for index, call in enumerate(calls):
        found.setdefault(call.site, []).append(index)
    return [
        sorted(indices, key=lambda index: calls[index].time_step or 0) for indices in found.values()
    ]


@dataclass(frozen=True)
class SiteLayout:
    """How the rows of one site's calls stand to the axes of the state's rows.

    Attributes:
        axes: for each row axis of a call the axes of the state that it is made of, the slowest
            first.
        stepwise: the axis of the state that the calls go along, one after the other; None where
            each call has all rows.
        backwards: axes of the state that the site goes along from the end.
    """

    axes: tuple[tuple[int, ...], ...]
    stepwise: int | None = None
    backwards: frozenset[int] = frozenset()

    def arranged(self, values: Sequence[Tensor], rows: torch.Size) -> Tensor | None:
        """Values of all calls, of each by row within the call, as ``(*rows, d)``: those of several
        uses side by side. None where their sizes are others.
        """
        covered = [axis for made_of in self.axes for axis in made_of]
        present = sorted([*covered, *([] if self.stepwise is None else [self.stepwise])])
        if any(axis >= len(rows) for axis in present) or math.prod(rows) != math.prod(
            rows[axis] for axis in present
        ):
            return None
        steps = 1 if self.stepwise is None else rows[self.stepwise]
        sizes = tuple(math.prod(rows[axis] for axis in made_of) for made_of in self.axes)
        if any(value.shape[:-1] != sizes for value in values) or (
            self.stepwise is not None and len(values) != steps
        ):
            return None
        parts = [
            value.reshape(*(rows[axis] for axis in covered), value.shape[-1]) for value in values
        ]
        parts = [
            part.permute(*sorted(range(len(covered)), key=covered.__getitem__), len(covered))
            for part in parts
        ]
        whole = (
            torch.cat(parts, dim=-1)
            if self.stepwise is None
            else torch.stack(parts, dim=sum(a < self.stepwise for a in covered))
        )
        turned = [place for place, axis in enumerate(present) if axis in self.backwards]
        return (whole.flip(turned) if turned else whole).reshape(*rows, whole.shape[-1])


@dataclass(frozen=True)
class Layouts:
    """Of each site of a pass a layout, None for a site without such rows, a reason where it is not
    known.
    """

    of_sites: Mapping[str, SiteLayout | str | None]

    def joined(
        self, calls: Sequence[SiteCall], values: Sequence[Tensor | None], rows: torch.Size
    ) -> list[tuple[list[int], Tensor]]:
        """Of every site that has these rows its calls' indices and its values ``(*rows, d)``; sites
        with a None among them are left out.

        Raises UserError for a site whose rows are not known.
        """
        found = []
        for indices in by_site(calls):
            layout = self.of_sites[calls[indices[0]].site]
            given = [values[index] for index in indices]
            known = [value for value in given if value is not None]
            if len(known) < len(given):
                continue
            if isinstance(layout, str):
                raise UserError(
                    f"site {calls[indices[0]].name}: which of its rows belongs to which of the "
                    f"state's is not known: {layout}"
                )
            if layout is None:
                continue
            arranged = layout.arranged(known, rows)
            if arranged is None:
                raise UserError(
                    f"site {calls[indices[0]].name}: has other rows here than on fewer trials and "
                    "times"
                )
            found.append((indices, arranged))
        return found

    def side_by_side(
        self, calls: Sequence[SiteCall], values: Sequence[Tensor], rows: torch.Size
    ) -> Tensor:
        """Values of all calls site by site along the last axis, ``(*rows, m)``. Raises UserError
        for a site without these rows.
        """
        # of a convolution with as many channels as there are times only the shape would fit
        joined = self.joined(
            calls,
            [
                value if call.map.is_by_row else None
                for call, value in zip(calls, values, strict=True)
            ],
            rows,
        )
        missing = set(range(len(calls))) - set(
            chain.from_iterable(indices for indices, _ in joined)
        )
        if missing:
            name = calls[min(missing)].name
            raise UserError(
                f"site {name} does not have one row for each of (trial, time) = {tuple(rows)}: no "
                "common state"
            )
        return torch.cat([each for _, each in joined], dim=-1)

    def places(
        self, calls: Sequence[SiteCall], shapes: Sequence[torch.Size], rows: torch.Size
    ) -> Tensor:
        """Where each number of ``(*rows, m)`` stands among the values of all calls, each by row,
        one after the other.
        """
        sizes = [shape.numel() for shape in shapes]
        numbered = torch.arange(sum(sizes)).split(sizes)
        return self.side_by_side(
            calls, [part.reshape(shape) for part, shape in zip(numbered, shapes, strict=True)], rows
        )


def apart(
    layouts: Layouts,
    calls: Sequence[SiteCall],
    shapes: Sequence[torch.Size],
    joined: Tensor,
    rows: torch.Size,
) -> list[Tensor]:
    """The values of each call, of the given shapes, that ``Layouts.side_by_side`` joins to
    ``joined``.
    """
    flat = joined.flatten()[layouts.places(calls, shapes, rows).flatten().argsort()]
    parts = flat.split([shape.numel() for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


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
        _SmallPass.of(each.perturbed_pass(), reaching) for each in on_few_trials(watched)
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
        found = each.perturbed_pass()
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
        if state.requires_grad:
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
            watched.linearized(kept).pull_back(_one_row_each(state))
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
    arranged = layout.arranged(small.reach[site], small.rows)
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
