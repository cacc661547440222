from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from oracles import normal, rotation, seeded, spectrum
from torch import Tensor

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.exchangeable_traces import xnystrace, xtrace
from kpflow_cli.estimators.probes import gaussian_block
from kpflow_cli.estimators.trace_methods import hutch_plus_plus_trace, hutchinson_trace
from kpflow_cli.operators import DenseOperator, GramOperator

SHAPE, SIZE = (2, 5, 3), 30
ESTIMATORS = [hutchinson_trace, hutch_plus_plus_trace, xtrace, xnystrace]
# of fewest products with a known error
FEWEST = [2, 4, 4, 2]
Samples = Callable[[Tensor, Tensor], Tensor]


def factor_of(values: Tensor, seed: int = 0) -> Tensor:
    size = len(values)
    return rotation(size, seed) * values.sqrt() @ rotation(size, seed + 1)


def gram_of(values: Tensor, dtype: torch.dtype = torch.float64) -> GramOperator:
    shape = SHAPE if len(values) == SIZE else (len(values),)
    return GramOperator(DenseOperator(factor_of(values).to(dtype), out_shape=shape))


def plain(operator: GramOperator) -> DenseOperator:
    """The same operator without its factor."""
    return DenseOperator(operator.dense(), operator.in_shape, operator.out_shape)


class CountingOperator(DenseOperator):
    """Counts its products."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__(matrix)
        self.forward = self.backward = 0

    def _apply(self, block: Tensor) -> Tensor:
        self.forward += len(block)
        return super()._apply(block)

    def _apply_adjoint(self, block: Tensor) -> Tensor:
        self.backward += len(block)
        return super()._apply_adjoint(block)


def xtrace_samples(matrix: Tensor, probes: Tensor) -> Tensor:
    """XTrace's summands by its definition: a QR decomposition for every vector that is left out."""
    count, size = probes.shape
    samples = torch.empty(count, dtype=torch.float64)
    for index, probe in enumerate(probes):
        others = torch.cat([probes[:index], probes[index + 1 :]])
        basis = torch.linalg.qr(matrix @ others.T).Q
        residual = probe - basis @ (basis.T @ probe)
        residual = residual * math.sqrt(size - count + 1) / residual.norm()
        samples[index] = (basis.T @ matrix @ basis).trace() + residual @ matrix @ residual
    return samples


def xnystrace_samples(matrix: Tensor, probes: Tensor) -> Tensor:
    """XNysTrace's summands by its definition: a Nystrom approximation for every vector that is left
    out.
    """
    count, size = probes.shape
    samples = torch.empty(count, dtype=torch.float64)
    for index, probe in enumerate(probes):
        others = torch.cat([probes[:index], probes[index + 1 :]])
        images = matrix @ others.T
        approximation = images @ torch.linalg.pinv(others @ images, hermitian=True) @ images.T
        basis = torch.linalg.qr(others.T).Q
        free = probe - basis @ (basis.T @ probe)
        scale = (size - count + 1) / free.square().sum()
        samples[index] = approximation.trace() + scale * (probe @ (matrix - approximation) @ probe)
    return samples


def slow_estimate(samples_of: Samples, matrix: Tensor, probes: Tensor) -> tuple[float, float]:
    """Value and standard error: s^2 / k plus the mean over pairs of (t_i - t_i without z_j) (t_j -
    t_j without z_i).
    """
    count, samples = len(probes), samples_of(matrix, probes)
    differences = torch.zeros(count, count, dtype=torch.float64)
    for left_out in range(count):
        kept = [index for index in range(count) if index != left_out]
        differences[kept, left_out] = samples[kept] - samples_of(matrix, probes[kept])
    covariance = (differences * differences.T).sum() / (count * (count - 1))
    return samples.mean().item(), math.sqrt(samples.var() / count + covariance.clamp_min(0))


@pytest.mark.parametrize("count", [2, 3, 8, 13])
@pytest.mark.parametrize("name", ["power_law", "exponential"])
@pytest.mark.parametrize(
    ("estimator", "products", "samples_of"),
    [(xtrace, 2, xtrace_samples), (xnystrace, 1, xnystrace_samples)],
)
def test_closed_forms_leave_out_each_vector(
    name: str, count: int, estimator: Callable[..., Estimate], products: int, samples_of: Samples
) -> None:
    gram = gram_of(spectrum(name, SIZE))
    probes = gaussian_block(gram, count, seeded(3)).flatten(1)
    value, error = slow_estimate(samples_of, gram.dense(), probes)
    for operator in (gram, plain(gram)):
        found = estimator(operator, products * count, generator=seeded(3))
        assert found.value == pytest.approx(value, rel=1e-10)
        assert found.standard_error == pytest.approx(error, rel=1e-8)
        assert found.num_probes == count


