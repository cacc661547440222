"""Speech without a recording: from espeak-ng where the machine has it, else from a few formants."""

from __future__ import annotations

import math
import shutil
import subprocess

import torch
from torch import Tensor
from torch.nn import functional

RATE = 16_000
SOURCES = ("espeak-ng", "formants")
SENTENCES = (
    "The north wind and the sun argued about who was stronger.",
    "Seven grey geese flew over the harbour this morning.",
    "Please leave the blue folder on the table near the window.",
    "A quick answer is not always the one we are looking for.",
    "Nobody had expected the river to freeze so early in the year.",
    "She bought four apples, some bread and a bottle of milk.",
    "The train to the coast leaves at half past nine.",
    "My brother keeps his old bicycle in the garden shed.",
    "Every letter in the box had been opened and read before.",
    "The baker opens his shop long before the sun comes up.",
    "Do you remember the song that we used to sing at school?",
    "Three small boats were waiting at the end of the pier.",
    "It takes two hours to walk around the lake in winter.",
    "Their neighbours painted the front door a bright yellow.",
    "I would rather stay at home and finish this long book.",
    "Rain fell on the tin roof all through the night.",
)
VOICES = ("en-us", "en-us+f2", "en-us+m7", "en-gb-scotland", "en-us+f4", "en-us+m3")


def available_source() -> str:
    """``"espeak-ng"`` where it is installed, else ``"formants"``."""
    return "espeak-ng" if shutil.which("espeak-ng") else "formants"


def speak(source: str, batch: int, trials: int, samples: int) -> Tensor:
    """Sound ``(trials, samples)`` at 16 kHz, within [-1, 1]: the same for the same arguments."""
    if source == "formants":
        return _babble(trials, samples, torch.Generator().manual_seed(batch))
    texts = [SENTENCES[(batch * trials + trial) % len(SENTENCES)] for trial in range(trials)]
    voice = VOICES[batch % len(VOICES)]
    return torch.stack([_read_aloud(text, voice, samples) for text in texts])


def _read_aloud(text: str, voice: str, samples: int) -> Tensor:
    """The beginning of a sentence by espeak-ng, silence after its end."""
    command = ["espeak-ng", "--stdout", "-v", voice, text]
    sound = subprocess.run(command, check=True, capture_output=True).stdout
    # a WAV file: 44 bytes of header, the sampling rate at 24; then integers of 16 bits
    rate = int.from_bytes(sound[24:28], "little")
    heard = torch.frombuffer(bytearray(sound[44:]), dtype=torch.int16) / 2**15
    # to 16 kHz by leaving out all above 8 kHz
    length = len(heard) * RATE // rate
    spectrum = torch.fft.rfft(heard)[: length // 2 + 1]
    resampled = torch.fft.irfft(spectrum, length) * (length / len(heard))
    return functional.pad(resampled, (0, max(samples - length, 0)))[:samples]


def _babble(trials: int, samples: int, generator: torch.Generator) -> Tensor:
    """Syllables of gliding vowels, four a second, with hisses in between: harmonics of a gliding
    pitch, as loud as three formants let them be.
    """
    time = torch.arange(samples) / RATE
    changes = round(5 * samples / RATE) + 2

    def glide(low: float, high: float) -> Tensor:
        points = low + (high - low) * torch.rand(trials, 1, changes, generator=generator)
        return functional.interpolate(points, samples, mode="linear", align_corners=True).squeeze(1)

    pitch = glide(90, 220)
    phase = 2 * math.pi * pitch.cumsum(1) / RATE
    formants = [  # centre and width in Hz, loudness
        (glide(300, 800), 80, 1.0),
        (glide(900, 2300), 100, 0.5),
        (glide(2300, 3000), 150, 0.25),
    ]
    voiced = torch.zeros(trials, samples)
    for harmonic in range(1, 36):
        tone = harmonic * pitch
        loudness = sum(
            level / (1 + ((tone - centre) / width) ** 2) for centre, width, level in formants
        )
        voiced += loudness * torch.sin(harmonic * phase)
    syllable = (math.pi * (4 * time + torch.rand(trials, 1, generator=generator))).sin().square()
    hiss = torch.randn(trials, samples + 1, generator=generator).diff()
    return 0.1 * (voiced * syllable + 0.15 * hiss * (1 - syllable) ** 4)
