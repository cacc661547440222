"""The memory layout of the scans: a block of m state vectors as ``(T, B, m, n)``.

A time step of all trials and probes is then contiguous, one GEMM of B m rows, and the parameter side is one GEMM over all B T rows.
"""

from __future__ import annotations

import torch
from torch import Tensor


def to_time_major(block: Tensor) -> Tensor:
    """A contiguous copy ``(T, B, m, n)`` of a block ``(m, B, T, n)``."""
    return block.permute(2, 1, 0, 3).clone(memory_format=torch.contiguous_format)


def from_time_major(block: Tensor) -> Tensor:
    """A block ``(T, B, m, n)`` as ``(m, B, T, n)``, contiguous."""
    return block.permute(2, 1, 0, 3).contiguous()
