"""``mean`` and ``trace``: NTK_S reduced to trial and time (temporal) and to units (spatial), in
both senses of Fig. 7 (arXiv 2605.08746).
"""

from __future__ import annotations

from functools import partial

from kpflow_cli.estimators.probes import orthonormalize, range_sketch
from kpflow_cli.estimators.samplers import PartialTraceSampler, Sampler
from kpflow_cli.measures.rows import Measured, Measurement, statistics_rows
from kpflow_cli.measures.subject import Subject
from kpflow_cli.operators import STATE_AXES, mean_over

# the axes that each reduction is over, and those that stay
_REDUCED_AXES = {"temporal": ("unit",), "spatial": ("trial", "time")}
_KEPT_AXES = {
    name: tuple(index for index, axis in enumerate(STATE_AXES) if axis not in axes)
    for name, axes in _REDUCED_AXES.items()
}
# probes from which on 95 % intervals hold the exact value in about as many cases (make coverage):
# of partial traces errors rest on pairs
_LEAST_OF_MEANS, _LEAST_OF_TRACES = 16, 24


def measure_means(subject: Subject) -> Measured:
    """The ``mean`` reductions; low-rank, so a sketch of their range comes first, multiplied once
    more: what it leaves of the leading directions is what makes estimates uncertain, and their
    errors too.
    """
    rows: list[Measurement] = []
    analysis, generator = subject.analysis, subject.generator
    for name, axes in _REDUCED_AXES.items():
        reduced = mean_over(subject.ntk, *axes)
        probes = subject.choose_reduced_probes(reduced.in_size, least=_LEAST_OF_MEANS)
        filled = reduced.in_size <= probes + analysis.sketch
        if filled:
            reduced = mean_over(subject.precise, *axes)
        sketch = orthonormalize(
            reduced.matblock(range_sketch(reduced, analysis.sketch, generator=generator))
        )
        sampler = Sampler(
            reduced, generator=generator, sketch=sketch, block_size=analysis.block_size
        )
        subject.draw_to_tolerance(
            sampler,
            sampler.effective_rank,
            probes,
            None if filled else reduced.in_size - len(sketch),
        )
        rows += statistics_rows("ntk", f"{name}_mean", sampler.statistics())
    return Measured(tuple(rows))


def measure_traces(subject: Subject) -> Measured:
    """The partial traces, by products J w with vectors of parameter space: J's leading right
    singular vectors, then random ones.
    """
    rows: list[Measurement] = []
    analysis, generator, ntk = subject.analysis, subject.generator, subject.ntk
    probes = subject.choose_reduced_probes(ntk.factor.in_size, least=_LEAST_OF_TRACES)
    filled = ntk.factor.in_size <= probes + analysis.sketch
    if filled:
        ntk = subject.precise
    deflated = min(analysis.sketch, ntk.factor.in_size)
    sketch = orthonormalize(
        ntk.factor.adjoint_matblock(subject.leading.vectors[:deflated].to(ntk.dtype))
    )
    sampler = PartialTraceSampler(
        ntk.factor, generator=generator, sketch=sketch, block_size=analysis.block_size
    )
    below = None if filled else ntk.factor.in_size - len(sketch)
    for name, kept in _KEPT_AXES.items():
        subject.draw_to_tolerance(sampler, partial(sampler.effective_rank, kept), probes, below)
        rows += statistics_rows("ntk", f"{name}_trace", sampler.keeping(kept))
    return Measured(tuple(rows))
