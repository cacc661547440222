"""The derivative of one forward pass with respect to variables of it, by reverse mode alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from kpflow_cli.errors import UserError


class ChangedPassError(UserError):
    """What a pass works on is not what it was."""


# vectors and their images that are worked on at once: more leave the processor's cache and are
# slower
PASS_BYTES = 2**24


class LinearizedPass:
    """d state / d variables of a pass that is kept: transposed products by one reverse pass,
    products by a second through the first.

    The transposed product is linear in the cotangent, and its own transpose is the product; so that
    neither asks more of a network than training does, and what stops the one, such as
    ``torch.no_grad``, stops the other.

    Attributes:
        state: as the pass made it, in the graph of the ``variables``.
    """

    def __init__(self, state: Tensor, variables: Sequence[Tensor]) -> None:
        self.state, self._variables = state, list(variables)
        self._transposed: tuple[list[Tensor], list[int], Tensor] | None = None

    def pull_back(self, cotangents: Tensor) -> list[Tensor]:
        """Transposed products with m cotangents ``(m, *state.shape)``: for each variable ``(m, *its
        shape)``.
        """

        def gradients(parts: list[Tensor], batched: bool) -> tuple[Tensor, ...]:
            return torch.autograd.grad(
                self.state,
                self._variables,
                parts,
                retain_graph=True,
                is_grads_batched=batched,
                materialize_grads=True,
                allow_unused=True,
            )

        if not len(cotangents) or not self._variables:
            return [variable.new_zeros(0, *variable.shape) for variable in self._variables]
        size = math.prod(self.state.shape) + sum(variable.numel() for variable in self._variables)
        parts = [
            _over_vectors(gradients, [part])
            for part in cotangents.split(_at_once(size, self.state))
        ]
        return [torch.cat(each) for each in zip(*parts, strict=True)]

    def push_forward(self, tangents: Sequence[Tensor]) -> Tensor:
        """Products with m tangents, for each variable ``(m, *its shape)``: ``(m, *state.shape)``.

        Raises UserError where a derivative that the network brings itself cannot be differentiated
        in turn.
        """
        transposed, moving, cotangent = self._transposed_product()
        if not moving or not len(tangents[0]):
            return self.state.new_zeros(len(tangents[0]), *self.state.shape)

        def gradients(parts: list[Tensor], batched: bool) -> tuple[Tensor, ...]:
            return torch.autograd.grad(
                [transposed[index] for index in moving],
                cotangent,
                parts,
                retain_graph=True,
                is_grads_batched=batched,
            )

        size = math.prod(self.state.shape) + sum(variable.numel() for variable in self._variables)
        at_once = _at_once(size, self.state)
        blocks = zip(*(tangents[index].split(at_once) for index in moving), strict=True)
        return torch.cat([_over_vectors(gradients, list(block))[0] for block in blocks])

    def _transposed_product(self) -> tuple[list[Tensor], list[int], Tensor]:
        """The transposed product in the graph of its cotangent, the indices of the variables where
        it is not 0, and the cotangent.
        """
        if self._transposed is None:
            cotangent = torch.zeros_like(self.state, requires_grad=True)
            try:
                with torch.enable_grad():
                    transposed = torch.autograd.grad(
                        self.state,
                        self._variables,
                        cotangent,
                        create_graph=True,
                        materialize_grads=True,
                        allow_unused=True,
                    )
            except RuntimeError as error:
                _refuse_changed(error)
                raise UserError(
                    f"the network has a derivative that cannot be differentiated in turn ({error})"
                ) from error
            moving = [index for index, each in enumerate(transposed) if each.requires_grad]
            self._transposed = list(transposed), moving, cotangent
        return self._transposed


def _at_once(numbers: int, like: Tensor) -> int:
    return max(1, PASS_BYTES // max(numbers * like.element_size(), 1))


def _over_vectors(
    function: Callable[[list[Tensor], bool], tuple[Tensor, ...]], block: list[Tensor]
) -> list[Tensor]:
    """A function of vectors over a block, all at once where torch can."""
    try:
        return [image.detach() for image in function(block, True)]
    except RuntimeError as error:
        _refuse_changed(error)
    # a derivative of the network's own, or one that works in place, cannot be batched
    images = [function([part[index] for part in block], False) for index in range(len(block[0]))]
    return [torch.stack(each).detach() for each in zip(*images, strict=True)]


def _refuse_changed(error: RuntimeError) -> None:
    if "modified by an inplace operation" in str(error):
        raise ChangedPassError(
            "a parameter, or what the network works on, has changed since it was traced: "
            "trace it again"
        ) from error
