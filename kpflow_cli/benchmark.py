"""``python -m kpflow_cli.benchmark``: one NTK_S product per probe against the same product by torch.func, side by side."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call, jvp, vjp, vmap
from tqdm import tqdm

from kpflow_cli.models.gru import GRU
from kpflow_cli.operators import GlobalNTK


def main() -> None:
    """Print the time of both ways and their ratio, and how far their results are apart."""
    parser = argparse.ArgumentParser(prog="kpflow_cli.benchmark", description=__doc__)
    for name, default, meaning in (
        ("trials", 30, "B"),
        ("steps", 90, "T"),
        ("units", 256, "n"),
        ("probes", 16, "vectors multiplied at once"),
        ("repeats", 7, "rounds; each times both ways, one after the other"),
        ("threads", 2, "threads of torch"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{meaning} (default {default})")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    generator = torch.Generator().manual_seed(0)
    model = GRU(
        input_size=3, output_size=3, units=arguments.units, bias=True, gain=1.0, initialization="xavier_normal", generator=generator
    )
    inputs = torch.randn(arguments.trials, arguments.steps, 3, generator=generator)
    probes = torch.randn(arguments.probes, arguments.trials, arguments.steps, arguments.units, generator=generator)

    started = time.perf_counter()
    ntk = GlobalNTK(model.linearize(inputs))
    preparation = time.perf_counter() - started
    by_autodiff = torch_func_product(model, inputs)
    difference = (ntk.matblock(probes) - by_autodiff(probes)).norm() / by_autodiff(probes).norm()

    ours, theirs = [], []
    for _ in tqdm(range(arguments.repeats), unit="round", leave=False):
        ours.append(_seconds(ntk.matblock, probes))
        theirs.append(_seconds(by_autodiff, probes))
    ratios = [slow / fast for slow, fast in zip(theirs, ours, strict=True)]
    size = f"B = {arguments.trials}, T = {arguments.steps}, n = {arguments.units}"
    print(f"GRU, {size}, {arguments.probes} probes, {arguments.threads} threads")
    for name, seconds in (("kpflow P K P^*", ours), ("torch.func vjp, jvp", theirs)):
        print(f"{name:<22}{1000 * statistics.median(seconds) / arguments.probes:8.2f} ms a probe (median of {arguments.repeats})")
    print(f"{'ratio':<22}{statistics.median(ratios):8.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")
    print(f"{'relative difference':<22}{difference:8.1e}")
    print(f"{'kpflow preparation':<22}{1000 * preparation:8.2f} ms, once a trajectory")


def torch_func_product(model: GRU, inputs: Tensor) -> Callable[[Tensor], Tensor]:
    """Blocks of vectors ``(m, B, T, n)`` to NTK_S times them the usual way: vmap of vjp, then jvp, through nn.GRU."""
    parameters = {name: parameter.detach() for name, parameter in model.gru.named_parameters()}

    def states(values: dict[str, Tensor]) -> Tensor:
        trajectory: Tensor = functional_call(model.gru, values, (inputs,))[0]
        return trajectory

    def product(block: Tensor) -> Tensor:
        pull_back = vjp(states, parameters)[1]
        return vmap(lambda vector: jvp(states, (parameters,), pull_back(vector))[1])(block)

    return product


def _seconds(product: Callable[[Tensor], Tensor], block: Tensor) -> float:
    started = time.perf_counter()
    product(block)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
