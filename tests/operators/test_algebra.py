from __future__ import annotations

import pytest
import torch
from oracles import assert_linear_operator, build_model, normal, relative_error

from kpflow_cli.operators import Adjoint, Composition, DenseOperator, GramOperator, Propagator

SHAPE_PAIRS = [((2, 3), (4,)), ((1,), (2, 3, 2)), ((4,), (1,)), ((1, 1, 1), (1,))]


def dense_operator(in_shape: tuple[int, ...], out_shape: tuple[int, ...], seed: int = 0) -> DenseOperator:
    rows, columns = torch.Size(out_shape).numel(), torch.Size(in_shape).numel()
    return DenseOperator(normal(rows, columns, seed=seed), in_shape, out_shape)


@pytest.mark.parametrize(("in_shape", "out_shape"), SHAPE_PAIRS)
def test_dense_operator(in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> None:
    operator = dense_operator(in_shape, out_shape)
    assert_linear_operator(operator, operator.matrix)


@pytest.mark.parametrize(("in_shape", "out_shape"), SHAPE_PAIRS)
def test_adjoint(in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> None:
    operator = dense_operator(in_shape, out_shape)
    adjoint = operator.adjoint()
    assert isinstance(adjoint, Adjoint)
    assert (adjoint.in_shape, adjoint.out_shape) == (out_shape, in_shape)
    assert_linear_operator(adjoint, operator.matrix.T)
    assert adjoint.adjoint() is operator


@pytest.mark.parametrize("middle", [(3, 2), (1,)])
def test_composition_and_its_adjoint(middle: tuple[int, ...]) -> None:
    inner, outer = dense_operator((5,), middle, seed=1), dense_operator(middle, (2, 2), seed=2)
    product = outer @ inner
    assert isinstance(product, Composition)
    assert_linear_operator(product, outer.matrix @ inner.matrix)
    assert_linear_operator(product.adjoint(), inner.matrix.T @ outer.matrix.T)


@pytest.mark.parametrize(("in_shape", "out_shape"), SHAPE_PAIRS)
def test_gram_operator(in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> None:
    factor = dense_operator(in_shape, out_shape)
    gram = GramOperator(factor)
    assert_linear_operator(gram, factor.matrix @ factor.matrix.T)
    assert gram.adjoint() is gram


@pytest.mark.parametrize("block_size", [1, 2, 5, 100])
def test_compression_of_gram_and_general_operators(block_size: int) -> None:
    factor = dense_operator((7,), (2, 3), seed=1)
    square = dense_operator((2, 3), (2, 3), seed=2)
    block = normal(5, 2, 3, seed=3)
    flat = block.flatten(1)
    gram = GramOperator(factor).compress(block, block_size=block_size)
    assert relative_error(gram, flat @ factor.matrix @ factor.matrix.T @ flat.T) < 1e-13
    # not symmetric: the order of the two indices counts
    general = square.compress(block, block_size=block_size)
    assert relative_error(general, flat @ square.matrix @ flat.T) < 1e-13


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
    propagator = Propagator(build_model("gru").linearize(normal(2, 3, 3)))
    operator = propagator if product == "matvec" else propagator.adjoint()
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
