"""``kpflow measure``: networks, weights and trials as people have them, against kp.linearize and
dense automatic differentiation.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from small_runs import KPFLOW, kpflow, table_bytes
from torch import nn

import kpflow_cli as kp
from kpflow_cli.run.reading import is_complete

SMALL = (
    "analysis.probes=4",
    "analysis.eigenvalues=3",
    "analysis.sketch=2",
    "analysis.krylov_block=3",
    "threads=1",
)
EXACT = ("analysis.probes=96", "analysis.eigenvalues=3", "dtype=float64", "threads=1")
LSTM = (
    "model.target=torch.nn.LSTM",
    "model.kwargs.input_size=3",
    "model.kwargs.hidden_size=4",
    "model.kwargs.batch_first=true",
)
NETS = """
import torch
from torch import nn

class Tagger(nn.Module):
    def __init__(self, units=4, classes=3):
        super().__init__()
        self.embedding = nn.Embedding(7, units)
        self.encoder = nn.GRU(units, units, batch_first=True)
        self.readout = nn.Linear(units, classes)

    def forward(self, tokens):
        return self.readout(self.encoder(self.embedding(tokens))[0])

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(3, 4)

    def forward(self, x, scale, shift=None):
        return torch.tanh(self.hidden(x)) * scale

def pretrained():
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.5)
    return network
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder with a batch, a file of networks, and three checkpoints of an LSTM."""
    generator = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", generator.standard_normal((4, 6, 3)))
    (tmp_path / "nets.py").write_text(NETS)
    for step in (0, 20, 100):
        torch.save(_lstm(step).state_dict(), tmp_path / f"ckpt_{step}.pt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _lstm(seed: int) -> nn.LSTM:
    torch.manual_seed(seed)
    return nn.LSTM(3, 4, batch_first=True)


def _measure(place: Path, *words: str) -> Path:
    done = kpflow("measure", *words, "run_dir=out", cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "out"
    return place / "out"


def _refused(place: Path, *words: str) -> str:
    done = kpflow("measure", *SMALL, *words, "run_dir=out", cwd=place)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert not (place / "out").exists()
    (line,) = done.stderr.splitlines()
    return line


def _value(folder: Path, operator: str, quantity: str, step: int = 0) -> float:
    rows = pd.read_csv(folder / "measurements.csv")
    (row,) = rows[
        (rows["step"] == step)
        & (rows["operator"] == operator)
        & (rows["quantity"] == quantity)
        & (rows["reduction"] == "full")
    ]["value"]
    return row


def _dense_ntk(network: nn.Module, *inputs: torch.Tensor, index: int = 0) -> torch.Tensor:
    parameters = {name: each.detach() for name, each in network.named_parameters()}

    def state(values: dict[str, torch.Tensor]) -> torch.Tensor:
        found = torch.func.functional_call(network, values, inputs)
        return found[index] if isinstance(found, tuple) else found

    jacobian = torch.func.jacrev(state)(parameters)
    size = state(parameters).numel()
    joined = torch.cat([each.reshape(size, -1) for each in jacobian.values()], dim=1)
    return joined @ joined.T


def test_numbers_are_those_of_linearize_and_of_a_dense_ntk_at_every_checkpoint(place: Path) -> None:
    folder = _measure(place, *LSTM, *EXACT, "weights=ckpt_*.pt", "inputs=x.npy")
    inputs = torch.from_numpy(np.load(place / "x.npy"))
    for step in (0, 20, 100):
        network = _lstm(step).double()
        dense = _dense_ntk(network, inputs)
        rank = (dense.trace() ** 2 / dense.square().sum()).item()
        assert _value(folder, "ntk", "effective_rank", step) == pytest.approx(rank, rel=1e-9)
        ntk = kp.global_ntk(kp.linearize(network, inputs, state=lambda found: found[0]))
        measured = kp.load_run(folder).ntk(step)
        probe = torch.randn(4, 6, 4, generator=torch.Generator().manual_seed(step)).double()
        assert torch.allclose(measured @ probe, ntk @ probe, rtol=1e-10)
        exact = kp.cosine_alignment(ntk, ntk.core, num_probes=96)
        assert _value(folder, "ntk", "alignment", step) == pytest.approx(exact.value, rel=1e-8)
    assert is_complete(folder)
    assert {path.stem for path in (folder / "plots").glob("*.png")} >= {"spectra", "alignment"}
    table = kpflow("table", "out", cwd=place)
    assert table.returncode == 0, table.stderr
    assert set(pd.read_csv(place / "table.csv")["step"]) == {0, 20, 100}


def test_checkpoints_that_come_later_are_measured_too_and_changed_ones_refused(place: Path) -> None:
    words = (*LSTM, *SMALL, "weights=ckpt_*.pt", "inputs=x.npy")
    folder = _measure(place, *words)
    before = pd.read_csv(folder / "measurements.csv")
    torch.save(_lstm(300).state_dict(), place / "ckpt_300.pt")
    _measure(place, *words)
    after = pd.read_csv(folder / "measurements.csv")
    pd.testing.assert_frame_equal(after[after["step"] < 300], before)
    assert set(after["step"]) == {0, 20, 100, 300}
    torch.save(_lstm(1).state_dict(), place / "ckpt_20.pt")
    done = kpflow("measure", *words, "run_dir=out", cwd=place)
    assert done.returncode == 2
    assert "weights=ckpt_20.pt: has changed since it was measured" in done.stderr


def test_killed_between_checkpoints_it_ends_with_the_same_bytes(place: Path) -> None:
    words = (*LSTM, *SMALL, "analysis.probes=90", "weights=ckpt_*.pt", "inputs=x.npy")
    whole = table_bytes(_measure(place, *words))
    process = subprocess.Popen(
        [KPFLOW, "measure", *words, "run_dir=killed"],
        cwd=place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not (place / "killed/checkpoints/step_0.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = kpflow("measure", *words, "run_dir=killed", cwd=place)
    assert done.returncode == 0, done.stderr
    assert table_bytes(place / "killed") == whole


@pytest.mark.parametrize(
    "words",
    [
        ("targets=y.npy", "loss=cross_entropy"),
        ("trained='readout.*'", "state=readout"),
        ("trained=[encoder.weight_hh*,embedding.*]",),
    ],
)
def test_a_network_from_a_file_on_integers(place: Path, words: tuple[str, ...]) -> None:
    generator = np.random.default_rng(1)
    np.save(place / "tokens.npy", generator.integers(7, size=(4, 6)))
    np.save(place / "y.npy", generator.integers(3, size=(4, 6)))
    given = ("model.target=nets.py:Tagger", "model.kwargs.units=4", "inputs=tokens.npy")
    state = () if any("state=" in word for word in words) else ("state=encoder",)
    folder = _measure(place, *SMALL, *given, *state, *words)
    assert _value(folder, "ntk", "effective_rank") >= 1
    if "targets=y.npy" in words:
        training = pd.read_csv(folder / "training.csv")
        assert training["evaluation_loss"].item() == pytest.approx(np.log(3), rel=0.5)
        assert _value(folder, "ntk", "rayleigh_quotient_1") > 0


def test_only_the_chosen_weights_count(place: Path) -> None:
    folder = _measure(
        place, *LSTM, *EXACT, "weights=ckpt_20.pt", "inputs=x.npy", "trained=*weight_hh*"
    )
    network, inputs = _lstm(20).double(), torch.from_numpy(np.load(place / "x.npy"))
    for name, parameter in network.named_parameters():
        parameter.requires_grad_("weight_hh" in name)
    ntk = kp.global_ntk(kp.linearize(network, inputs, state=lambda found: found[0]))
    exact = kp.trace(ntk, num_probes=96).value
    assert _value(folder, "ntk", "trace", 20) == pytest.approx(exact, rel=1e-9)


def test_time_first_networks_are_measured_trials_first(place: Path) -> None:
    inputs = np.load(place / "x.npy")
    np.save(place / "time_first.npy", inputs.swapaxes(0, 1))
    words = (*LSTM[:3], *EXACT, "weights=ckpt_0.pt")
    folder = _measure(place, *words, "inputs=time_first.npy", "batch_first=false")
    dense = _dense_ntk(_lstm(0).double(), torch.from_numpy(inputs))
    assert _value(folder, "ntk", "trace") == pytest.approx(dense.trace().item(), rel=1e-9)
    ranks = pd.read_csv(folder / "measurements.csv").query("operator == 'v'")
    assert len(ranks) > 0


@pytest.mark.parametrize("given", ["lengths", "mask"])
def test_padding_does_not_count(place: Path, given: str) -> None:
    lengths = np.array([6, 2, 5, 3])
    mask = np.arange(6) < lengths[:, None]
    np.save(place / "lengths.npy", lengths)
    np.save(place / "mask.npy", mask)
    found = []
    for padding in (0.0, 100.0):
        inputs = np.where(mask[..., None], np.load(place / "x.npy"), padding)
        np.save(place / f"padded_{padding:g}.npy", inputs)
        folder = place / f"out_{padding:g}"
        done = kpflow(
            *("measure", *LSTM, *EXACT, "weights=ckpt_0.pt", f"run_dir={folder.name}"),
            *(f"inputs=padded_{padding:g}.npy", f"{given}={given}.npy"),
            cwd=place,
        )
        assert done.returncode == 0, done.stderr
        found.append(
            [
                _value(folder, *each)
                for each in (("ntk", "trace"), ("ntk", "alignment"), ("k", "trace"))
            ]
        )
    assert found[0] == pytest.approx(found[1], rel=1e-9)
    dense = _dense_ntk(_lstm(0).double(), torch.from_numpy(inputs)).reshape(24, 4, 24, 4)
    counted = torch.from_numpy(mask.reshape(-1)).double()
    traced = torch.einsum("iaia,i->", dense, counted)
    assert found[0][0] == pytest.approx(traced.item(), rel=1e-9)


def test_arguments_by_name_reach_forward(place: Path) -> None:
    generator = np.random.default_rng(2)
    x, scale = generator.standard_normal((4, 6, 3)), generator.standard_normal((4, 6, 1))
    np.savez(place / "given.npz", scale=scale, x=x)
    folder = _measure(place, *EXACT, "model.target=nets.py:Pair", "inputs=given.npz", "seed=3")
    network = kp.load_run(folder).model(0).network
    dense = _dense_ntk(network, torch.from_numpy(x), torch.from_numpy(scale))
    assert _value(folder, "ntk", "trace") == pytest.approx(dense.trace().item(), rel=1e-9)


def test_a_run_of_kpflow_is_measured_on_other_trials(place: Path) -> None:
    done = kpflow(
        "run", "model.units=5", "training.steps=2", "analysis=initial", "threads=1", cwd=place
    )
    assert done.returncode == 0, done.stderr
    run = done.stdout.splitlines()[-1]
    folder = _measure(place, *EXACT, "analysis.probes=120", f"weights={run}", "inputs=x.npy")
    model = kp.load_run(place / run).model(2).double()
    inputs = torch.from_numpy(np.load(place / "x.npy"))
    dense = _dense_ntk(model, inputs, index=1)
    assert _value(folder, "ntk", "trace", 2) == pytest.approx(dense.trace().item(), rel=1e-5)


@pytest.mark.parametrize("target", ["torch.nn.LSTM", "nets.pretrained"])
def test_control_is_the_same_network_drawn_afresh(place: Path, target: str) -> None:
    words = LSTM[1:] if target == "torch.nn.LSTM" else ()
    folder = _measure(
        place,
        f"model.target={target}",
        *words,
        *EXACT,
        "inputs=x.npy",
        "control=initialization",
        "draws=3",
    )
    rows = pd.read_csv(folder / "control.csv").query("quantity == 'trace' and operator == 'ntk'")
    drawn = rows[rows["reduction"] == "full"]
    assert list(drawn["draw"]) == [0, 1, 2]
    assert drawn["value"].nunique() == 3
    assert (folder / "control_spectra.csv").exists()
    assert _value(folder, "ntk", "trace") > 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((*LSTM, "weights=other.pt"), "weights=other.pt: of another network: it has no weight_ih"),
        ((*LSTM, "weights=wide.pt"), "weight_ih_l0 is of shape (16, 5), the network's of (16, 3)"),
        ((*LSTM, "weights=ckpt_*.pt", "inputs=wide.npy"), "inputs=wide.npy: of shape (4, 6, 5)"),
        ((*LSTM, "weights=module.pt"), "weights_only=false"),
        ((*LSTM, "weights=nothing_*.pt"), "weights=nothing_*.pt: no such file"),
        (("model.target=nets.py:Tager",), "did you mean 'Tagger'?"),
        (("model.target=nets.py:Tagger", "model.kwargs.unit=3"), "it takes units, classes"),
        (("model.target=nets.py:Pair", "state=hiden"), "state=hiden: unknown (did you mean"),
        (("model.target=torch.nn.Linear", "+model.kwargs.in_features=3"), "model.kwargs"),
        ((*LSTM, "trained=*weight_xx*"), "trained=*weight_xx*: matches no parameter"),
        ((*LSTM, "lengths=lengths.npy"), "lengths=lengths.npy"),
        ((*LSTM, "inputs=missing.npy"), "inputs=missing.npy: no such file"),
        ((*LSTM, "weight=x.pt"), "weight"),
        ((*LSTM, "analysis.records=[outputs]"), "analysis.records=outputs: needs targets="),
        ((), "model.target: no value"),
    ],
)
def test_a_mistake_is_told_in_one_line(place: Path, words: tuple[str, ...], told: str) -> None:
    torch.save(nn.Linear(3, 4).state_dict(), place / "other.pt")
    torch.save(nn.LSTM(5, 4).state_dict(), place / "wide.pt")
    torch.save(nn.LSTM(3, 4), place / "module.pt")
    np.save(place / "wide.npy", np.ones((4, 6, 5)))
    np.save(place / "lengths.npy", np.array([1, 2, 3, 9]))
    inputs = () if any(word.startswith("inputs=") for word in words) else ("inputs=x.npy",)
    assert told in _refused(place, *words, *inputs)


def test_code_in_a_file_runs_only_when_it_is_allowed(place: Path) -> None:
    torch.save(_lstm(20), place / "module.pt")
    words: tuple[Any, ...] = (*LSTM, *SMALL, "weights=module.pt", "inputs=x.npy")
    folder = _measure(place, *words, "weights_only=false")
    there = kp.load_run(folder).state_dict()
    assert torch.equal(there["weight_hh_l0"], _lstm(20).weight_hh_l0)
