"""K of a recurrent trajectory, from weight-site variables alone (Theorem 1 of arXiv 2605.08746): K
= sum_s B_s (V_s V_s^T (x) I) B_s^*.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kpflow_cli.ntk.state_jacobian import ParameterDerivative
from kpflow_cli.operators.gram import GramOperator

# singular values of V, relative to the largest, that the spectrum of K leaves out: several times
# fewer are left
_SMALLEST = 1e-5


class ParameterOperator(GramOperator):
    """K = D_theta f (D_theta f)^* on states ``(B, T, n)``, with its spectrum in closed form."""

    symbol = "K"
    factor: ParameterDerivative

    def __init__(self, derivative: ParameterDerivative) -> None:
        super().__init__(derivative)

    def eigenvalues(self) -> Tensor:
        """All eigenvalues that can differ from 0, descending, float64: of n Gram matrices of R' x
        R', one a unit.

        Site variables count up to 1e-5 of their largest singular value: what each value, their sum
        and their norm lack at most is what the sum lacks of ``trace()``.
        """
        trials, steps, units = self.in_shape
        factor = ParameterDerivative(self.factor.recurrence, self.factor.sites.reduce(_SMALLEST))
        spectra = [
            torch.linalg.eigvalsh(factor.unit_grams(slice(unit, unit + 1)).double())
            for unit in range(units)
        ]
        # a unit's block of K has BT eigenvalues, whatever the size of its Gram matrix
        return (
            torch.cat(spectra)[:, -trials * steps :]
            .flatten()
            .clamp_min(0)
            .sort(descending=True)
            .values
        )

    def trace(self) -> float:
        """tr K = the sum over trials, times and diagonals of B of ||slope||^2 ||v||^2, exact."""
        slopes = self.factor.recurrence.slopes.flatten(0, 2).double().square().sum(-1)
        lengths = [
            (self.factor.sites.basis @ mixing).double().square().sum(-1)
            for mixing in self.factor.sites.mixing
        ]
        return (slopes * torch.stack(lengths, dim=-1)).sum().item()