def test_xtrace_of_an_operator_that_is_not_symmetric() -> None:
    matrix = normal(SIZE, SIZE) + torch.diag(torch.arange(SIZE)).double()
    found = xtrace(DenseOperator(matrix), 17, generator=seeded(3))
    value, error = slow_estimate(
        xtrace_samples, matrix, torch.randn(8, SIZE, dtype=torch.float64, generator=seeded(3))
    )
    assert (found.value, found.standard_error) == pytest.approx((value, error), rel=1e-10)


@pytest.mark.parametrize("count", [2, 9])
def test_hutchinson_is_the_mean_of_quadratic_forms(count: int) -> None:
    gram = gram_of(spectrum("power_law", SIZE))
    probes = gaussian_block(gram, count, seeded(3)).flatten(1)
    forms = (probes @ gram.dense() * probes).sum(1)
    for operator in (gram, plain(gram)):
        found = hutchinson_trace(operator, count, generator=seeded(3))
        assert found.value == pytest.approx(forms.mean().item(), rel=1e-12)
        assert found.standard_error == pytest.approx(forms.std().item() / count**0.5, rel=1e-12)
        assert (found.num_probes, found.method) == (count, "Hutchinson")


@pytest.mark.parametrize("symmetric", [True, False])
def test_variance_of_hutchinson(symmetric: bool) -> None:
    """2 ||S||_F^2 / k, S the symmetric part: by 4000 estimates within 4.5 of its standard errors;
    false alarm 7e-6 for each of 2.
    """
    matrix = (
        plain(gram_of(spectrum("exponential", SIZE))).matrix if symmetric else normal(SIZE, SIZE)
    )
    operator = DenseOperator(matrix)
    values = torch.tensor(
        [hutchinson_trace(operator, 4, generator=seeded(seed)).value for seed in range(4000)]
    ).double()
    squares = (values - matrix.trace()).square()
    expected = 2 * ((matrix + matrix.T) / 2).square().sum().item() / 4
    assert squares.mean().item() == pytest.approx(
        expected, abs=4.5 * squares.std().item() / 4000**0.5
    )


