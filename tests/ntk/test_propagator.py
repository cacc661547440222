from __future__ import annotations

import pytest
import torch
from oracles import DenseOracle, assert_linear_operator, build_model, normal, relative_error

from kpflow_cli.ntk import Propagator, global_ntk
from kpflow_cli.ntk.recurrence import Recurrence


def propagator_of(oracle: DenseOracle) -> Propagator:
    return global_ntk(oracle.model.linearize(oracle.inputs)).propagator


def test_propagator_is_the_inverse_of_the_dense_constraint(oracle: DenseOracle) -> None:
    assert_linear_operator(propagator_of(oracle), oracle.propagator)


def test_inverse_propagator_is_identity_minus_step_jacobians(oracle: DenseOracle) -> None:
    assert_linear_operator(propagator_of(oracle).inverse, torch.linalg.inv(oracle.propagator))


def test_inverse_undoes_propagator_and_its_adjoint(oracle: DenseOracle) -> None:
    propagator = propagator_of(oracle)
    inverse = propagator.inverse
    states = normal(4, *propagator.in_shape, seed=1)
    assert relative_error(inverse.matblock(propagator.matblock(states)), states) < 1e-12
    assert relative_error(propagator.matblock(inverse.matblock(states)), states) < 1e-12
    assert (
        relative_error(inverse.adjoint_matblock(propagator.adjoint_matblock(states)), states)
        < 1e-12
    )
    assert (
        relative_error(propagator.adjoint_matblock(inverse.adjoint_matblock(states)), states)
        < 1e-12
    )


def test_adjointness(oracle: DenseOracle) -> None:
    propagator = propagator_of(oracle)
    left, right = normal(2, *propagator.in_shape, seed=2)
    forward = (propagator.matvec(left) * right).sum()
    backward = (left * propagator.adjoint.matvec(right)).sum()
    torch.testing.assert_close(forward, backward, rtol=1e-12, atol=1e-12)


def test_frobenius_norm_matches_dense(oracle: DenseOracle) -> None:
    expected = oracle.propagator.norm().item()
    assert propagator_of(oracle).frobenius_norm() == pytest.approx(expected, rel=1e-13)


def test_propagator_is_causal_and_keeps_trials_apart(plain_oracle: DenseOracle) -> None:
    propagator = propagator_of(plain_oracle)
    impulse = torch.zeros(propagator.in_shape, dtype=torch.float64)
    impulse[1, 2] = normal(propagator.in_shape[2])
    response = propagator.matvec(impulse)
    assert torch.equal(response[1, 2], impulse[1, 2])
    assert (response[1, 3] != 0).all()
    response[1, 2:] = 0
    assert not response.any()


def test_propagator_ignores_what_trains(plain_oracle: DenseOracle) -> None:
    frozen = build_model("gru").requires_grad_(False)
    found = frozen.linearize(plain_oracle.inputs)
    recurrence = Recurrence(
        found.sites, found.recurrent, carry=found.carry, input_slope=found.input_slope
    )
    propagator = Propagator(recurrence)
    expected = DenseOracle(build_model("gru"), plain_oracle.inputs).propagator
    assert relative_error(propagator.dense(), expected) < 1e-12


@pytest.mark.parametrize("dt", [0.2, 1.0])
def test_continuous_time_propagator_at_other_time_steps(dt: float) -> None:
    model = build_model("rnn", dt=dt)
    oracle = DenseOracle(model, normal(2, 4, 3))
    assert_linear_operator(propagator_of(oracle), oracle.propagator)
