from __future__ import annotations

import pytest
import torch
from oracles import KINDS, DenseOracle, build_model, normal


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Whatever the last test has set: the tests run on all cores already."""
    torch.set_num_threads(1)


# trials, steps, units, inputs: 1 in each place, and in all
SHAPES = {
    "plain": (3, 4, 5, 3),
    "one_trial": (1, 4, 5, 3),
    "one_step": (3, 1, 5, 3),
    "one_unit": (3, 4, 1, 3),
    "one_input": (3, 4, 5, 1),
    "all_one": (1, 1, 1, 1),
    "long": (2, 11, 3, 4),
}


@pytest.fixture(scope="session", params=[f"{kind}-{shape}" for kind in KINDS for shape in SHAPES])
def oracle(request: pytest.FixtureRequest) -> DenseOracle:
    """Each model at each shape, everything trained."""
    kind, shape = request.param.split("-")
    trials, steps, units, input_size = SHAPES[shape]
    return DenseOracle(
        build_model(kind, units=units, input_size=input_size),
        normal(trials, steps, input_size, seed=5),
    )


@pytest.fixture(scope="session", params=KINDS)
def plain_oracle(request: pytest.FixtureRequest) -> DenseOracle:
    """Each model at one shape without a 1."""
    return DenseOracle(build_model(request.param), normal(3, 4, 3, seed=5))
