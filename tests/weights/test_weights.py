"""Weights as people keep them: whatever file they are in, the network gets its own numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kpflow_cli.errors import UserError
from kpflow_cli.weights.sequence import Reading, find_weights


class _Net(nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = nn.GRU(3, 4)
        # a name that wrappers have too
        self.module = nn.Linear(4, 2)


WEIGHTS = _Net(7).state_dict()


def _prefixed(prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in WEIGHTS.items()}


def _lightning() -> dict[str, Any]:
    return {
        "global_step": 400,
        "epoch": 3,
        "state_dict": _prefixed("net.") | {"criterion.weight": torch.ones(2)},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}],
    }


def _compiled_within() -> dict[str, Tensor]:
    return {
        name.replace("encoder.", "encoder._orig_mod."): value for name, value in WEIGHTS.items()
    }


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: WEIGHTS, None),
        (lambda: _prefixed("module."), None),
        (lambda: _prefixed("_orig_mod."), None),
        (lambda: _prefixed("module._orig_mod."), None),
        (_compiled_within, None),
        (_lightning, None),
        (lambda: {"model": WEIGHTS, "optimizer": {"state": {}}, "epoch": 3}, None),
        (lambda: {"ema": {"model": WEIGHTS}, "model": _Net(1).state_dict()}, "ema.model"),
        (lambda: {name: value.double() for name, value in WEIGHTS.items()}, None),
    ],
)
def test_the_network_gets_its_weights(
    tmp_path: Path, make: Callable[[], Any], key: str | None
) -> None:
    torch.save(make(), tmp_path / "w.pt")
    (file,) = find_weights(str(tmp_path / "w.pt"), Reading(key))
    network = _Net()
    network.load_state_dict(Reading(key).state_dict(file, network))
    for name, value in WEIGHTS.items():
        assert torch.equal(network.state_dict()[name], value)
    assert file.step == (400 if make is _lightning else 3 if "epoch" in make() else 0)


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("place", ["folder", "index", "glob"])
def test_safetensors_in_one_piece_and_in_shards(tmp_path: Path, shards: int, place: str) -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="the extra safetensors")
    names, index = list(WEIGHTS), {}
    for shard in range(shards):
        name = (
            f"model-{shard + 1:05}-of-{shards:05}.safetensors"
            if shards > 1
            else "model.safetensors"
        )
        part = {each: WEIGHTS[each] for each in names[shard::shards]}
        safetensors.save_file(part, tmp_path / name)
        index |= dict.fromkeys(part, name)
    written = {"folder": tmp_path, "glob": tmp_path / "*.safetensors"}.get(place)
    if place == "index":
        written = tmp_path / "model.safetensors.index.json"
        written.write_text(json.dumps({"weight_map": index}))
    (file,) = find_weights(str(written), Reading())
    found = Reading().state_dict(file, _Net())
    assert all(torch.equal(found[name], value) for name, value in WEIGHTS.items())


def test_a_shard_that_is_missing_is_noticed(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "model-00001-of-00002.bin")
    with pytest.raises(UserError, match="1 of its 2 shards are there"):
        find_weights(str(tmp_path / "*.bin"), Reading())


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        (["ckpt_0", "ckpt_20", "ckpt_100"], [0, 20, 100]),
        (["epoch=1-step=200", "epoch=3-step=400"], [200, 400]),
        (["epoch=1-val_loss=0.25", "epoch=2-val_loss=0.25"], [1, 2]),
        (["model_v2"], [0]),
        (["resnet18"], [0]),
        (["iter_000500"], [500]),
    ],
)
def test_steps_are_read_off_names(tmp_path: Path, names: list[str], steps: list[int]) -> None:
    for name in names:
        torch.save(WEIGHTS, tmp_path / f"{name}.pt")
    assert [file.step for file in find_weights(str(tmp_path), Reading())] == steps


def test_what_does_not_fit_is_told_by_file_and_name(tmp_path: Path) -> None:
    contents: dict[str, tuple[Any, str]] = {
        "other": (nn.Linear(2, 2).state_dict(), r"of another network: it has no encoder\.weight"),
        "wide": (
            WEIGHTS | {"module.weight": torch.ones(5, 4)},
            r"module\.weight is of shape \(5, 4\), the network's of \(2, 4\)",
        ),
        "more": (
            WEIGHTS | {"head.bias": torch.ones(2)},
            "has head.bias, which the network has not",
        ),
        "empty": ({"epoch": 3}, "holds no state dict, but epoch"),
        "list": ([1, 2], "holds a list, no state dict"),
        "same": (
            {"a": WEIGHTS, "b": WEIGHTS},
            "several state dicts that fit as well, a, b; name one with weights_key=",
        ),
    }
    for name, (content, told) in contents.items():
        torch.save(content, tmp_path / f"{name}.pt")
        (file,) = find_weights(str(tmp_path / f"{name}.pt"), Reading())
        with pytest.raises(UserError, match=told) as error:
            Reading().state_dict(file, _Net())
        assert f"weights={tmp_path / name}.pt" in str(error.value)
    (file,) = find_weights(str(tmp_path / "more.pt"), Reading())
    assert set(Reading(strict=False).state_dict(file, _Net())) == set(WEIGHTS)
    with pytest.raises(UserError, match=r"weights_key=c: .* it has a, b"):
        Reading("c").state_dict(find_weights(str(tmp_path / "same.pt"), Reading())[0], _Net())


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 torn"])
def test_a_damaged_file_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w_1.pt").write_bytes(content)
    (file,) = find_weights(str(tmp_path / "w_1.pt"), Reading())
    with pytest.raises(UserError, match=r"weights=.*w_1\.pt: "):
        Reading().state_dict(file, _Net())


def test_nothing_in_a_file_is_run_unless_it_is_allowed(tmp_path: Path) -> None:
    torch.save(nn.Linear(3, 4), tmp_path / "module_1.pt")
    (file,) = find_weights(str(tmp_path / "module_1.pt"), Reading())
    with pytest.raises(UserError, match="say weights_only=false"):
        Reading().state_dict(file, nn.Linear(3, 4))
    assert set(Reading(weights_only=False).state_dict(file, nn.Linear(3, 4))) == {"weight", "bias"}


def test_two_files_of_one_step_are_refused(tmp_path: Path) -> None:
    for name in ("a_1", "b_1"):
        torch.save(WEIGHTS, tmp_path / f"{name}.pt")
    with pytest.raises(UserError, match="are both of step 1"):
        find_weights(str(tmp_path / "*.pt"), Reading())
