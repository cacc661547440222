"""Eigenvalues of K and of the core of a traced network, where every number of the parameters is
used once: those of each site's V_s V_s^T, of a weight made by an elementwise f those of V_s
diag(f'_a^2) V_s^T for each output a.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kpflow_cli.tracing.site_call import ParameterView, SiteCall
from kpflow_cli.tracing.site_rows import by_site
from kpflow_cli.tracing.site_search import TracedPass


def _sites(traced: TracedPass) -> list[list[SiteCall]]:
    return [[traced.calls[index] for index in indices] for indices in by_site(traced.calls)]


def is_used_once(traced: TracedPass) -> bool:
    """Whether every number of the parameters stands in one place of one site, which its calls have
    in common.
    """
    used: dict[str, list[Tensor]] = {}
    for calls in _sites(traced):
        for view in (calls[0].weight, calls[0].bias):
            if view is not None:
                used.setdefault(view.name, []).append(_numbers_of(view, traced))
        views = [[view for view in (call.weight, call.bias) if view is not None] for call in calls]
        if any(
            not torch.equal(_numbers_of(one, traced), _numbers_of(first, traced))
            for each in views[1:]
            for one, first in zip(each, views[0], strict=True)
        ):
            return False
    return all(len(numbers.unique()) == len(numbers) for numbers in map(torch.cat, used.values()))


def _numbers_of(view: ParameterView, traced: TracedPass) -> Tensor:
    """Which numbers of the parameter stand in a view of it, flat."""
    return view.numbers(traced.parameters[view.name]).flatten()


def direct_sum_spectrum(traced: TracedPass, *, of_core: bool = False) -> Tensor | None:
    """Eigenvalues of the direct sum of all sites' parts, descending, float64; None where those of
    one are not known. Those of K, or ``of_core`` those of the core, which has no biases and no
    slopes.
    """
    spectra = [
        # of a parameter outside of linear maps the derivative by itself
        torch.ones(traced.calls[indices[0]].shape.numel(), dtype=torch.float64)
        if traced.calls[indices[0]].map.function == "value"
        else _site_spectrum(
            [traced.calls[index] for index in indices],
            traced.parameters,
            None if of_core else _counted(traced, indices),
            of_core=of_core,
        )
        for indices in by_site(traced.calls)
    ]
    known = [spectrum for spectrum in spectra if spectrum is not None]
    return (
        torch.cat(known).clamp_min(0).sort(descending=True).values
        if len(known) == len(spectra)
        else None
    )


def _counted(traced: TracedPass, indices: list[int]) -> Tensor | None:
    """Which rows of one site's calls K counts, ``(rows,)``; None where it is all of them."""
    counted = [traced.counted_rows[index] for index in indices]
    known = [rows.flatten() for rows in counted if rows is not None]
    return torch.cat(known) if known else None


def _site_spectrum(
    calls: list[SiteCall],
    parameters: dict[str, Tensor],
    counted: Tensor | None,
    *,
    of_core: bool,
) -> Tensor | None:
    """Eigenvalues of one site's part, each as often as it occurs; None where the site is no product
    with one matrix.
    """
    first = calls[0]
    rows = sum(call.shape.numel() for call in calls)
    if first.weight is None:
        outputs = first.bias.of(parameters).numel() if first.bias is not None else rows
        regressors = torch.zeros(1, rows // outputs, 0, dtype=torch.float64)
    elif all(call.map.variables() is not None for call in calls):
        regressors = torch.cat([_by_row(call.map.variables()) for call in calls]).unsqueeze(0)
        outputs = rows // regressors.shape[1]
    elif all(call.map.elementwise() is not None for call in calls):
        # every output is a site of its own, with one variable
        regressors, outputs = (
            torch.cat([_by_row(call.map.elementwise()) for call in calls]).T.unsqueeze(-1),
            1,
        )
    else:
        return None
    slopes = _slopes_by_output(first, regressors.new_ones(outputs * len(regressors), 1))
    slopes = slopes.expand(-1, regressors.shape[-1])
    if first.bias is not None and not of_core:
        bias = first.bias.of(parameters)
        if bias.numel() != outputs * len(regressors) or (
            first.weight is not None and bias.ndim != 1
        ):
            return None
        if any(call.map.bias_factor != 1 for call in calls):
            return None
        regressors = torch.cat([regressors, regressors.new_ones(*regressors.shape[:2], 1)], dim=-1)
        own = torch.ones_like(bias) if first.bias.slope is None else first.bias.slope
        slopes = torch.cat([slopes, own.to(slopes).reshape(-1, 1)], dim=-1)
    if counted is not None:
        # of a bias with places of its own in time, rows are no trials and times
        if regressors.shape[1] != len(counted):
            return None
        regressors = regressors * counted.to(regressors).unsqueeze(-1)
    if not of_core and not bool((slopes == 1).all()):
        return _scaled_spectrum(regressors, slopes)
    return torch.linalg.svdvals(regressors).square().flatten().repeat_interleave(outputs)


def _slopes_by_output(call: SiteCall, ones: Tensor) -> Tensor:
    """f' of the weights of each output, made by an elementwise f, ``(outputs, d)``; ``ones`` where
    there is no f.
    """
    slope = None if call.weight is None else call.weight.slope
    if slope is None:
        return ones
    by_output = (
        call.map.as_matrix(slope) if call.map.elementwise() is None else slope.reshape(-1, 1)
    )
    return by_output.to(ones)


def _scaled_spectrum(regressors: Tensor, slopes: Tensor) -> Tensor:
    """Eigenvalues of V diag(f'_a^2) V^T for all outputs a, with V ``(1, rows, d)`` or one of each
    output, f' ``(outputs, d)``.
    """
    if len(regressors) > 1 or len(regressors[0]) < regressors.shape[-1]:
        factors = regressors
    else:
        factors = torch.linalg.qr(regressors, mode="r").R
    if len(factors) > 1:
        return torch.linalg.svdvals(factors * slopes.unsqueeze(1)).square().flatten()
    # of a sign, or a mask, many outputs have the same
    kinds, counts = slopes.abs().unique(dim=0, return_counts=True)
    spectra = [torch.linalg.svdvals(factors[0] * kind).square() for kind in kinds]
    return torch.stack(spectra).repeat_interleave(counts, dim=0).flatten()


def _by_row(values: Tensor | None) -> Tensor:
    """``(rows, d)`` float64."""
    assert values is not None
    return values.reshape(-1, values.shape[-1]).double()
