"""The operators of Theorem 1 (arXiv 2605.08746): K and its Kronecker core, from weight-site variables alone.

K = sum_s B_s (V_s V_s^T (x) I) B_s^*        core = V V^T (x) I_n, V = the sites' variables side by side, no bias column
"""

from __future__ import annotations

import torch
from torch import Tensor

from kpflow_cli.operators.base import TENSOR, LinearOperator
from kpflow_cli.operators.gram import GramOperator
from kpflow_cli.operators.state_jacobian import ParameterDerivative
from kpflow_cli.operators.structured import DenseOperator, Identity, TensorProduct

# singular values of V, relative to the largest, that the spectrum of K leaves out: several times fewer are left
_SMALLEST = 1e-5


class ParameterOperator(GramOperator):
    """K = D_theta f (D_theta f)^* on states ``(B, T, n)``, with its spectrum in closed form."""

    symbol = "K"
    factor: ParameterDerivative

    def __init__(self, derivative: ParameterDerivative) -> None:
        super().__init__(derivative)

    def eigenvalues(self) -> Tensor:
        """All eigenvalues that can differ from 0, descending, float64: of n Gram matrices of R' x R', one a unit.

        Site variables count up to 1e-5 of their largest singular value: what each value, their sum and their norm lack at most is what the
        sum lacks of ``trace()``.
        """
        trials, steps, units = self.in_shape
        factor = ParameterDerivative(self.factor.recurrence, self.factor.sites.reduced(_SMALLEST))
        spectra = [torch.linalg.eigvalsh(factor.unit_grams(slice(unit, unit + 1)).double()) for unit in range(units)]
        # a unit's block of K has BT eigenvalues, whatever the size of its Gram matrix
        return torch.cat(spectra)[:, -trials * steps :].flatten().clamp_min(0).sort(descending=True).values

    def trace(self) -> float:
        """tr K = the sum over trials, times and diagonals of B of ||slope||^2 ||v||^2, exact."""
        slopes = self.factor.recurrence.slopes.flatten(0, 2).double().square().sum(-1)
        lengths = [(self.factor.sites.basis @ mixing).double().square().sum(-1) for mixing in self.factor.sites.mixing]
        return (slopes * torch.stack(lengths, dim=-1)).sum().item()


class Core(GramOperator):
    """What NTK_S is compared with: made of the weight sites' variables alone, without bias columns.

    ``variables_by_site`` holds v_s of each site under its name, ``(*rows, d_s)``, rows usually (B, T); V has them side by side.
    """

    symbol = "V V^T (x) I"
    binding = TENSOR

    def __init__(self, factor: LinearOperator, variables_by_site: dict[str, Tensor]) -> None:
        super().__init__(factor)
        self.variables_by_site = variables_by_site

    @property
    def site_variables(self) -> Tensor:
        """V, ``(rows, d)``."""
        return _flat(self.variables_by_site)

    def singular_values(self) -> Tensor:
        """Singular values of V, descending, float64."""
        return torch.linalg.svdvals(self.site_variables.double())

    def temporal_modes(self, count: int) -> Tensor:
        """The first left singular vectors of V, ``(count, *rows)``: the core's temporal modes."""
        left = torch.linalg.svd(self.site_variables.double(), full_matrices=False)[0]
        rows = next(iter(self.variables_by_site.values())).shape[:-1]
        return left[:, :count].T.reshape(-1, *rows)


class KroneckerCore(Core):
    """The core V V^T (x) I_n of a named state ``(*rows, n)``."""

    def __init__(self, variables_by_site: dict[str, Tensor], units: int) -> None:
        rows = next(iter(variables_by_site.values())).shape[:-1]
        variables = DenseOperator(_flat(variables_by_site), out_shape=tuple(rows), symbol="V")
        identity = Identity((units,), dtype=variables.dtype, device=variables.device)
        super().__init__(TensorProduct(variables, identity), variables_by_site)

    def eigenvalues(self) -> Tensor:
        """Those of V V^T, each n times."""
        return self.singular_values().square().repeat_interleave(self.in_shape[-1])


def _flat(variables_by_site: dict[str, Tensor]) -> Tensor:
    joined = torch.cat(list(variables_by_site.values()), dim=-1)
    return joined.reshape(-1, joined.shape[-1])
