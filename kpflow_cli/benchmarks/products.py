"""One NTK_S product a probe: ours, the torch.func way, and the floor that the two GEMM shapes set
at the machine's peak.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vjp, vmap

from kpflow_cli.benchmarks.memory import peak_bytes, stored_bytes
from kpflow_cli.models.base import RecurrentModel
from kpflow_cli.models.gru import GRU
from kpflow_cli.models.initialization import InitialWeights
from kpflow_cli.models.rnn import ContinuousTimeRNN
from kpflow_cli.ntk import RecurrentNTK
from kpflow_cli.task import Task

# numbers that all gradients of one torch.func block may take: it holds those of every probe at once
_BASELINE_NUMBERS = 2**28
_PEAK_SIZE = 2048


@dataclass(frozen=True)
class Size:
    """A problem: trials B, steps T, units n."""

    trials: int
    steps: int
    units: int


@dataclass(frozen=True)
class Cost:
    """What one way of multiplying costs.

    Attributes:
        way: ``one_sided``, ``two_sided``, ``torch_func``, or ``gemm_floor``, the floor of a
            one-sided product.
        seconds: a probe, the median of the rounds (of two, the shorter).
        probes: multiplied at once.
        extra_bytes: peak memory during the product beyond the block of probes and its image; for
            ours with all that the operator stores.
    """

    model: str
    size: Size
    way: str
    seconds: float
    probes: int
    extra_bytes: float


@dataclass(frozen=True)
class Instance:
    """A model with evaluation trials of a task, and NTK_S on them."""

    name: str
    model: RecurrentModel
    inputs: Tensor
    ntk: RecurrentNTK
    stored_bytes: float

    @classmethod
    def of(cls, name: str, size: Size, task: Task, generator: torch.Generator) -> Instance:
        """``gru`` or ``rnn`` at initialization, gain 1, on the trials of ``task``."""
        sizes = {
            "input_size": task.input_size,
            "output_size": task.output_size,
            "units": size.units,
        }
        weights: InitialWeights = {
            "gain": 1.0,
            "initialization": "xavier_normal",
            "generator": generator,
        }
        model: RecurrentModel = (
            GRU(**sizes, bias=True, **weights)
            if name == "gru"
            else ContinuousTimeRNN(**sizes, dt=0.7, **weights)
        )
        inputs = task.evaluation_batch().inputs.to(torch.float32)
        if inputs.shape[:2] != (size.trials, size.steps):
            raise ValueError(
                f"the task has trials {tuple(inputs.shape[:2])}, wanted {(size.trials, size.steps)}"
            )
        ntk = RecurrentNTK(model.linearize(inputs))
        return cls(name, model, inputs, ntk, stored_bytes(ntk))

    def torch_func_product(self) -> Callable[[Tensor], Tensor]:
        """Blocks of vectors ``(m, B, T, n)`` to NTK_S times them the usual way: vmap of vjp, then
        jvp, through the model's states.
        """
        parameters = {
            name: parameter.detach()
            for name, parameter in self.model.named_parameters()
            if not name.startswith("readout")
        }

        def states(values: dict[str, Tensor]) -> Tensor:
            found: Tensor = functional_call(
                _States(self.model),
                {f"model.{name}": value for name, value in values.items()},
                (self.inputs,),
            )
            return found

        def product(block: Tensor) -> Tensor:
            pull_back = vjp(states, parameters)[1]
            return vmap(lambda vector: jvp(states, (parameters,), pull_back(vector))[1])(block)

        return product

    def baseline_probes(self, probes: int) -> int:
        """Probes that torch.func can take at once, at most ``probes``."""
        numbers = (
            sum(parameter.numel() for parameter in self.model.parameters()) + 12 * self.ntk.in_size
        )
        return max(1, min(probes, _BASELINE_NUMBERS // numbers))

    def floor_operations(self) -> float:
        """Floating-point operations a probe of a one-sided product's two GEMM shapes: the scan's,
        and the parameter side's.
        """
        trials, steps, units = self.ntk.in_shape
        recurrence, rank = self.ntk.factor.recurrence, self.ntk.factor.sites.basis.shape[1]
        scan = 2 * trials * steps * recurrence.recurrent_outputs * units
        return scan + 2 * trials * steps * rank * recurrence.slopes.shape[3] * units


class _States(nn.Module):
    def __init__(self, model: RecurrentModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        states: Tensor = self.model(inputs)[1]
        return states


def costs(
    instance: Instance, probes: int, rounds: int, generator: torch.Generator
) -> Iterator[Cost]:
    """Every way's cost; each round times them all, one after the other, with the machine's peak
    among them.
    """
    ntk = instance.ntk
    block = torch.randn(probes, *ntk.in_shape, generator=generator)
    few = block[: instance.baseline_probes(probes)]
    by_autodiff = instance.torch_func_product()
    ways = {
        "one_sided": (ntk.factor.adjoint_matblock, block, instance.stored_bytes),
        "two_sided": (ntk.matblock, block, instance.stored_bytes),
        "torch_func": (by_autodiff, few, 0.0),
    }
    memory = {
        way: peak_bytes(partial(product, vectors)) for way, (product, vectors, _) in ways.items()
    }
    seconds: dict[str, list[float]] = {way: [] for way in (*ways, "gemm_floor")}
    for _ in range(rounds):
        for way, (product, vectors, _stored) in ways.items():
            seconds[way].append(seconds_of(partial(product, vectors)) / len(vectors))
        seconds["gemm_floor"].append(instance.floor_operations() / peak_rate())
    size = Size(*ntk.in_shape)
    for way, measured in seconds.items():
        vectors = few if way == "torch_func" else block
        image = 0 if way in ("one_sided", "gemm_floor") else vectors.nbytes
        extra = memory[way] - image + ways[way][2] if way in ways else 0.0
        yield Cost(
            instance.name, size, way, statistics.median_low(measured), len(vectors), max(extra, 0.0)
        )


def peak_rate() -> float:
    """Floating-point operations a second of a large GEMM, the better of two."""
    left, right = torch.randn(2, _PEAK_SIZE, _PEAK_SIZE, generator=torch.Generator().manual_seed(0))
    return 2 * _PEAK_SIZE**3 / min(seconds_of(lambda: left @ right) for _ in range(2))


def seconds_of(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
