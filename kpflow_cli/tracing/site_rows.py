"""Which rows of a weight site belong to which rows, such as (trial, time), of the state; found out,
never guessed.

The sizes of inputs are changed: an axis of a site whose size follows that of an axis of the state
is that axis. Its direction, forwards or backwards, and the order of calls in a loop are told by
which rows of the state a row of the site reaches: its own must be among them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from kpflow_cli.errors import UserError
from kpflow_cli.tracing.site_call import SiteCall


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

    def arrange(self, values: Sequence[Tensor], rows: torch.Size) -> Tensor | None:
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

    def join(
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
            arranged = layout.arrange(known, rows)
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
        joined = self.join(
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


def take_apart(
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


def reaching_rows(call: SiteCall, gradient: Tensor | None) -> Tensor:
    """Which rows of a call, bool, have a gradient of the state that is not 0."""
    assert gradient is not None
    return (call.map.by_row(gradient) != 0).any(-1)


def outside_of(
    mask: Tensor, layout: SiteLayout | str | None, like: Sequence[Tensor]
) -> list[Tensor]:
    """Which rows of a site's calls, of the shapes of ``like``, are of trials and times outside of a
    mask ``(B, T)``; where it is not known, any may be.
    """
    sizes = [each.numel() for each in like]
    numbered = [
        part.reshape(*each.shape, 1)
        for part, each in zip(torch.arange(sum(sizes)).split(sizes), like, strict=True)
    ]
    arranged = layout.arrange(numbered, mask.shape) if isinstance(layout, SiteLayout) else None
    outside = torch.full((sum(sizes),), arranged is None, device=mask.device)
    if arranged is not None:
        outside[arranged[~mask.cpu()].flatten()] = True
    return [part.reshape(each.shape) for part, each in zip(outside.split(sizes), like, strict=True)]
