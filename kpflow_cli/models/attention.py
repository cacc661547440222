"""One block of self-attention followed by a multilayer perceptron (Fig. 6 and appendix A.2.3 of
arXiv 2605.08746).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from kpflow_cli.config.keys import Key
from kpflow_cli.errors import UserError
from kpflow_cli.models.base import Model
from kpflow_cli.models.initialization import Initialization, initialize
from kpflow_cli.ntk import TracedTrajectory, linearize
from kpflow_cli.tracing.state_choice import SiteState
from kpflow_cli.tracing.watched_module import evaluating


class SelfAttention(Model):
    """x_t projected to ``width`` units, attention of ``heads`` heads over time, a GELU perceptron
    at each time; no norms, nothing skipped.

    Every map is a weight site: ``projection``, ``positions`` (a learned embedding of each time
    step, if there are any), ``query``, ``key``, ``value``, ``merge`` (of the heads), and ``mlp.0``,
    ``mlp.1``, ..., the last of which gives the outputs. The state is all their outputs side by
    side, ``(B, T, m)``; once some are frozen, ``linearize`` has those of the others.
    """

    def __init__(
        self,
        *,
        input_size: int,
        output_size: int,
        width: Annotated[
            int, Key("units of the attention layer, a multiple of model.heads", at_least=1)
        ],
        heads: Annotated[int, Key("attention heads", at_least=1)],
        mlp_width: Annotated[int, Key("units of the MLP's hidden layers", at_least=1)],
        mlp_layers: Annotated[
            int,
            Key(
                "affine maps of the MLP, the last of which gives the outputs",
                at_least=1,
                at_most=1000,
            ),
        ],
        bias: Annotated[bool, Key("whether the maps have biases")],
        causal: Annotated[bool, Key("whether a time step attends to none after it")],
        positions: Annotated[
            int, Key("learned positional embeddings, one a time step; 0 for none", at_least=0)
        ],
        # beyond 240, numbers of single precision overflow
        fourier_features: Annotated[
            int,
            Key(
                "lift each input x to so many of sin(2 pi x), cos(2 pi x), sin(4 pi x), "
                "cos(4 pi x), sin(8 pi x), ...; 0 for x itself",
                at_least=0,
                at_most=240,
            ),
        ],
        initialization: Initialization,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"model.heads={heads}: does not divide model.width={width}")
        self.heads, self.causal, self.fourier_features = heads, causal, fourier_features
        self.projection = nn.Linear(input_size * (fourier_features or 1), width, bias=bias)
        self.positions = nn.Embedding(positions, width) if positions else None
        self.query, self.key, self.value, self.merge = (
            nn.Linear(width, width, bias=bias) for _ in range(4)
        )
        sizes = [width, *[mlp_width] * (mlp_layers - 1), output_size]
        self.mlp = nn.ModuleList(
            nn.Linear(inside, outside, bias=bias) for inside, outside in pairwise(sizes)
        )
        initialize(self, gain=1.0, initialization=initialization, generator=generator)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs ``(B, T, n_out)`` and states ``(B, T, m)``. Raises UserError for more time steps
        than there are positions.
        """
        site_outputs, queries, keys, values = self._projections(inputs)
        attended = functional.scaled_dot_product_attention(
            queries, keys, values, is_causal=self.causal
        )
        hidden = self.merge(attended.transpose(1, 2).flatten(2))
        site_outputs.append(hidden)
        for index, layer in enumerate(self.mlp):
            hidden = layer(functional.gelu(hidden) if index else hidden)
            site_outputs.append(hidden)
        return hidden, torch.cat(site_outputs, dim=-1)

    def linearize(self, inputs: Tensor) -> TracedTrajectory:
        """As ``Model.linearize`` says, in evaluation mode."""
        with evaluating(self):
            return linearize(self, inputs, state=SiteState.OUTPUTS)

    @torch.no_grad()
    def attention_weights(self, inputs: Tensor) -> Tensor:
        """softmax(q k^T / sqrt(width / heads)): how much each time step attends to each other,
        ``(B, heads, T, T)``.
        """
        _, queries, keys, _ = self._projections(inputs)
        scores = queries @ keys.mT / queries.shape[-1] ** 0.5
        if self.causal:
            scores = scores.masked_fill(
                torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1), -torch.inf
            )
        return scores.softmax(dim=-1)

    def _projections(self, inputs: Tensor) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        """The outputs of all sites before the attention, and queries, keys and values by head,
        ``(B, heads, T, width / heads)``.
        """
        projected = self.projection(
            fourier_features(inputs, self.fourier_features) if self.fourier_features else inputs
        )
        site_outputs = [projected]
        if self.positions is not None:
            site_outputs.append(self._embedded_positions(inputs))
            projected = projected + site_outputs[-1]
        site_outputs += [layer(projected) for layer in (self.query, self.key, self.value)]
        queries, keys, values = (
            each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in site_outputs[-3:]
        )
        return site_outputs, queries, keys, values

    def _embedded_positions(self, inputs: Tensor) -> Tensor:
        assert self.positions is not None
        trials, steps, _ = inputs.shape
        if steps > self.positions.num_embeddings:
            raise UserError(
                f"model.positions={self.positions.num_embeddings}: a trial has {steps} time "
                "steps; take as many, or 0 for none"
            )
        # for each trial anew, so that the site has a row for each trial and time
        return self.positions(torch.arange(steps, device=inputs.device).expand(trials, steps))


def fourier_features(inputs: Tensor, count: int) -> Tensor:
    """sin(2 pi 2^k x) and cos(2 pi 2^k x) of each input for k = 0, 1, ..., ``count`` in all:
    ``(..., c)`` to ``(..., c count)``.

    2^k x is reduced to its fraction exactly. Past the digits of x, for numbers of order 1 from k =
    52 in double and 23 in single precision, there is no fraction left: the features are 0 and 1.
    """
    powers = 2.0 ** torch.arange((count + 1) // 2, dtype=inputs.dtype, device=inputs.device)
    phases = 2 * torch.pi * torch.remainder(inputs.unsqueeze(-1) * powers, 1.0)
    return torch.stack([phases.sin(), phases.cos()], dim=-1).flatten(-2)[..., :count].flatten(-2)
