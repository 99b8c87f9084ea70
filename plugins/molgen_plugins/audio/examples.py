"""Short sounds that show the range of the domain. They are computed, so that no file ships with the package."""

from __future__ import annotations

import hashlib

import numpy as np

from molgen.domain import Item
from molgen_plugins.audio.sound import Sound

#: Samples in a second of most examples, as of a telephone.
RATE = 8000


def examples() -> list[Item]:
    """Tones of several pitches and lengths, a chirp, noise, a click, silence, and a stereo sound at another rate."""
    tones = [tone(110 * 2 ** (number / 3), 256 + 128 * number) for number in range(8)]
    seconds = np.arange(1024) / RATE
    chirp = 0.5 * np.sin(2 * np.pi * (200 + 6000 * seconds) * seconds)
    noise = np.frombuffer(hashlib.shake_256(b"noise").digest(1024), np.int16) / 65536
    click = np.zeros(384)
    click[128] = -1.0
    stereo = np.stack([tone(220, 2048, 16_000).values(), tone(330, 2048, 16_000).values()], axis=1)
    return [
        *tones,
        *(Sound.of(values, RATE) for values in (chirp, noise, click, np.zeros(256))),
        Sound.of(stereo, 16_000),
    ]


def tone(pitch: float, samples: int, rate: int = RATE) -> Sound:
    """A tone of a fundamental in Hz with three overtones that dies away within its samples."""
    seconds = np.arange(samples) / rate
    waves = sum(np.sin(2 * np.pi * pitch * n * seconds) / n for n in range(1, 5))
    return Sound.of(0.4 * waves * np.exp(-4 * np.arange(samples) / samples), rate)


def melody(rng: np.random.Generator, shape: tuple[int, ...], rate: int) -> Sound:
    """Eight tones of random pitch and level, one after the other, int16 of the shape (N,) or (N, 2)."""
    seconds, parts = np.arange(shape[0]) / rate, np.arange(shape[0]) * 8 // max(1, shape[0])
    pitches = rng.uniform(100.0, rate / 4, size=8)
    waves = rng.uniform(0.1, 0.5, size=8)[parts] * np.sin(2 * np.pi * pitches[parts] * seconds)
    return Sound.of(waves if len(shape) == 1 else np.stack([waves] * shape[1], axis=1), rate)
