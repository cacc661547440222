"""What belongs to the calls of weight sites, such as their outputs, in the rows of a state: one row for each trial and time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kpflow_cli.errors import UserError
from kpflow_cli.models.site_mode import SiteCall


def by_site(calls: Sequence[SiteCall]) -> list[list[int]]:
    """The indices of each site's calls, sites as they first occur; calls of a recurrent layer in the order of time."""
    found: dict[str, list[int]] = {}
    for index, call in enumerate(calls):
        found.setdefault(call.site, []).append(index)
    return [sorted(indices, key=lambda index: calls[index].time_step or 0) for indices in found.values()]


def rows_of_site(calls: Sequence[SiteCall], values: Sequence[Tensor], rows: torch.Size) -> Tensor | None:
    """Values of one site's calls, of each by row within the call, as ``(*rows, d)``; None where they do not have these rows.

    Those of several uses stand side by side, those of single time steps are stacked along axis 1.
    """
    arranged = [call.rows(value) for call, value in zip(calls, values, strict=True)]
    if all(each.shape[:-1] == rows for each in arranged):
        return torch.cat(arranged, dim=-1)
    stepwise = len(rows) > 1 and len(arranged) == rows[1] and all(each.shape[:-1] == (rows[0], *rows[2:]) for each in arranged)
    return torch.stack(arranged, dim=1) if stepwise else None


def side_by_side(calls: Sequence[SiteCall], values: Sequence[Tensor], rows: torch.Size) -> Tensor:
    """Values of all calls site by site along the last axis, ``(*rows, m)``. Raises UserError for a site that does not have these rows."""
    found = []
    for indices in by_site(calls):
        of_site = rows_of_site([calls[index] for index in indices], [values[index] for index in indices], rows)
        # of a convolution with as many channels as there are times only the shape would fit
        if of_site is None or not calls[indices[0]].map.output_by_row:
            raise UserError(
                f"site {calls[indices[0]].name} does not have one row for each of (trial, time) = {tuple(rows)}: no common state"
            )
        found.append(of_site)
    return torch.cat(found, dim=-1)


def apart(calls: Sequence[SiteCall], shapes: Sequence[torch.Size], joined: Tensor, rows: torch.Size) -> list[Tensor]:
    """The values of each call, of the given shapes, that ``side_by_side`` joins to ``joined``."""
    place = places(calls, shapes, rows).flatten()
    flat = joined.flatten()[place.argsort()]
    parts = flat.split([shape.numel() for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def places(calls: Sequence[SiteCall], shapes: Sequence[torch.Size], rows: torch.Size) -> Tensor:
    """Where each number of ``(*rows, m)`` stands among the values of all calls, one after the other."""
    sizes = [shape.numel() for shape in shapes]
    numbered = torch.arange(sum(sizes)).split(sizes)
    return side_by_side(calls, [part.reshape(shape) for part, shape in zip(numbered, shapes, strict=True)], rows)
