"""Numbers and features of canonical sounds, by name. Levels are in dB relative to full scale (dBFS).

Letters in shapes: N samples, F frames, K bands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from molgen_plugins.audio.sound import FULL_SCALE, Sound

#: The level that digital silence is given: half a step of 16 bits.
FLOOR = 20 * float(np.log10(0.5 / FULL_SCALE))
#: Seconds of a frame, and the level below which it is silent.
FRAME, SILENT = 0.02, -60.0
#: Bands and lowest frequency in Hz of the feature `spectrum`.
BANDS, LOWEST = 32, 60.0


def duration(sound: Sound) -> float:
    """Seconds."""
    return sound.seconds


def loudness(sound: Sound) -> float:
    """The root-mean-square level in dBFS: a square wave of full scale has 0, a sine -3."""
    return _decibels(float(np.sqrt(np.mean(np.square(sound.values())))))


def peak(sound: Sound) -> float:
    """The level of the largest sample in dBFS."""
    return _decibels(float(np.abs(sound.values()).max()))


def clipped(sound: Sound) -> float:
    """Share of the samples that are at full scale, as they are where a sound was cut off at it."""
    return float((np.abs(sound.samples.astype(np.int32)) >= FULL_SCALE - 1).mean())


def silence(sound: Sound) -> float:
    """Share of the time, in frames of 20 ms, that is quieter than -60 dBFS."""
    values = sound.mono()
    size = min(len(values), max(1, round(FRAME * sound.rate)))
    frames = values[: len(values) // size * size].reshape(-1, size)
    return float((np.sqrt(np.square(frames).mean(1)) < 10 ** (SILENT / 20)).mean())


def centroid(sound: Sound) -> float:
    """The mean frequency in Hz, weighted by the magnitude of the spectrum; NaN for silence."""
    values = sound.mono()
    magnitudes = np.abs(np.fft.rfft(values * np.hanning(len(values)))) if len(values) > 2 else np.zeros(2)
    total = magnitudes.sum()
    frequencies = np.linspace(0, sound.rate / 2, len(magnitudes))
    return float(magnitudes @ frequencies / total) if total > 0 else float("nan")


def spectrum(sound: Sound) -> np.ndarray:
    """Mean and standard deviation over time of the level in 32 bands of equal ratio, in dB, float32 (64,).

    The bands reach from 60 Hz to half the sampling rate: compare sounds of one rate only.
    """
    values = sound.mono()
    size = max(32, round(FRAME * sound.rate))
    frames = _frames(values, size) * np.hanning(size)
    power = np.square(np.abs(np.fft.rfft(frames, 2 * size))) / size
    edges = np.geomspace(LOWEST, sound.rate / 2, BANDS + 1) / (sound.rate / 2) * (power.shape[1] - 1)
    starts = np.minimum(edges[:-1].astype(int), power.shape[1] - 1)
    levels = 10 * np.log10(np.add.reduceat(power, starts, axis=1) + 10 ** (FLOOR / 10))
    return np.concatenate([levels.mean(0), levels.std(0)]).astype(np.float32)


def _frames(values: np.ndarray, size: int) -> np.ndarray:
    """Halfway overlapping frames, (F, size), of which the last is filled up with silence."""
    hop = size // 2
    count = 1 + max(0, -(-(len(values) - size) // hop))
    padded = np.pad(values, (0, max(0, (count - 1) * hop + size - len(values))))
    return np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][:count]


def _decibels(amplitude: float) -> float:
    return max(FLOOR, 20 * float(np.log10(amplitude))) if amplitude > 0 else FLOOR


PROPERTIES: Mapping[str, Callable[[Sound], float]] = {
    "duration": duration,
    "loudness": loudness,
    "peak": peak,
    "clipped": clipped,
    "silence": silence,
    "centroid": centroid,
}
FEATURES: Mapping[str, Callable[[Sound], Any]] = {"spectrum": spectrum, **PROPERTIES}
