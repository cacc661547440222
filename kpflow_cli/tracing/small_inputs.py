"""A watched module on few trials and times, to find out about its rows at little cost."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor

from kpflow_cli.tracing.row_order import tensors_in
from kpflow_cli.tracing.watched_module import WatchedModule, over_tensors

# sizes that the first two axes of the inputs are tried with: different ones, so that an axis is
# known by them
_SIZES = ((2, 3), (3, 5))
# of the numbers among the inputs, relative to their root mean square
_NOISE = 0.1


def on_few_trials(watched: WatchedModule) -> tuple[WatchedModule, WatchedModule]:
    """A module on two choices of few trials and times, or of one of the two; where it runs on the
    given numbers only, both are these.
    """
    reference = next(tensors_in(watched.inputs), None)
    if reference is None:
        return watched, watched
    given = reference.shape
    for varied, together, noise in product(((0, 1), (0,), (1,)), (True, False), (_NOISE, 0.0)):
        sizes = [{axis: size[axis] for axis in varied if axis < len(given)} for size in _SIZES]
        try:
            first, second = (
                watched.on(_of_sizes(watched.inputs, each, together, noise)) for each in sizes
            )
            states = [each.run_perturbed().state for each in (first, second)]
        except Exception:
            # whatever the network raises at sizes that it is not made for
            continue
        followed = states[0].ndim == states[1].ndim and states[0].shape[:-1] != states[1].shape[:-1]
        if followed and states[0].isfinite().all():
            return first, second
    return watched, watched


def _of_sizes(
    inputs: tuple[Any, ...], sizes: dict[int, int], together: bool, noise: float
) -> tuple[Any, ...]:
    """The inputs with some axes of the first tensor cut, or repeated, to other sizes; of all that
    agree with it there if ``together``.

    Noise is added to numbers, so that no two times are alike: between equal ones attention has no
    derivative.
    """
    reference = next(tensors_in(inputs))
    generator = torch.Generator().manual_seed(0)

    def resize(tensor: Tensor) -> Tensor:
        resized = tensor is reference or together
        for axis, size in sizes.items():
            if resized and tensor.ndim > axis and tensor.shape[axis] == reference.shape[axis] > 0:
                tensor = tensor.index_select(
                    axis, torch.arange(size, device=tensor.device) % tensor.shape[axis]
                )
        if not tensor.is_floating_point() or noise == 0 or not tensor.isfinite().all():
            return tensor
        drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(
            tensor.device, tensor.dtype
        )
        return tensor + noise * tensor.square().mean().sqrt() * drawn

    return tuple(over_tensors(resize, each) for each in inputs)
