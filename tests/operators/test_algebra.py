from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import scipy.sparse.linalg
import torch
from oracles import assert_linear_operator, build_model, normal, relative_error

from kpflow_cli.ntk import global_ntk
from kpflow_cli.operators import (
    Adjoint,
    Composition,
    DenseOperator,
    GramOperator,
    Identity,
    TensorProduct,
    WrappedOperator,
    mean_over,
    trace_over,
)

SHAPE_PAIRS = [((2, 3), (4,)), ((1,), (2, 3, 2)), ((4,), (1,)), ((1, 1, 1), (1,))]


def dense_operator(
    in_shape: tuple[int, ...], out_shape: tuple[int, ...], seed: int = 0
) -> DenseOperator:
    rows, columns = torch.Size(out_shape).numel(), torch.Size(in_shape).numel()
    return DenseOperator(normal(rows, columns, seed=seed), in_shape, out_shape)


@pytest.mark.parametrize(("in_shape", "out_shape"), SHAPE_PAIRS)
def test_dense_operator(in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> None:
    operator = dense_operator(in_shape, out_shape)
    assert_linear_operator(operator, operator.matrix)


@pytest.mark.parametrize(("in_shape", "out_shape"), SHAPE_PAIRS)
def test_adjoint(in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> None:
    operator = dense_operator(in_shape, out_shape)
    adjoint = operator.adjoint
    assert isinstance(adjoint, Adjoint)
    assert (adjoint.in_shape, adjoint.out_shape) == (out_shape, in_shape)
    assert_linear_operator(adjoint, operator.matrix.T)
    assert adjoint.adjoint is operator


@pytest.mark.parametrize("middle", [(3, 2), (1,)])
def test_composition_and_its_adjoint(middle: tuple[int, ...]) -> None:
    inner, outer = dense_operator((5,), middle, seed=1), dense_operator(middle, (2, 2), seed=2)
    product = outer @ inner
    assert isinstance(product, Composition)
    assert_linear_operator(product, outer.matrix @ inner.matrix)
    assert_linear_operator(product.adjoint, inner.matrix.T @ outer.matrix.T)


@pytest.mark.parametrize(("in_shape", "out_shape"), SHAPE_PAIRS)
def test_gram_operator(in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> None:
    factor = dense_operator(in_shape, out_shape)
    gram = GramOperator(factor)
    assert_linear_operator(gram, factor.matrix @ factor.matrix.T)
    assert gram.adjoint is gram


def symmetric(shape: tuple[int, ...], seed: int = 0) -> DenseOperator:
    matrix = normal(math.prod(shape), math.prod(shape), seed=seed)
    return DenseOperator(matrix + matrix.T, shape, shape)


@pytest.mark.parametrize("shape", [(2, 3), (1,), (1, 1, 1)])
def test_sums_and_scalings(shape: tuple[int, ...]) -> None:
    first, second = dense_operator((4,), shape, seed=1), dense_operator((4,), shape, seed=2)
    a, b = first.matrix, second.matrix
    for operator, dense in (
        (first + second, a + b),
        (first - second, a - b),
        (2 * first, 2 * a),
        (first * 0.5 + 3 * second, 0.5 * a + 3 * b),
        (-first, -a),
        (first / 4, a / 4),
        ((first + second).adjoint @ first, (a + b).T @ a),
    ):
        assert_linear_operator(operator, dense)


@pytest.mark.parametrize("shapes", [((2, 3), (4,)), ((1,), (2, 2)), ((1,), (1,))])
def test_tensor_product(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    first, second = (
        dense_operator((3,), shapes[0], seed=1),
        dense_operator((1, 2), shapes[1], seed=2),
    )
    assert_linear_operator(TensorProduct(first, second), torch.kron(first.matrix, second.matrix))
    for pair in ((GramOperator(first), second), (first, GramOperator(second))):
        assert_linear_operator(
            TensorProduct(*pair), torch.kron(*(operator.dense() for operator in pair))
        )
    identity = Identity((2, 2), dtype=torch.float64)
    assert_linear_operator(
        TensorProduct(first, identity), torch.kron(first.matrix, identity.dense())
    )
    assert_linear_operator(
        TensorProduct(identity, second), torch.kron(identity.dense(), second.matrix)
    )


def test_gram_factors_are_found_where_the_structure_has_them() -> None:
    a, b = dense_operator((5,), (2, 3), seed=1), dense_operator((4,), (5,), seed=2)
    k = GramOperator(b)
    positive = [
        a @ a.adjoint,
        a @ k @ a.adjoint,
        a @ (k @ a.adjoint),
        a @ b @ b.adjoint @ a.adjoint,
        a @ (b @ b.adjoint) @ a.adjoint,
        3 * (a @ k @ a.adjoint),
        k @ k,
        TensorProduct(k, a @ a.adjoint),
        mean_over(a @ k @ a.adjoint, "axis_1"),
    ]
    for operator in positive:
        factor = operator.gram_factor
        assert factor is not None, str(operator)
        dense = factor.dense()
        assert relative_error(dense @ dense.T, operator.dense()) < 1e-13
    indefinite = [
        symmetric((5,)),
        a @ symmetric((5,)) @ a.adjoint,
        a @ k @ k @ b @ b.adjoint @ a.adjoint,
        -k,
        k - k,
        k @ b,
    ]
    assert all(operator.gram_factor is None for operator in indefinite)


def test_gram_operator_of_an_adjoint() -> None:
    factor = dense_operator((5,), (2, 3))
    companion = GramOperator(factor.adjoint)
    assert_linear_operator(companion, factor.matrix.T @ factor.matrix)
    assert str(companion) == "A^* A"


def test_formulas() -> None:
    ntk = global_ntk(build_model("gru").linearize(normal(2, 3, 3)))
    propagator, parameter_operator, core = ntk.propagator, ntk.parameter_operator, ntk.core
    formulas = {
        "P K P^*": propagator @ parameter_operator @ propagator.adjoint,
        "P (K + 0.5 (V V^T (x) I)) P^*": propagator
        @ (parameter_operator + 0.5 * core)
        @ propagator.adjoint,
        "K - V V^T (x) I": parameter_operator - core,
        "K - (P + K)": parameter_operator - (propagator + parameter_operator),
        "-K": -parameter_operator,
        "(P K)^*": (propagator @ parameter_operator).adjoint,
        "P^{-1}": propagator.inverse,
        "E^* P K P^* E": mean_over(ntk, "unit"),
        "tr_{trial, time}(P K P^*)": trace_over(ntk, "time", "trial"),
        "P (x) K": TensorProduct(propagator, parameter_operator),
        "J J^*": GramOperator(ntk.factor),
    }
    assert {formula: str(operator) for formula, operator in formulas.items()} == {
        formula: formula for formula in formulas
    }
    assert repr(ntk) == "<P K P^*: (2, 3, 5) -> (2, 3, 5), torch.float64>"


def test_sum_refuses_other_shapes_and_prints_both() -> None:
    with pytest.raises(ValueError, match=r"\(3,\) to \(4, 2\).*\(2,\) to \(4, 2\)"):
        dense_operator((3,), (4, 2)) + dense_operator((2,), (4, 2))


def test_operators_are_multiplied_by_at_and_by_numbers_only() -> None:
    operator = dense_operator((3,), (3,))
    for other in (operator, "2", None):
        with pytest.raises(TypeError):
            operator * other  # type: ignore[operator]
    with pytest.raises(TypeError):
        operator + 1  # type: ignore[operator]


def test_scipy_finds_the_leading_eigenvalues() -> None:
    ntk = global_ntk(build_model("gru").linearize(normal(3, 4, 3)))
    values = scipy.sparse.linalg.eigsh(ntk.to_scipy(), k=5, return_eigenvectors=False)
    exact = torch.linalg.eigvalsh(ntk.dense())[-5:]
    torch.testing.assert_close(
        torch.from_numpy(values), exact, rtol=0, atol=1e-12 * exact[-1].item()
    )


def test_scipy_operator_is_the_matrix() -> None:
    operator = dense_operator((2, 3), (4,))
    converted = operator.to_scipy()
    block, outputs = normal(6, 2), normal(4, 2, seed=1)
    assert converted.shape == (4, 6)
    torch.testing.assert_close(torch.from_numpy(converted @ block.numpy()), operator.matrix @ block)
    torch.testing.assert_close(
        torch.from_numpy(converted.H @ outputs.numpy()), operator.matrix.T @ outputs
    )
    torch.testing.assert_close(
        torch.from_numpy(converted.matvec(block[:, 0].numpy())), operator.matrix @ block[:, 0]
    )
    torch.testing.assert_close(
        torch.from_numpy(converted.rmatvec(outputs[:, :1].numpy())),
        operator.matrix.T @ outputs[:, :1],
    )


class Shift:
    """A foreign operator: moves entries up by one."""

    def matvec(self, vector: torch.Tensor) -> torch.Tensor:
        return torch.cat([vector[1:], vector[:1] * 0])

    def transposed(self, vector: torch.Tensor) -> torch.Tensor:
        return torch.cat([vector[:1] * 0, vector[:-1]])

    def adjoint(self) -> SimpleNamespace:
        return SimpleNamespace(matvec=self.transposed)


def test_foreign_operators_can_be_wrapped() -> None:
    shift = torch.diag(torch.ones(3, dtype=torch.float64), 1)
    by_method = WrappedOperator(Shift(), in_shape=(4,), out_shape=(4,), symbol="S")
    with_property = SimpleNamespace(
        matvec=Shift().matvec, adjoint=SimpleNamespace(matvec=Shift().transposed)
    )
    assert_linear_operator(by_method, shift)
    assert_linear_operator(WrappedOperator(with_property, in_shape=(4,), out_shape=(4,)), shift)
    assert_linear_operator(
        WrappedOperator(scipy.sparse.linalg.aslinearoperator(shift.numpy()), as_numpy=True), shift
    )
    assert str(by_method @ by_method.adjoint) == "S S^*"
    with pytest.raises(ValueError, match=r"Shift.*in_shape and out_shape"):
        WrappedOperator(Shift())


def test_composition_refuses_shapes_that_do_not_meet() -> None:
    with pytest.raises(ValueError, match=r"\(4, 2\).*\(2, 4\)"):
        dense_operator((4, 2), (3,)) @ dense_operator((3,), (2, 4))


def test_composition_refuses_mixed_dtypes() -> None:
    single = DenseOperator(torch.eye(3))
    with pytest.raises(ValueError, match=r"float32.*float64"):
        single @ dense_operator((3,), (3,))


def test_dense_operator_refuses_shapes_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"\(6, 4\).*\(2, 3\).*\(6,\)"):
        DenseOperator(normal(6, 4), (2, 3), (6,))


@pytest.mark.parametrize("product", ["matvec", "adjoint"])
def test_products_refuse_vectors_of_another_shape(product: str) -> None:
    propagator = global_ntk(build_model("gru").linearize(normal(2, 3, 3))).propagator
    operator = propagator if product == "matvec" else propagator.adjoint
    with pytest.raises(ValueError, match=r"\(2, 3, 5\).*\(3, 2, 5\)"):
        operator.matvec(normal(3, 2, 5))


def test_adjoint_block_refuses_vectors_of_another_shape() -> None:
    with pytest.raises(ValueError, match=r"\(4,\).*\(5,\)"):
        dense_operator((2, 3), (4,)).adjoint_matblock(normal(2, 5))


def test_block_product_refuses_a_single_vector() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3,\)"):
        dense_operator((2, 3), (4,)).matblock(normal(2, 3))


def test_products_refuse_another_dtype() -> None:
    with pytest.raises(ValueError, match=r"float64.*float32"):
        dense_operator((3,), (3,)).matvec(torch.ones(3))
    with pytest.raises(ValueError, match=r"float64.*float32"):
        dense_operator((3,), (3,)).adjoint_matblock(torch.ones(1, 3))


def test_product_with_tensors() -> None:
    operator = DenseOperator(normal(6, 4), (2, 2), (2, 3))
    block = normal(5, 2, 2)
    assert torch.equal(operator @ block[0], operator.matvec(block[0]))
    assert torch.equal(operator @ block, operator.matblock(block))
    with pytest.raises(ValueError, match=r"takes vectors of shape \(2, 2\), got \(2, 3\)"):
        operator @ normal(5, 2, 3)
    with pytest.raises(TypeError):
        operator @ 2.0
