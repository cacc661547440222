"""The parameter side: J = dh/dtheta = P D_theta f and D_theta f itself, from site variables alone
(Theorem 1 of arXiv 2605.08746).
"""

from __future__ import annotations

import torch
from torch import Tensor

from kpflow_cli.ntk.recurrence import Recurrence
from kpflow_cli.operators.base import LinearOperator


class SiteBasis:
    """The regressors of every diagonal of B in one basis: V_g V_g^T = Q S_g S_g^T Q^T, Q ``(TB,
    R)`` orthonormal, S_g ``(R, r_g)``.

    The network's activity is low-dimensional, so R and r_g are much smaller than the number of
    regressors, and every product with the parameters is cheaper by that much. Directions whose
    singular values are together below ``smallest`` of the largest, by default sqrt(eps) of the
    dtype, so that their share of V V^T is below its precision, are left out; with 0 the basis is
    the regressors themselves, and nothing is.
    """

    def __init__(
        self,
        regressors: list[Tensor],
        sites_of_slope: list[list[int]],
        *,
        smallest: float | None = None,
    ) -> None:
        dtype = regressors[0].dtype
        smallest = torch.finfo(dtype).eps ** 0.5 if smallest is None else smallest
        together = torch.cat(regressors, dim=1)
        if smallest == 0:
            self.basis = together
            columns = torch.eye(together.shape[1], dtype=dtype, device=together.device).split(
                [each.shape[1] for each in regressors], dim=1
            )
            self.mixing = [
                torch.cat([columns[site] for site in sites], dim=1) for sites in sites_of_slope
            ]
            return
        left, singular = _economy(together, smallest)
        self.basis = left.to(dtype)
        in_basis = [left.T @ each.double() for each in regressors]
        largest = singular[:1].sum().item()
        self.mixing = [
            self._mixing([in_basis[site] for site in sites], smallest, largest).to(dtype)
            for sites in sites_of_slope
        ]

    @staticmethod
    def _mixing(in_basis: list[Tensor], smallest: float, largest: float) -> Tensor:
        """S of the fewest columns with S S^T the sum of M M^T, but for what is below ``smallest``
        of ``largest``.
        """
        left, singular = _economy(torch.cat(in_basis, dim=1), smallest, largest)
        return left * singular

    def reduce(self, smallest: float) -> SiteBasis:
        """The same V_g V_g^T in the basis that leaves out what is below another ``smallest``."""
        return SiteBasis(
            [self.basis @ mixing for mixing in self.mixing],
            [[index] for index in range(len(self.mixing))],
            smallest=smallest,
        )

    @property
    def ranks(self) -> list[int]:
        """r_g of each diagonal."""
        return [mixing.shape[1] for mixing in self.mixing]


def _economy(
    matrix: Tensor, smallest: float, largest: float | None = None
) -> tuple[Tensor, Tensor]:
    """Left singular vectors and singular values, float64, but for the last, whose norm is at most
    ``smallest`` of the ``largest``.

    Where nothing below 1e-6 of it matters they come from the smaller Gram matrix, whose error, 1e-8
    of the largest, is far below.
    """
    matrix = matrix.double()
    if smallest < 1e-6:
        left, singular, _ = torch.linalg.svd(matrix, full_matrices=False)
    else:
        left, singular = _from_gram(matrix)
    tails = singular.square().flip(0).cumsum(0).flip(0).sqrt()
    kept = tails > (singular[:1].sum() if largest is None else largest) * smallest
    return left[:, kept], singular[kept]


