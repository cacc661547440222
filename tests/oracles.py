"""Slow, independent answers in float64: small models, their dense P, D_theta f, K, NTK_S and core
by autograd, and known spectra.
"""

from __future__ import annotations

from functools import cached_property
from typing import TypedDict

import torch
from torch import Tensor

from kpflow_cli.models.base import RecurrentModel
from kpflow_cli.models.gru import GRU
from kpflow_cli.models.initialization import InitialWeights
from kpflow_cli.models.rnn import ContinuousTimeRNN, VanillaRNN
from kpflow_cli.operators import LinearOperator

KINDS = ("gru", "gru_without_bias", "rnn", "vanilla_rnn", "vanilla_rnn_without_bias")

# parameters by role; biases are the parameters of neither role, the readout apart
RECURRENT_WEIGHTS = ("gru.weight_hh_l0", "recurrent.weight", "rnn.weight_hh_l0")
INPUT_WEIGHTS = ("gru.weight_ih_l0", "input.weight", "rnn.weight_ih_l0")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """||actual - expected|| / ||expected||; for an expected zero, the norm of what
    should be zero.
    """
    assert actual.shape == expected.shape
    assert actual.isfinite().all()
    size = expected.norm().item()
    return (actual - expected).norm().item() / (size or 1.0)


class Sizes(TypedDict):
    input_size: int
    output_size: int
    units: int


def build_model(
    kind: str,
    *,
    units: int = 5,
    input_size: int = 3,
    output_size: int = 2,
    gain: float = 1.3,
    initialization: str = "xavier_normal",
    dt: float = 0.7,
    fixed_points: int = 0,
    seed: int = 0,
) -> RecurrentModel:
    weights: InitialWeights = {
        "gain": gain,
        "initialization": initialization,
        "generator": seeded(seed),
    }
    sizes: Sizes = {"input_size": input_size, "output_size": output_size, "units": units}
    bias = not kind.endswith("_without_bias")
    model: RecurrentModel
    if kind.startswith("gru"):
        model = GRU(**sizes, bias=bias, fixed_points=fixed_points, **weights)
    elif kind.startswith("vanilla_rnn"):
        model = VanillaRNN(**sizes, bias=bias, fixed_points=fixed_points, **weights)
    else:
        model = ContinuousTimeRNN(**sizes, dt=dt, fixed_points=fixed_points, **weights)
    return model.double()


def freeze(model: RecurrentModel, role: str) -> None:
    """Stop training the ``recurrent`` weight, the ``input`` weight or the ``biases``."""
    for name, parameter in model.named_parameters():
        if name in RECURRENT_WEIGHTS:
            named = "recurrent"
        elif name in INPUT_WEIGHTS:
            named = "input"
        else:
            named = "biases"
        if named == role and not name.startswith("readout"):
            parameter.requires_grad_(False)


def jacobian(outputs: Tensor, variables: list[Tensor]) -> Tensor:
    """d outputs / d variables, ``(outputs.numel(), total number of variables)``, a backward pass a
    row.
    """
    rows = [
        torch.autograd.grad(
            output, variables, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        for output in outputs.flatten()
    ]
    return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])


