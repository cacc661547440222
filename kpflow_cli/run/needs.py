"""How much memory a run takes, from the sizes of its network, its trials and its measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from kpflow_cli.config.schema import Analysis

# copies of the states that a trajectory and its sites hold, in each precision; that a gradient
# step holds of its batch
_TRAJECTORY, _STEP = 12, 12
# of vectors that are multiplied with what comes between them and their images; of totals over pairs
_PRODUCT, _PAIRS = 4, 7
# tensors of an optimizer beside each weight and its gradient
_OPTIMIZER = {"sgd": 0, "momentum": 1, "adam": 2, "shampoo": 0}
_DOUBLE = 8
# bytes of vectors that are multiplied at once, and how many of them at most
_BLOCK_BYTES, _BLOCK_VECTORS = 2**27, 64


@dataclass(frozen=True)
class Sizes:
    """What the memory of a run depends on.

    Attributes:
        states: numbers in the states of all evaluation trials, N = B T n.
        site_outputs: numbers in the outputs of all weight sites, which K acts on.
        trials: B.
        domain: dimension of the space that J maps from.
        batch_states: numbers in the states of a training batch.
    """

    states: int
    site_outputs: int
    trials: int
    domain: int
    batch_states: int


def list_needs(
    model: nn.Module, sizes: Sizes, analysis: Analysis, optimizer: str
) -> dict[str, float]:
    """Bytes of weights, of states and of the vectors behind estimates, each at its most."""
    itemsize = next(model.parameters()).element_size()
    return {
        "weights": _weights(model, itemsize, optimizer),
        "states": _TRAJECTORY * sizes.states * (itemsize + _DOUBLE)
        + _STEP * sizes.batch_states * itemsize,
        "probe blocks": _vectors(sizes, analysis, itemsize),
    }


def _weights(model: nn.Module, itemsize: int, optimizer: str) -> float:
    """Weights, once more in double precision, their gradients and what the optimizer keeps."""
    total = 0.0
    for parameter in model.parameters():
        count = parameter.numel()
        total += count * (itemsize + _DOUBLE)
        if parameter.requires_grad:
            total += count * itemsize * (1 + _OPTIMIZER[optimizer])
            if optimizer == "shampoo":
                # of each axis a matrix and its inverse root
                total += 2 * itemsize * sum(length**2 for length in parameter.shape)
    return total


def _vectors(sizes: Sizes, analysis: Analysis, itemsize: int) -> float:
    """The most that one measure holds: they come one after the other."""
    states = max(sizes.states, sizes.site_outputs)
    image = states + sizes.domain
    leading = analysis.eigenvalues * states * (itemsize + _DOUBLE)
    krylov = min(analysis.krylov_block * analysis.krylov_depth, states) * image
    by_trial = analysis.propagator_krylov_block * analysis.propagator_krylov_depth
    propagator = min(by_trial, sizes.states // sizes.trials) * 2 * states
    probes = max(analysis.probes, analysis.most_probes if analysis.tolerance else 0)
    frame = min(probes + analysis.eigenvalues, states)
    traces = min(analysis.sketch + math.ceil(probes / 2), sizes.domain)
    held = max(
        krylov * itemsize,
        propagator * itemsize,
        _frame(frame, states, _DOUBLE if frame == states else itemsize),
        _frame(traces, image, _DOUBLE if traces == sizes.domain else itemsize),
    )
    vector = (sizes.states + sizes.domain) * itemsize
    block = analysis.block_size or max(1, min(_BLOCK_BYTES // vector, _BLOCK_VECTORS))
    return leading + held + _PRODUCT * min(block, frame) * (vector + states * itemsize)


def _frame(vectors: int, length: int, itemsize: int) -> float:
    """A frame and the vectors that it is made from, and totals over pairs of it."""
    return 2 * vectors * length * itemsize + _PAIRS * vectors**2 * _DOUBLE