def _from_gram(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Left singular vectors ``(rows, r)`` and singular values, descending, from the eigenvectors of
    M^T M or M M^T.
    """
    rows, columns = matrix.shape
    if rows <= columns:
        values, vectors = torch.linalg.eigh(matrix @ matrix.T)
        return vectors.flip(1), values.flip(0).clamp_min(0).sqrt()
    values, vectors = torch.linalg.eigh(matrix.T @ matrix)
    singular = values.flip(0).clamp_min(0).sqrt()
    return matrix @ (
        vectors.flip(1) / singular.clamp_min(torch.finfo(torch.float64).tiny)
    ), singular


class StateJacobian(LinearOperator):
    """J = P D_theta f from parameter coordinates ``(p,)`` to states ``(B, T, n)``; the parameter
    side is fused into the scans.

    The coordinates are an orthonormal basis of the parameter directions that move the state at all,
    sum_g r_g n of them instead of all parameters, so J J^* = NTK_S is unchanged and their number
    bounds its rank. Beyond the blocks themselves a product needs memory for one time step and for R
    k n numbers a probe (R the rank of all site variables, k the distinct diagonals of B).
    """

    symbol = "J"
    through_time = True

    def __init__(self, recurrence: Recurrence, sites: SiteBasis) -> None:
        trials, steps, units = recurrence.shape
        self.recurrence, self.sites = recurrence, sites
        self.in_shape, self.out_shape = (sum(sites.ranks) * units,), recurrence.shape
        self.dtype, self.device = recurrence.dtype, recurrence.device
        self._basis = sites.basis.view(steps, trials, -1)

    def _apply(self, block: Tensor) -> Tensor:
        states = torch.empty(len(block), *self.out_shape, dtype=self.dtype, device=self.device)
        for part in self.recurrence.probe_parts(len(block)):
            self._forward_scan(block[part], states[part])
        return states

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        coordinates = torch.empty(len(block), *self.in_shape, dtype=self.dtype, device=self.device)
        for part in self.recurrence.probe_parts(len(block)):
            coordinates[part] = self._backward_scan(block[part])
        return coordinates

    def _forward_scan(self, block: Tensor, states: Tensor) -> None:
        """J of coordinates ``(m, p)``, written to states ``(m, B, T, n)``."""
        by_basis = self._in_basis(block)
        outputs = self.recurrence.new_outputs(len(block))
        rows = outputs.view(len(outputs), -1)
        previous: Tensor | None = None
        for step, basis in enumerate(self._basis):
            torch.mm(basis, by_basis, out=rows)
            if previous is None:
                current = self.recurrence.immediate(step, outputs)
            else:
                current = self.recurrence.push_forward(step, previous, outputs, add=True)
            states[:, :, step] = current.transpose(0, 1)
            previous = current if self.through_time else None

    def _backward_scan(self, block: Tensor) -> Tensor:
        """J^* of states ``(m, B, T, n)``: coordinates ``(m, p)``."""
        outputs = self.recurrence.new_outputs(len(block))
        by_basis = outputs.new_zeros(self._basis.shape[2], outputs[0].numel())
        for step, _, pulled in self.recurrence.backward(
            block, outputs, through_time=self.through_time
        ):
            by_basis.addmm_(self._basis[step].T, pulled.view(len(pulled), -1))
        return self._from_basis(by_basis.view(-1, *outputs.shape[1:]))

    def _in_basis(self, block: Tensor) -> Tensor:
        """Coordinates ``(m, p)`` to the weights of Q's columns, ``(R, m k n)``: S_g of each
        diagonal's part.
        """
        units = self.out_shape[2]
        parts = block.split([rank * units for rank in self.sites.ranks], dim=1)
        columns = [
            torch.tensordot(mixing, part.reshape(len(block), rank, units), dims=([1], [1]))
            for mixing, rank, part in zip(self.sites.mixing, self.sites.ranks, parts, strict=True)
        ]
        return torch.stack(columns, dim=2).flatten(1)

    def _from_basis(self, by_basis: Tensor) -> Tensor:
        """The adjoint of ``_in_basis``: ``(R, m, k, n)`` to ``(m, p)``."""
        parts = [
            torch.tensordot(by_basis[:, :, group], mixing, dims=([0], [0]))
            for group, mixing in enumerate(self.sites.mixing)
        ]
        return torch.cat([part.transpose(1, 2).flatten(1) for part in parts], dim=1)

    def unit_grams(self, units: slice) -> Tensor:
        """F_i^T F_i for the chosen units, ``(units, R', R')``, of the part that is immediate: K =
        direct sum over units of F_i F_i^T.

        F_i ``(TB, R')`` holds diag(slope_g) Q S_g for each diagonal side by side, R' = sum_g r_g.
        """
        slopes = self.recurrence.slopes[:, :, 0].flatten(0, 1)
        columns = [
            slopes[:, group, units].T.unsqueeze(-1) * (self.sites.basis @ mixing)
            for group, mixing in enumerate(self.sites.mixing)
        ]
        stacked = torch.cat(columns, dim=-1)
        return stacked.mT @ stacked


class ParameterDerivative(StateJacobian):
    """D_theta f, the immediate derivative: what is left of J without the recurrence. D D^* = K."""

    symbol = "D"
    through_time = False
