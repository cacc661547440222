"""What cannot fit into memory is refused in a line that names the key, before it is tried."""

from __future__ import annotations

import time

import numpy
import pytest
import torch
from small_runs import small_config

from kpflow_cli.config.schema import Analysis
from kpflow_cli.errors import UserError
from kpflow_cli.run import measuring_plan, memory
from kpflow_cli.run.memory import Need, free_bytes, largest_key, rationed
from kpflow_cli.run.needs import Sizes, list_needs
from kpflow_cli.run.plan import Plan

CPU = torch.device("cpu")
ATTENTION = ("task=attention", "model=attention", "task.evaluation_trials=4")


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (("model.units=1000000",), "model.units=1000000"),
        (("model.units=1000000000000000000",), "model.units=1000000000000000000"),
        (("task.evaluation_trials=10000000000",), "task.evaluation_trials=10000000000"),
        (("training.batch_size=1000000000000",), "training.batch_size=1000000000000"),
        (("model=cnn", "++model.kwargs.channels=100000000000"), "model.kwargs.channels=1000"),
    ],
)
def test_what_cannot_fit_is_refused_at_once(overrides: tuple[str, ...], key: str) -> None:
    config = small_config(*overrides)
    # what is imported the first time is not counted
    Plan(small_config())
    started = time.perf_counter()
    with pytest.raises(UserError, match=rf"^{key}.*(GiB are free|fit into memory)"):
        Plan(config)
    assert time.perf_counter() - started < 2


def test_large_numbers_that_need_no_memory_are_taken() -> None:
    huge = 10**18
    keys = ("probes", "most_probes", "krylov_block", "krylov_depth", "sketch", "block_size")
    built = Plan(small_config(*(f"analysis.{key}={huge}" for key in keys)))
    assert not built.memory.is_tight


def test_weights_are_counted_with_gradient_optimizer_and_double_precision() -> None:
    model = torch.nn.Linear(30, 20, bias=False)
    analysis = Analysis(
        ["ntk"], [], "own", 2, 8, None, 8, 2, 2, 2, 2, 2, 2, None  # type: ignore[arg-type]
    )  # fmt: skip
    sizes = Sizes(states=60, site_outputs=60, trials=3, domain=600, batch_states=60)
    for optimizer, tensors in (("sgd", 0), ("momentum", 1), ("adam", 2)):
        needs = list_needs(model, sizes, analysis, optimizer)
        assert needs["weights"] == 600 * (4 + 8 + 4 * (1 + tensors))
    shampoo = list_needs(model, sizes, analysis, "shampoo")
    assert shampoo["weights"] == 600 * 16 + 2 * 4 * (30**2 + 20**2)


def test_the_machine_the_limit_of_the_process_and_of_its_group_all_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {
        "/proc/meminfo": "MemFree: 1 kB\nMemAvailable:    4000 kB\n",
        "/proc/self/cgroup": "4:memory:/a/b\n0::/c\n",
        "/sys/fs/cgroup/memory/a/memory.limit_in_bytes": "9000000\n",
        "/sys/fs/cgroup/memory/a/memory.usage_in_bytes": "6000000\n",
        "/sys/fs/cgroup/memory/a/memory.stat": "cache 3\ntotal_inactive_file 500000\n",
        "/sys/fs/cgroup/c/memory.max": "max\n",
    }
    monkeypatch.setattr(memory, "_read", lambda path: files.get(str(path), ""))
    assert free_bytes(CPU) == 9000000 - 6000000 + 500000
    files["/sys/fs/cgroup/memory.max"] = "2000000"
    files["/sys/fs/cgroup/memory.current"] = "500000"
    assert free_bytes(CPU) == 1500000
    files.clear()
    assert free_bytes(CPU) == float("inf")


def test_a_ration_refuses_before_the_tensor_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 2**30)
    makers = (
        lambda: torch.empty(2**27),
        lambda: torch.zeros(2**14, 2**13),
        lambda: torch.arange(2**27),
        lambda: torch.eye(2**14),
        lambda: torch.nn.Linear(2**14, 2**13),
        lambda: torch.randn(2**27, dtype=torch.float64),
        lambda: torch.full((2**27,), 1.0),
    )
    for make in makers:
        told = pytest.raises(UserError, match=r"^units=9: needs .* GiB and more, 1 GiB are free")
        with told, rationed({"units": 9, "gain": 2.5, "bias": True, "few": 3}, CPU):
            make()
    with rationed({"units": 9}, CPU):
        assert torch.empty(2**20).numel() == 2**20


def test_what_numpy_and_python_say_of_sizes_is_told_too() -> None:
    for make in (
        lambda: numpy.zeros(2**60),
        lambda: [0] * 2**60,
        lambda: torch.empty(10**30),
        lambda: torch.zeros(2**62, 4),
    ):
        with pytest.raises(UserError, match=r"^units=9: "), rationed({"units": 9}, CPU):
            make()
    with pytest.raises(ValueError, match="a mistake"), rationed({"units": 9}, CPU):
        raise ValueError("a mistake of another kind")


def test_the_key_told_is_the_largest_integer() -> None:
    config = {"task": {"steps": 3, "on": True}, "model": {"kwargs": {"depth": 70}, "gain": 99.0}}
    assert largest_key(config) == "model.kwargs.depth=70"
    assert largest_key({"model": {"gain": 1.0}}) == "model"


def test_a_run_that_needs_more_than_half_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config()
    needed = Plan(config).memory.total
    monkeypatch.setattr(measuring_plan, "free_bytes", lambda device: 1.5 * needed)
    assert Plan(config).memory.is_tight
    monkeypatch.setattr(measuring_plan, "free_bytes", lambda device: 0.1 * needed)
    with pytest.raises(UserError, match=r"needs about .* GiB \(weights .*, states .*, probe bl"):
        Plan(config)


def test_sizes_are_written_in_gib() -> None:
    need = Need({"weights": 3 * 2**30, "states": 2**29}, 2.0**32)
    assert str(need) == "needs about 3.5 GiB (weights 3, states 0.5), 4 GiB are free"
    assert need.is_tight
