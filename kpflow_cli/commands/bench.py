"""``kpflow bench``: time and memory, side by side with torch.func."""

from __future__ import annotations

from kpflow_cli.benchmarks.settings import Settings
from kpflow_cli.commands.arguments import Parser, describe_keys, read_keys

HELP = "time NTK_S products and statistics against torch.func, side by side"
_DESCRIPTION = """\
Time and memory of NTK_S products against torch.func and against the machine's own GEMM rate, for
the GRU and the continuous-time RNN on Memory-Pro trials at one size and at multiples of B, T and n;
time to a given error of six statistics; steps of gradient descent against a plain loop over time.
About 10 minutes on 2 cores. Writes bench.csv, bench_detail.csv and plots/bench.{png,pdf}.
"""


def execute(words: list[str]) -> None:
    """Measure what the arguments ask for."""
    settings = read_settings(_parser().read(words).word)
    from kpflow_cli.benchmarks.report import bench
    from kpflow_cli.plotting.bench_plots import draw_bench
    from kpflow_cli.tasks.memory_pro import of_length

    bench(settings, of_length, draw_bench)


def read_settings(words: list[str]) -> Settings:
    """From KEY=VALUE words. Raises UserError that names a bad key or value."""
    return read_keys(words, Settings, "bench has no key")


def _parser() -> Parser:
    parser = Parser(
        "bench",
        "[KEY=VALUE ...]",
        _DESCRIPTION,
        f"{describe_keys(Settings)}\n\n  kpflow bench trials=10 steps=30 units=64    a smaller one",
    )
    parser.add_argument("word", nargs="*", metavar="KEY=VALUE", help="what is measured, see below")
    return parser
