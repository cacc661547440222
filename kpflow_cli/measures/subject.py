"""What a measure works on, and how much work goes into it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from kpflow_cli.config.schema import Analysis
from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.samplers import ProbeSampler
from kpflow_cli.estimators.spectrum import LeadingEigenpairs, leading_eigenpairs
from kpflow_cli.estimators.statistics import until
from kpflow_cli.ntk import GlobalNTK
from kpflow_cli.operators import LinearOperator


@dataclass(frozen=True)
class Subject:
    """NTK_S at one checkpoint, and the choices for measuring it.

    Attributes:
        ntk: in the precision of the run, for estimates.
        precise: the same in double precision, for what is exact.
        target_directions: the target modes carried back through the readout, unit vectors
            ``(k, B, T, n)``.
        analysis: what is measured, with how much work.
        generator: of every random draw.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> def stable_rank(subject):
        ...     norm = kp.frobenius_norm(subject.ntk, generator=subject.generator)
        ...     value = (norm.value / subject.leading.values[0].item()) ** 2
        ...     row = kp.Measurement("ntk", "stable_rank", "full", kp.Estimate(value))
        ...     return kp.Measured((row,))
        >>> kp.Measure(stable_rank, needs_leading=True).needs_core
        False
    """

    ntk: GlobalNTK
    precise: GlobalNTK
    target_directions: Tensor
    analysis: Analysis
    generator: torch.Generator

    @cached_property
    def leading(self) -> LeadingEigenpairs:
        """The leading eigenpairs of NTK_S."""
        return self.leading_of(self.ntk)

    def leading_of(self, operator: LinearOperator) -> LeadingEigenpairs:
        """The leading eigenpairs of any operator, as many and with as much work as the analysis
        asks for.
        """
        block, depth = self.analysis.krylov_block, self.analysis.krylov_depth
        return leading_eigenpairs(
            operator,
            self.analysis.eigenvalues,
            krylov_block=block,
            krylov_depth=depth,
            generator=self.generator,
        )

    def draw_to_tolerance(
        self,
        sampler: ProbeSampler,
        found: Callable[[], Estimate],
        first: int,
        below: int | None,
    ) -> None:
        """Give a sampler its ``first`` probes, then more until what is found from them is as
        certain as the analysis asks for; fewer than ``below``, with which it would be exact: what
        is, is of double precision from the start.
        """
        most = max(self.analysis.most_probes, first, sampler.num_probes)
        most = most if below is None else min(most, below - 1)
        until(self.analysis.tolerance, found, sampler.add, first, most, drawn=sampler.num_probes)

    def choose_reduced_probes(self, dimension: int, *, least: int) -> int:
        """A reduction needs fewer probes than the full operator: half, but as many as its error
        takes to be known; all there are where ``analysis.probes`` reaches its dimension.
        """
        probes = self.analysis.probes
        return (
            dimension
            if probes >= min(dimension, self.ntk.in_size)
            else min(max(math.ceil(probes / 2), least), dimension)
        )
