"""Integers that no run can mean are refused, and told with the largest that can be."""

from __future__ import annotations

import pytest
from small_runs import small_config

from kpflow_cli.config.declarations import keys_of
from kpflow_cli.config.validation import check_keys
from kpflow_cli.errors import UserError

LARGEST = {
    "training.steps": 10**8,
    "analysis.checkpoints": 10_000,
    "threads": 1024,
    "seed": 2**63 - 1,
    "workers": 1024,
    "task.memory_steps": 10**6,
}


@pytest.mark.parametrize(("key", "largest"), LARGEST.items())
def test_the_largest_is_taken_and_one_more_is_not(key: str, largest: int) -> None:
    small_config(f"{key}={largest}")
    told = f"at most {largest}" if largest < 2**63 - 1 else "an integer has at most 64 bits"
    with pytest.raises(UserError, match=f"^{key}=.*: impossible; .*{told}"):
        small_config(f"{key}={largest + 1}")


@pytest.mark.parametrize(
    "override",
    [
        "model.units=1000000000000000000000000000000",
        "model.gain=1" + 400 * "0",
        "training.batch_size=9223372036854775808",
        "seed=-9223372036854775809",
        "analysis.block_size=1000000000000000000000000000000",
        "analysis.records=[1000000000000000000000000000000]",
    ],
)
def test_integers_of_more_than_64_bits_are_refused(override: str) -> None:
    key = override.partition("=")[0]
    with pytest.raises(UserError, match=f"^{key}=.*: impossible; an integer has at most 64 bits$"):
        small_config(override)


def test_so_are_those_of_ones_own_class() -> None:
    class Own:
        def __init__(self, depth, sizes: dict[str, int], **others: object) -> None: ...

    for values in ({"depth": 2**63}, {"sizes": {"a": 2**63}}, {"other": [{"b": [-(2**64)]}]}):
        with pytest.raises(UserError, match=r"=.*impossible; an integer has at most 64 bits"):
            check_keys(keys_of(Own), {"depth": 1, "sizes": {}} | values, "model")
    assert check_keys(keys_of(Own), {"depth": 2**63 - 1, "sizes": {}})["depth"] == 2**63 - 1
