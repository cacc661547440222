"""What every trajectory and every NTK_S owes its readers, whatever network they come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kpflow_cli.errors import UserError
from kpflow_cli.ntk.core import Core
from kpflow_cli.operators.base import LinearOperator
from kpflow_cli.operators.gram import GramOperator

if TYPE_CHECKING:
    from kpflow_cli.tracing.site_search import TracedPass


class Trajectory(ABC):
    """A network on given trials, linearized around its weight sites: all that NTK_S is made of.

    Attributes:
        state: what NTK_S acts on, detached; usually ``(B, T, n)``.
        traced: the watched pass that found the weight sites; None where the network says itself
            what they are, and is a recurrence.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> layer, inputs = torch.nn.Linear(3, 4), torch.randn(5, 6, 3)
        >>> trajectory = kp.linearize(layer, inputs, state=lambda result: result)
        >>> isinstance(trajectory, kp.Trajectory), trajectory.state.shape
        (True, torch.Size([5, 6, 4]))
    """

    state: Tensor
    traced: TracedPass | None

    @abstractmethod
    def ntk(self, *, compressed: bool = True) -> GlobalNTK:
        """NTK_S along the trajectory.

        ``compressed``, its products cost less and leave out what is below rounding relative to the
        whole operator; without, also a form <q, NTK_S q> that is many orders below the operator's
        norm is right. That of a traced network is never compressed.
        """

    def to(self, dtype: torch.dtype) -> Trajectory | None:
        """The same trajectory rounded to another precision; None where the network has to be run
        again for it.
        """
        del dtype
        return None


class GlobalNTK(GramOperator):
    """NTK_S = P K P^* = J J^*, J = d state / d parameters, symmetric positive semi-definite
    (arXiv 2605.08746, Theorem 1).

    Attributes:
        propagator: P, from the outputs of weight sites to the state.
        parameter_operator: K, on the outputs of weight sites.
        factor: J.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> gru = torch.nn.GRU(3, 4, batch_first=True)
        >>> ntk = kp.global_ntk(kp.linearize(gru, torch.randn(5, 6, 3), state=lambda y: y[0]))
        >>> print(ntk, ntk.core)
        P K P^* V V^T (x) I
        >>> (ntk @ torch.randn(5, 6, 4)).shape
        torch.Size([5, 6, 4])
    """

    symbol = "P K P^*"
    propagator: LinearOperator
    parameter_operator: GramOperator

    @property
    @abstractmethod
    def core(self) -> Core:
        """The Kronecker core V V^T (x) I that NTK_S is compared with. Raises UserError where the
        network has none on this state.
        """

    @cached_property
    def why_no_core(self) -> str | None:
        """Why there is no core, None where there is one."""
        try:
            _ = self.core
        except UserError as error:
            return str(error)
        return None

    @property
    def beside_core(self) -> str | None:
        """Parameters that count in NTK_S but, as biases do not, in the core, and by which function
        they act; None where there are none, or no core.
        """
        return None

    def rank_bound(self) -> int | None:
        """What the rank of K cannot exceed, from the weight sites alone; None where they do not
        tell.
        """
        return None

    @abstractmethod
    def forms_by_layer(self, block: Tensor) -> dict[str, Tensor]:
        """<x, NTK_l x> for each x of a block ``(m, *state)``, ``(m,)`` float64 by layer l: NTK_S is
        the sum over layers of NTK_l, what the parameters of one layer alone contribute.
        """


def global_ntk(trajectory: Trajectory, *, compressed: bool = True) -> GlobalNTK:
    """NTK_S along a trajectory.

    Args:
        trajectory: of any network, from ``linearize`` or from ``Model.linearize``.
        compressed: leave out what is below rounding relative to the whole operator, for cheaper
            products; without, also a form <q, NTK_S q> that is many orders below the operator's
            norm is right. That of a traced network is never compressed.

    Returns:
        NTK_S with its factors: ``.propagator``, ``.parameter_operator``, ``.core``.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> mlp = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh())
        >>> ntk = kp.global_ntk(kp.linearize(mlp, torch.randn(5, 6, 3), state="1"))
        >>> ntk.in_shape, ntk.parameter_operator.in_shape
        ((5, 6, 4), (120,))
    """
    return trajectory.ntk(compressed=compressed)
