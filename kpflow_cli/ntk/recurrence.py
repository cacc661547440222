"""A recurrent trajectory in the layout of the scans, ``(T, B, m, ...)``: a time step of all trials
and probes is contiguous, one GEMM.

Parameters enter the state through the diagonals of B_s (df/du_s). Several sites may share one, as a
GRU's recurrent and input site share those of their gates r and z: each distinct diagonal is
multiplied once, with its sites' variables side by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from kpflow_cli.ntk.weight_sites import WeightSite

# site outputs of one step that stay in a processor's cache (1 MiB in single precision), and rows
# that use a GEMM well
_CACHED_NUMBERS, _EFFICIENT_ROWS = 2**18, 256


class Recurrence:
    """The Jacobians J_t = dh_t/dh_{t-1} = diag(carry) + B W diag(slope) and the diagonals of B,
    step by step; J_t is never stored.

    Attributes:
        shape: (B, T, n).
        slopes: the k distinct diagonals of B, ``(T, B, 1, k, n)``, those of the recurrent site
            first.
        sites_of_slope: for each of them the indices of the sites that go through it.
    """

    def __init__(
        self,
        sites: Sequence[WeightSite],
        recurrent: WeightSite,
        *,
        carry: Tensor,
        input_slope: Tensor,
    ) -> None:
        trials, steps, units = carry.shape
        self.shape = (trials, steps, units)
        self.dtype, self.device = carry.dtype, carry.device
        diagonals, self.sites_of_slope = _distinct_slopes(sites, recurrent)
        self.slopes = torch.stack([_time_major(diagonal) for diagonal in diagonals], dim=-2)
        self._blocks = len(recurrent.output_slopes)
        self._weight = recurrent.weight.contiguous()
        # a carry that is 0 everywhere and a slope that is 1 everywhere are left out of the products
        self._carry = _time_major(carry) if bool(carry.any()) else None
        self._input_slope = None if bool((input_slope == 1).all()) else _time_major(input_slope)

    @property
    def recurrent_outputs(self) -> int:
        """a_s of the recurrent site, the rows of W."""
        return self._weight.shape[0]

    def probe_parts(self, probes: int) -> Iterator[slice]:
        """Parts of a block of probes to scan one after the other: small, so that a time step stays
        in the processor's cache, but of enough rows that a GEMM is efficient.
        """
        trials, _, units = self.shape
        fitting = _CACHED_NUMBERS // (trials * units * self.slopes.shape[3])
        largest = max(fitting, math.ceil(_EFFICIENT_ROWS / trials), 1)
        size = math.ceil(probes / math.ceil(probes / largest)) if probes else 1
        return (slice(start, start + size) for start in range(0, probes, size))

    def new_outputs(self, probes: int, *, recurrent_only: bool = False) -> Tensor:
        """Room for the site outputs of one step, ``(B, m, k, n)``, or only for those of the
        recurrent site.
        """
        trials, _, units = self.shape
        blocks = self._blocks if recurrent_only else self.slopes.shape[3]
        return torch.empty(trials, probes, blocks, units, dtype=self.dtype, device=self.device)

    def backward(
        self, block: Tensor, outputs: Tensor, *, through_time: bool = True
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        """The scan l_t = q_t + J_{t+1}^T l_{t+1} over a block ``(m, B, T, n)``, last step first.

        Yields t, l_t ``(B, m, n)`` and its site outputs B^* l_t, written to ``outputs``. Without
        ``through_time`` l_t is q_t.
        """
        sources = block.permute(2, 1, 0, 3)
        vectors = sources[-1].contiguous()
        for step in range(len(sources) - 1, -1, -1):
            torch.mul(
                vectors.unsqueeze(2), self.slopes[step, :, :, : outputs.shape[2]], out=outputs
            )
            yield step, vectors, outputs
            if step:
                vectors = (
                    self.pull_back(step, vectors, outputs).add_(sources[step - 1])
                    if through_time
                    else sources[step - 1].contiguous()
                )

    def pull_back(self, step: int, vectors: Tensor, outputs: Tensor) -> Tensor:
        """J_t^T l for l ``(B, m, n)`` whose site outputs B^* l are given."""
        trials, probes, _, units = outputs.shape
        rows = outputs.view(trials * probes, -1)[:, : self._blocks * units]
        product = (rows @ self._weight).view(trials, probes, units)
        if self._input_slope is not None:
            product.mul_(self._input_slope[step])
        return product if self._carry is None else product.addcmul_(vectors, self._carry[step])

    def push_forward(self, step: int, previous: Tensor, outputs: Tensor, *, add: bool) -> Tensor:
        """J_t y for y ``(B, m, n)``, and with ``add`` B of the site outputs ``(B, m, k, n)`` that
        are given; overwrites them.
        """
        trials, probes, _, units = outputs.shape
        sloped = previous if self._input_slope is None else previous * self._input_slope[step]
        rows = outputs.view(trials * probes, -1)[:, : self._blocks * units]
        rows.addmm_(sloped.view(trials * probes, units), self._weight.T, beta=1 if add else 0)
        product = self.immediate(step, outputs)
        return product if self._carry is None else product.addcmul_(previous, self._carry[step])

    def immediate(self, step: int, outputs: Tensor) -> Tensor:
        """B of site outputs ``(B, m, k, n)``: states ``(B, m, n)``."""
        slopes = self.slopes[step]
        product = outputs[:, :, 0] * slopes[:, :, 0]
        for block in range(1, outputs.shape[2]):
            product.addcmul_(outputs[:, :, block], slopes[:, :, block])
        return product

    def dense_jacobian(self, step: int) -> Tensor:
        """J_t of every trial at one step, ``(B, n, n)``."""
        slopes = self.slopes[step, :, 0].unsqueeze(-1)
        weight = self._weight.unflatten(0, (self._blocks, -1))
        jacobian = slopes[:, 0] * weight[0]
        for block in range(1, self._blocks):
            jacobian.addcmul_(slopes[:, block], weight[block])
        if self._input_slope is not None:
            jacobian.mul_(self._input_slope[step])
        if self._carry is not None:
            jacobian.diagonal(dim1=1, dim2=2).add_(self._carry[step].squeeze(1))
        return jacobian


def _distinct_slopes(
    sites: Sequence[WeightSite], recurrent: WeightSite
) -> tuple[list[Tensor], list[list[int]]]:
    """The distinct diagonals ``(B, T, n)``, those of the recurrent site first and in its order,
    each with the indices of its sites.
    """
    diagonals = list(recurrent.output_slopes)
    sites_of_slope: list[list[int]] = [[] for _ in diagonals]
    for number, site in enumerate(sites):
        for slope in site.output_slopes:
            index = next(
                (index for index, known in enumerate(diagonals) if known is slope), len(diagonals)
            )
            if index == len(diagonals):
                diagonals.append(slope)
                sites_of_slope.append([])
            sites_of_slope[index].append(number)
    return diagonals, sites_of_slope


def _time_major(tensor: Tensor) -> Tensor:
    """``(B, T, n)`` as contiguous ``(T, B, 1, n)``, broadcast over probes."""
    return tensor.transpose(0, 1).unsqueeze(2).contiguous()