@pytest.mark.parametrize(
    ("estimator", "num_probes"), list(zip(ESTIMATORS, [4, 12, 20, 10], strict=True))
)
@pytest.mark.parametrize("name", ["exponential", "low_rank"])
def test_values_and_variances_are_unbiased(
    name: str, estimator: Callable[..., Estimate], num_probes: int
) -> None:
    """value - tr A and (value - tr A)^2 - standard_error^2 average to zero.

    Over 2000 seeds within 4.5 of their standard errors: false alarm 7e-6 for each of 16
    comparisons.
    """
    values = spectrum(name, 60)
    operator, exact, seeds = gram_of(values), values.sum().item(), 2000
    deviations, excesses = torch.empty(2, seeds, dtype=torch.float64)
    for seed in range(seeds):
        found = estimator(operator, num_probes, generator=seeded(seed))
        deviations[seed] = found.value - exact
        excesses[seed] = deviations[seed] ** 2 - found.standard_error**2
    for averaged in (deviations, excesses):
        assert averaged.mean().abs().item() < max(4.5 * averaged.std().item() / seeds**0.5, 1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
@pytest.mark.parametrize(
    ("estimator", "num_probes"),
    [(hutch_plus_plus_trace, 9), (xtrace, 10), (xnystrace, 6), (xtrace, 29), (xnystrace, 29)],
)
@pytest.mark.parametrize("name", ["low_rank", "rank_one", "zero"])
def test_low_rank_is_exact_once_vectors_exceed_the_rank(
    name: str,
    estimator: Callable[..., Estimate],
    num_probes: int,
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    values = spectrum(name, SIZE)
    gram = gram_of(values, dtype)
    for operator in (gram, plain(gram)):
        found = estimator(operator, num_probes, generator=seeded(3))
        assert found.value == pytest.approx(values.sum().item(), abs=tolerance)
        assert found.standard_error <= tolerance


@pytest.mark.parametrize(("estimator", "num_probes"), [(xtrace, 8), (xnystrace, 4)])
def test_one_vector_more_than_the_rank_leaves_no_error(
    estimator: Callable[..., Estimate], num_probes: int
) -> None:
    """Rank 3 and 4 vectors: any two of them left out leave an error that is none of the
    estimate.
    """
    for seed in range(50):
        found = estimator(gram_of(spectrum("low_rank", SIZE)), num_probes, generator=seeded(seed))
        assert found.value == pytest.approx(9.0, abs=1e-7)
        assert found.standard_error < 1e-6


@pytest.mark.parametrize("num_probes", [SIZE, SIZE + 7])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimate_is_exact_once_products_span_the_space(
    estimator: Callable[..., Estimate], num_probes: int
) -> None:
    gram = gram_of(spectrum("exponential", SIZE))
    operators = [
        (gram, spectrum("exponential", SIZE).sum()),
        (DenseOperator(normal(SIZE, SIZE)), normal(SIZE, SIZE).trace()),
    ]
    for operator, exact in operators:
        found = estimator(operator, num_probes, generator=seeded())
        assert found.value == pytest.approx(exact.item(), rel=1e-12)
        assert (found.standard_error, found.num_probes, found.method) == (0.0, 0, "exact")


@pytest.mark.parametrize("num_probes", [1, 4])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_smallest_space(estimator: Callable[..., Estimate], num_probes: int) -> None:
    operator = DenseOperator(torch.tensor([[-2.5]]).double(), (1, 1), (1, 1))
    assert estimator(operator, num_probes, generator=seeded()) == Estimate(-2.5)


@pytest.mark.parametrize(("estimator", "fewest"), list(zip(ESTIMATORS, FEWEST, strict=True)))
@pytest.mark.parametrize("name", ["flat", "power_law", "low_rank", "rank_one", "zero"])
def test_positive_operators_have_no_negative_trace(
    name: str, estimator: Callable[..., Estimate], fewest: int
) -> None:
    operator = gram_of(spectrum(name, SIZE))
    for seed in range(100):
        found = estimator(operator, fewest, generator=seeded(seed))
        assert found.value >= 0
        assert found.standard_error >= 0


def test_errors_shrink_from_each_estimator_to_the_next() -> None:
    """Root mean square errors of 24 products on a 1/i^2 spectrum: 0.3, 0.016, 0.0093 and 0.0069
    over 1000 other seeds.
    """
    values = spectrum("power_law", 60).square()
    operator, exact = gram_of(values), values.sum().item()
    sizes = []
    for estimator in ESTIMATORS:
        errors = torch.tensor(
            [estimator(operator, 24, generator=seeded(seed)).value - exact for seed in range(500)]
        )
        sizes.append(errors.square().mean().sqrt().item())
    assert sizes[1] < 0.1 * sizes[0]
    assert sizes[2] < 0.8 * sizes[1]
    assert sizes[3] < sizes[2]


@pytest.mark.parametrize("num_probes", [8, 9, 10])
def test_num_probes_counts_products(num_probes: int) -> None:
    for estimator in ESTIMATORS:
        operator = CountingOperator(gram_of(spectrum("power_law", SIZE)).dense())
        estimator(operator, num_probes, generator=seeded())
        assert operator.forward == (
            num_probes - num_probes % 2 if estimator is xtrace else num_probes
        )
        assert operator.backward == 0


@pytest.mark.parametrize(
    ("estimator", "forward"), list(zip(ESTIMATORS, [0, 4, 6, 12], strict=True))
)
def test_quadratic_forms_of_gram_operators_are_one_sided(
    estimator: Callable[..., Estimate], forward: int
) -> None:
    factor = CountingOperator(factor_of(spectrum("power_law", SIZE)))
    estimator(GramOperator(factor), 12, generator=seeded())
    assert (factor.forward, factor.backward) == (forward, 12)


@pytest.mark.parametrize(("estimator", "fewest"), list(zip(ESTIMATORS, FEWEST, strict=True)))
def test_too_few_products(estimator: Callable[..., Estimate], fewest: int) -> None:
    operator = gram_of(spectrum("power_law", SIZE))
    assert math.isfinite(estimator(operator, fewest, generator=seeded()).standard_error)
    for num_probes in (fewest - 1, 0, -3):
        with pytest.raises(
            ValueError, match=f"num_probes must be at least {fewest}, got {num_probes}"
        ):
            estimator(operator, num_probes, generator=seeded())


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_only_square_operators_have_a_trace(estimator: Callable[..., Estimate]) -> None:
    with pytest.raises(ValueError, match=r"square.*\(4,\).*\(3,\)"):
        estimator(DenseOperator(normal(3, 4)), 12, generator=seeded())


def test_xnystrace_refuses_a_negative_quadratic_form() -> None:
    indefinite = rotation(SIZE) * torch.linspace(-1, 1, SIZE).double() @ rotation(SIZE).T
    with pytest.raises(ValueError, match="positive semi-definite"):
        xnystrace(DenseOperator(indefinite), 12, generator=seeded())


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_estimates_depend_on_the_generator_alone(estimator: Callable[..., Estimate]) -> None:
    operator = gram_of(spectrum("power_law", SIZE))
    before = torch.get_rng_state()
    first, again, other = (estimator(operator, 8, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert first == again
    assert first.value != other.value
