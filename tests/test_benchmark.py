"""The benchmark's rival computes the same product."""

from __future__ import annotations

import subprocess
import sys

import torch

from kpflow_cli.benchmark import torch_func_product
from kpflow_cli.models.gru import GRU
from kpflow_cli.operators import GlobalNTK


def test_both_ways_give_the_same_product() -> None:
    generator = torch.Generator().manual_seed(0)
    model = GRU(input_size=3, output_size=2, units=6, bias=True, gain=1.0, initialization="xavier_normal", generator=generator).double()
    inputs, probes = (torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in ((4, 5, 3), (3, 4, 5, 6)))
    ours = GlobalNTK(model.linearize(inputs)).matblock(probes)
    theirs = torch_func_product(model, inputs)(probes)
    assert (ours - theirs).norm() < 1e-12 * theirs.norm()


def test_command_prints_a_ratio() -> None:
    arguments = ["--trials", "2", "--steps", "3", "--units", "4", "--probes", "2", "--repeats", "1", "--threads", "1"]
    command = [sys.executable, "-m", "kpflow_cli.benchmark", *arguments]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ratio = next(line for line in printed.splitlines() if line.startswith("ratio"))
    assert float(ratio.split()[1]) > 0
