"""The Kronecker core V V^T (x) I_n of Theorem 1 (arXiv 2605.08746): V has the variables of all
weight sites side by side, no bias column.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kpflow_cli.operators.base import TENSOR, LinearOperator
from kpflow_cli.operators.gram import GramOperator
from kpflow_cli.operators.structured import DenseOperator, Identity, TensorProduct


class Core(GramOperator):
    """What NTK_S is compared with: made of the weight sites' variables alone, without bias columns.

    ``variables_by_site`` holds v_s of each site under its name, ``(*rows, d_s)``, rows usually (B,
    T); V has them side by side.
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
