"""The parameter side, from weight-site variables alone: D_theta f, K = D D^* and the Kronecker core (Theorem 1 of arXiv 2605.08746).

K = sum_s B_s (V_s V_s^T (x) I) B_s^*        core = V V^T (x) I_n, V = the sites' variables side by side, no bias column
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from kpflow_cli.models.sites import Linearization, WeightSite
from kpflow_cli.operators.base import LinearOperator
from kpflow_cli.operators.gram import GramOperator
from kpflow_cli.operators.time_major import from_time_major, to_time_major

# site outputs handled at a time: 2 MiB in single precision, so that they stay in a core's cache
_CACHED_NUMBERS = 2**19


def economy_factor(regressors: Tensor) -> Tensor:
    """L of the fewest columns with L L^T = V V^T to rounding: V ``(rows, d)`` to L ``(rows, r)``, r <= min(rows, d).

    Directions whose share of V V^T is below the precision of the dtype (singular value below sqrt(eps) of the largest) are left out;
    the network's low-dimensional activity makes r much smaller than d, and every product with K cheaper.
    """
    left, singular, _ = torch.linalg.svd(regressors.double(), full_matrices=False)
    largest = singular[:1].sum()
    kept = singular > largest * torch.finfo(regressors.dtype).eps ** 0.5
    return (left[:, kept] * singular[kept]).to(regressors.dtype)


@dataclass(frozen=True)
class _SiteFactor:
    """One site's D_s = B_s (L_s (x) I): L_s ``(TB, r)`` and the g diagonals of B_s, ``(TB, 1, g, n)``, rows in time-major order."""

    economy: Tensor
    output_slopes: Tensor

    @classmethod
    def of(cls, site: WeightSite) -> _SiteFactor:
        regressors = site.regressors().transpose(0, 1).flatten(0, 1)
        output_slopes = site.output_slopes.transpose(0, 1).flatten(0, 1).unsqueeze(1).contiguous()
        return cls(economy_factor(regressors), output_slopes)

    @property
    def blocks(self) -> int:
        return self.output_slopes.shape[2]

    @property
    def parameter_shape(self) -> tuple[int, int]:
        """(r, g n); r is 0 for a site whose variable is 0 all along."""
        return self.economy.shape[1], self.output_slopes[0].numel()

    def add_product(self, parameters: Tensor, states: Tensor) -> None:
        """Add D_s of parameters ``(m, r * g * n)`` to states ``(TB, m, n)`` in place."""
        units = self.output_slopes.shape[3]
        by_rank = parameters.reshape(len(parameters), *self.parameter_shape).transpose(0, 1).flatten(1)
        for rows in self._row_chunks(states):
            outputs = (self.economy[rows] @ by_rank).unflatten(1, (-1, self.blocks, units))
            for block in range(self.blocks):
                states[rows].addcmul_(outputs[:, :, block], self.output_slopes[rows, :, block])

    def adjoint_product(self, states: Tensor) -> Tensor:
        """D_s^* of states ``(TB, m, n)``, ``(m, r * g * n)``."""
        rank, outputs_per_site = self.parameter_shape
        by_rank = states.new_zeros(rank, states.shape[1] * outputs_per_site)
        for rows in self._row_chunks(states):
            outputs = states[rows].unsqueeze(2) * self.output_slopes[rows]
            by_rank.addmm_(self.economy[rows].T, outputs.flatten(1))
        return by_rank.reshape(rank, states.shape[1], outputs_per_site).transpose(0, 1).flatten(1)

    def _row_chunks(self, states: Tensor) -> Iterator[slice]:
        """Slices of the rows whose site outputs, ``(rows, m, g, n)``, stay in the processor's cache."""
        rows = max(1, _CACHED_NUMBERS // max(1, states[0].numel() * self.blocks))
        return (slice(start, start + rows) for start in range(0, len(states), rows))


class ParameterDerivative(LinearOperator):
    """D_theta f from a vector of parameter coordinates to states ``(B, T, n)``, in economy coordinates.

    The coordinates are an orthonormal basis of the parameter directions that move the state at all, sum_s r_s a_s of them instead of all
    parameters, so D D^* = K is unchanged and their number bounds the rank of K.
    """

    def __init__(self, linearization: Linearization) -> None:
        self._factors = tuple(_SiteFactor.of(site) for site in linearization.sites)
        self._sizes = [math.prod(factor.parameter_shape) for factor in self._factors]
        self.in_shape, self.out_shape = (sum(self._sizes),), linearization.shape
        self.dtype, self.device = linearization.states.dtype, linearization.states.device

    def _apply(self, block: Tensor) -> Tensor:
        return from_time_major(self.push_forward(block))

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return self.pull_back(to_time_major(block))

    def push_forward(self, parameters: Tensor) -> Tensor:
        """D of parameter vectors ``(m, p)`` as a time-major block ``(T, B, m, n)``."""
        trials, steps, units = self.out_shape
        states = torch.zeros(steps * trials, len(parameters), units, dtype=self.dtype, device=self.device)
        for factor, part in zip(self._factors, parameters.split(self._sizes, dim=1), strict=True):
            factor.add_product(part, states)
        return states.reshape(steps, trials, len(parameters), units)

    def pull_back(self, states: Tensor) -> Tensor:
        """D^* of a time-major block ``(T, B, m, n)``, ``(m, p)``."""
        rows = states.flatten(0, 1)
        return torch.cat([factor.adjoint_product(rows) for factor in self._factors], dim=1)

    def unit_grams(self, units: slice) -> Tensor:
        """F_i^T F_i for the chosen units, ``(units, R, R)``: K is block diagonal over units, K = direct sum of F_i F_i^T.

        F_i ``(BT, R)`` holds diag(B_{s,block,i}) L_s for each site and block side by side, R = sum_s g_s r_s.
        """
        columns = [
            factor.output_slopes[:, 0, block, units].T.unsqueeze(-1) * factor.economy
            for factor in self._factors
            for block in range(factor.blocks)
        ]
        stacked = torch.cat(columns, dim=-1)
        return stacked.mT @ stacked


class ParameterOperator(GramOperator):
    """K = D_theta f (D_theta f)^* on states ``(B, T, n)``, with its trace, Frobenius norm and spectrum in closed form."""

    factor: ParameterDerivative

    def __init__(self, derivative: ParameterDerivative) -> None:
        super().__init__(derivative)

    def eigenvalues(self) -> Tensor:
        """All eigenvalues that can differ from 0, descending, float64: of n Gram matrices of R x R, one a unit."""
        trials, steps, units = self.in_shape
        spectra = [torch.linalg.eigvalsh(self.factor.unit_grams(slice(unit, unit + 1)).double()) for unit in range(units)]
        # a unit's block of K has BT eigenvalues, whatever the size of its Gram matrix
        return torch.cat(spectra)[:, -trials * steps :].flatten().clamp_min(0).sort(descending=True).values


class KroneckerCore(GramOperator):
    """The core V V^T (x) I_n on states ``(B, T, n)``; V ``(BT, d)`` the trained sites' variables side by side, no bias column."""

    def __init__(self, linearization: Linearization) -> None:
        super().__init__(_SiteVariables(linearization))
        self.site_variables: Tensor = self.factor.variables

    factor: _SiteVariables

    def singular_values(self) -> Tensor:
        """Singular values of V, descending, float64."""
        return torch.linalg.svdvals(self.site_variables.double())

    def temporal_modes(self, count: int) -> Tensor:
        """The first left singular vectors of V, ``(count, B, T)``: the core's temporal modes."""
        left = torch.linalg.svd(self.site_variables.double(), full_matrices=False)[0]
        return left[:, :count].T.reshape(-1, *self.in_shape[:2])


class _SiteVariables(LinearOperator):
    """V (x) I_n, from ``(d, n)`` to states ``(B, T, n)``."""

    def __init__(self, linearization: Linearization) -> None:
        trials, steps, units = linearization.shape
        trained = [site.inputs for site in linearization.sites if site.weight_trains]
        self.variables = torch.cat(trained, dim=-1).flatten(0, 1)
        self.in_shape, self.out_shape = (self.variables.shape[1], units), (trials, steps, units)
        self.dtype, self.device = self.variables.dtype, self.variables.device

    def _apply(self, block: Tensor) -> Tensor:
        return (self.variables @ block).reshape(-1, *self.out_shape)

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        return self.variables.T @ block.flatten(1, 2)
