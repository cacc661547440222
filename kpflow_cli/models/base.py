"""What a network owes kpflow to be trained and measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar

from torch import Tensor, nn

from kpflow_cli.config.keys import Key
from kpflow_cli.ntk import RecurrentTrajectory, Trajectory, linearize
from kpflow_cli.tracing.site_search import OtherParameters
from kpflow_cli.tracing.state_choice import SiteState
from kpflow_cli.tracing.watched_module import evaluating

Units = Annotated[int, Key("hidden units n", at_least=1)]


class Model(nn.Module, ABC):
    """A network that kpflow trains and measures.

    Attributes:
        others: what becomes of trained parameters outside of linear maps.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> class Perceptron(kp.Model):
        ...     def __init__(self, *, input_size, output_size, generator):
        ...         super().__init__()
        ...         self.hidden = torch.nn.Linear(input_size, 4)
        ...         self.readout = torch.nn.Linear(4, output_size)
        ...
        ...     def forward(self, inputs):
        ...         states = self.hidden(inputs).tanh()
        ...         return self.readout(states), states
        ...
        ...     def linearize(self, inputs):
        ...         return kp.linearize(self, inputs, state=lambda result: result[1])
        >>> network = Perceptron(input_size=3, output_size=1, generator=torch.Generator())
        >>> kp.global_ntk(network.linearize(torch.randn(5, 6, 3))).in_shape
        (5, 6, 4)
    """

    others: OtherParameters = "autograd"

    @abstractmethod
    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs ``(B, T, n_in)`` to outputs ``(B, T, n_out)`` and states ``(B, T, n)``."""

    def training_outputs(self, inputs: Tensor) -> Tensor:
        """The outputs of ``forward`` up to rounding, for a loss that is differentiated once, in
        reverse, with respect to the parameters.

        A network with a faster way to these than torch's automatic differentiation through
        ``forward`` has it here, so that ``forward`` itself is what torch.func, hooks and second
        derivatives can go through, and what measurements are held against.
        """
        return self(inputs)[0]

    @abstractmethod
    def linearize(self, inputs: Tensor) -> Trajectory:
        """The trajectory on inputs ``(B, T, n_in)`` with its weight sites, which operators are made
        of.
        """

    def trajectory(self, inputs: Tensor, state: SiteState | None = None) -> Trajectory:
        """That of ``linearize`` on the network's own state, or with all its weight sites' outputs
        or inputs as the state.
        """
        if state is None:
            return self.linearize(inputs)
        with evaluating(self):
            return linearize(self, inputs, state=state, others=self.others)


class RecurrentModel(Model):
    """A recurrent network with a linear readout that can say what its weight sites are.

    Attributes:
        input_size: n_in.
        readout: from states to outputs.
        fixed_points: states planted at initialization that zero input leaves where they are,
            ``(k, n)``.
        recurrent_weight, input_weight: names of the parameters that act on the state and on the
            input.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> from kpflow_cli.models.rnn import VanillaRNN
        >>> draws = {"gain": 1.0, "initialization": "orthogonal", "generator": torch.Generator()}
        >>> network = VanillaRNN(input_size=3, output_size=1, units=4, bias=True, **draws)
        >>> isinstance(network, kp.RecurrentModel), network.linearize(torch.randn(5, 6, 3)).shape
        (True, (5, 6, 4))
    """

    recurrent_weight: ClassVar[str]
    input_weight: ClassVar[str]
    input_size: int
    readout: nn.Linear
    fixed_points: Tensor

    @abstractmethod
    def forward(self, inputs: Tensor, initial_state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Inputs ``(B, T, n_in)`` and an initial state ``(B, n)``, by default 0, to outputs ``(B,
        T, n_out)`` and states ``(B, T, n)``.
        """

    @abstractmethod
    def linearize(self, inputs: Tensor) -> RecurrentTrajectory:
        """The trajectory from zero initial state on inputs ``(B, T, n_in)``, with its weight sites
        and derivatives.
        """
