"""What the benchmark measures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from kpflow_cli.config.keys import Key
from kpflow_cli.config.schema import MOST_THREADS


@dataclass
class Settings:
    """``key=value`` on the command line."""

    trials: Annotated[int, Key("B", at_least=1, at_most=100_000)] = 30
    steps: Annotated[
        int,
        Key("T, in which each period of the task has a step", at_least=3, at_most=10**6),
    ] = 90
    units: Annotated[int, Key("n", at_least=1, at_most=100_000)] = 256
    probes: Annotated[int, Key("vectors multiplied at once", at_least=1, at_most=10_000)] = 16
    rounds: Annotated[
        int, Key("each times every way, one after the other", at_least=1, at_most=10_000)
    ] = 5
    largest_scale: Annotated[
        int, Key("of each of B, T, n: 1, 2, 4, ... of it", at_least=1, at_most=1024)
    ] = 8
    tolerance: Annotated[float, Key("relative standard error of the six statistics", above=0)] = (
        0.01
    )
    threads: Annotated[int, Key("threads of torch", at_least=1, at_most=MOST_THREADS)] = 2
    seed: Annotated[
        int, Key("every random draw derives from it", at_least=0, at_most=2**63 - 1)
    ] = 0
    run_dir: Annotated[
        str, Key("output folder; by default runs/bench/<hash of the other keys>")
    ] = ""

    def identity(self) -> dict[str, Any]:
        """All but the folder."""
        values = asdict(self)
        del values["run_dir"]
        return {"command": "bench"} | values
