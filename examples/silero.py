"""What training did to NTK_S of Silero VAD, a speech detector with an LSTM.

    pip install 'kpflow[examples]'
    python examples/silero.py               # speech by espeak-ng where it is installed
    python examples/silero.py formants      # by the synthesizer of speech.py

Writes silero.csv and silero.png into the current folder.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import torch
from comparison import compare, report
from speech import RATE, SOURCES, available_source, speak
from torch import Tensor, nn
from torch.nn import functional

# samples at 16 kHz: a step of the network, and what it sees of the one before
CHUNK, CONTEXT = 512, 64


class SpeechDetector(nn.Module):
    """The network of Silero VAD at 16 kHz: a fixed spectrogram, four convolutions, an LSTM."""

    waves: Tensor

    def __init__(self, units: int = 128) -> None:
        super().__init__()
        turns = torch.outer(torch.arange(129.0), torch.arange(256.0)) / 256
        waves = torch.cat([torch.cos(2 * math.pi * turns), -torch.sin(2 * math.pi * turns)])
        self.register_buffer("waves", (waves * torch.hann_window(256)).unsqueeze(1))
        half = units // 2
        self.encoder = nn.ModuleList(
            [
                nn.Conv1d(129, units, 3, padding=1),
                nn.Conv1d(units, half, 3, stride=2, padding=1),
                nn.Conv1d(half, half, 3, stride=2, padding=1),
                nn.Conv1d(half, units, 3, padding=1),
            ]
        )
        self.rnn = nn.LSTM(units, units, batch_first=True)
        self.readout = nn.Linear(units, 1)

    def forward(self, chunks: Tensor) -> tuple[Tensor, Tensor]:
        """Chunks ``(B, T, 576)`` to the probability of speech ``(B, T)`` and h ``(B, T, n)``."""
        trials, times = chunks.shape[:2]
        padded = functional.pad(chunks, (0, CONTEXT), "reflect").flatten(0, 1).unsqueeze(1)
        real, imaginary = functional.conv1d(padded, self.waves, stride=128).chunk(2, dim=1)
        features = (real.square() + imaginary.square()).sqrt()
        for convolution in self.encoder:
            features = convolution(features).relu()
        states, _ = self.rnn(features.view(trials, times, -1))
        return self.readout(states.relu()).squeeze(-1).sigmoid(), states


def cut(sound: Tensor) -> Tensor:
    """Sound ``(B, samples)`` to chunks ``(B, T, 576)``, each with the end of the one before."""
    return functional.pad(sound, (CONTEXT, 0)).unfold(1, CONTEXT + CHUNK, CHUNK)


def trained_detector(package: Any) -> SpeechDetector:
    """The network with the weights of the package's own model, which come in the same order."""
    network = SpeechDetector()
    pairs = zip(network.state_dict().items(), package._model.state_dict().values(), strict=True)
    network.load_state_dict({name: weight.view_as(own) for (name, own), weight in pairs})
    return network.eval()


def check(network: SpeechDetector, package: Any, sound: Tensor) -> float:
    """Mean probability of speech, which the package's own model has to say too, chunk by chunk."""
    package.reset_states()
    with torch.no_grad():
        ours = network(cut(sound))[0]
        theirs = [package(chunk, RATE) for chunk in sound.split(CHUNK, 1)]
    torch.testing.assert_close(ours, torch.cat(theirs, 1), rtol=0, atol=1e-5)
    return ours.mean().item()


def main(
    source: str,
    folder: Path,
    *,
    trials: int = 8,
    chunks: int = 40,
    batches: int = 5,
    draws: int = 5,
    probes: int = 40,
    noise_floor: float = 1e-3,
) -> None:
    """Check the network against the package, measure, and write what was found.

    White noise of root mean square ``noise_floor`` stands for what every recording has: in the
    pauses of espeak-ng, nearly zeros, the trained network is far more sensitive than elsewhere.
    """
    try:
        from silero_vad import load_silero_vad
    except ModuleNotFoundError:
        sys.exit("silero_vad is not installed: pip install 'kpflow[examples]'")
    package = load_silero_vad()
    network = trained_detector(package)
    samples = trials, chunks * CHUNK
    source_of_noise = torch.Generator().manual_seed(0)
    sounds = [
        speak(source, batch, *samples)
        + noise_floor * torch.randn(samples, generator=source_of_noise)
        for batch in range(batches)
    ]
    noise = 0.05 * torch.randn(samples, generator=source_of_noise)
    heard = [check(network, package, sound) for sound in sounds]
    print(
        f"{source}: mean probability of speech {min(heard):.2f} to {max(heard):.2f}, of noise "
        f"{check(network, package, noise):.2f}, by the package and by the network measured"
    )
    rows = compare(
        network,
        SpeechDetector,
        [(cut(sound),) for sound in sounds],
        state=lambda result: result[1],
        draws=draws,
        probes=probes,
    )
    report(rows, "silero", folder)


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else available_source()
    if chosen not in SOURCES:
        sys.exit(f"{chosen}: no source of speech; there are {', '.join(SOURCES)}")
    main(chosen, Path())