class DenseOracle:
    """Every operator of one model on one batch as a dense matrix, from nothing but the model's
    forward pass.
    """

    def __init__(self, model: RecurrentModel, inputs: Tensor) -> None:
        self.model, self.inputs = model, inputs
        with torch.no_grad():
            self.states: Tensor = model(inputs)[1]
        self.previous = torch.zeros_like(self.states)
        self.previous[:, 1:] = self.states[:, :-1]
        named = [item for item in model.named_parameters() if not item[0].startswith("readout")]
        self.trained = {name: parameter for name, parameter in named if parameter.requires_grad}

    def step(self, previous: Tensor) -> Tensor:
        """f(h_{t-1}, x_t) at every trial and time as separate steps, ``(BT, n)`` to ``(BT, n)``."""
        return self.model(self.inputs.flatten(0, 1).unsqueeze(1), initial_state=previous)[
            1
        ].squeeze(1)

    @cached_property
    def propagator(self) -> Tensor:
        trials, steps, units = self.states.shape
        previous = self.previous.flatten(0, 1).requires_grad_()
        by_row = jacobian(self.step(previous), [previous]).reshape(
            trials, steps, units, trials, steps, units
        )
        constraint = torch.eye(self.states.numel(), dtype=torch.float64).reshape(by_row.shape)
        for trial in range(trials):
            for time in range(1, steps):
                constraint[trial, time, :, trial, time - 1] -= by_row[trial, time, :, trial, time]
        return torch.linalg.inv(constraint.reshape(self.states.numel(), -1))

    @cached_property
    def parameter_operator(self) -> Tensor:
        derivative = jacobian(self.step(self.previous.flatten(0, 1)), list(self.trained.values()))
        return derivative @ derivative.T

    @cached_property
    def ntk(self) -> Tensor:
        derivative = jacobian(self.model(self.inputs)[1], list(self.trained.values()))
        return derivative @ derivative.T

    @cached_property
    def site_variables(self) -> Tensor:
        rates = (
            torch.tanh(self.previous)
            if isinstance(self.model, ContinuousTimeRNN)
            else self.previous
        )
        columns = []
        if any(name in self.trained for name in RECURRENT_WEIGHTS):
            columns.append(rates)
        if any(name in self.trained for name in INPUT_WEIGHTS):
            columns.append(self.inputs)
        return torch.cat(columns, dim=-1).flatten(0, 1)

    @cached_property
    def core(self) -> Tensor:
        gram = self.site_variables @ self.site_variables.T
        return torch.kron(gram, torch.eye(self.states.shape[2], dtype=torch.float64))


def assert_linear_operator(
    operator: LinearOperator, dense: Tensor, *, tolerance: float = 1e-12
) -> None:
    """The operator is the matrix ``dense``: shapes, single and block products, both ways, linear,
    leaving their arguments as they were.
    """
    assert dense.shape == (operator.out_size, operator.in_size)
    for current, matrix in ((operator, dense), (operator.adjoint, dense.T)):
        block = normal(3, *current.in_shape, seed=1)
        untouched = block.clone()
        images = current.matblock(block)
        assert images.shape == (3, *current.out_shape)
        assert torch.equal(block, untouched)
        assert relative_error(images.reshape(3, -1), block.reshape(3, -1) @ matrix.T) < tolerance
        singly = torch.stack([current.matvec(vector) for vector in block])
        assert relative_error(singly.reshape(3, -1), block.reshape(3, -1) @ matrix.T) < tolerance
        combined = current.matvec(2 * block[0] - 3 * block[1])
        scale = dense.norm().item() or 1.0
        assert (combined - (2 * images[0] - 3 * images[1])).norm() < tolerance * scale * 10
        assert relative_error(current.dense(), matrix) < tolerance
        assert current.matblock(block[:0]).shape == (0, *current.out_shape)
    outputs = normal(3, *operator.out_shape, seed=2)
    assert (
        relative_error(
            operator.adjoint_matblock(outputs).reshape(3, -1), outputs.reshape(3, -1) @ dense
        )
        < tolerance
    )
    # the same vectors in another memory layout
    scattered = normal(*operator.in_shape, 3, seed=3).movedim(-1, 0)
    assert (
        relative_error(
            operator.matblock(scattered).reshape(3, -1), scattered.reshape(3, -1) @ dense.T
        )
        < tolerance
    )


def rotation(size: int, seed: int = 0) -> Tensor:
    """A random orthogonal matrix."""
    return torch.linalg.qr(normal(size, size, seed=seed)).Q


def spectrum(name: str, size: int) -> Tensor:
    """Eigenvalues, descending: ``flat``, ``power_law``, ``exponential``, ``low_rank``, ``rank_one``
    or ``zero``.
    """
    index = torch.arange(size, dtype=torch.float64)
    return {
        "flat": torch.full_like(index, 2.5),
        "power_law": 1 / (index + 1),
        "exponential": torch.exp(-index / (size / 10)),
        "low_rank": 3.0 * (index < max(size // 10, 2)).double(),
        "rank_one": 7.0 * (index < 1).double(),
        "zero": torch.zeros_like(index),
    }[name]
