"""Short-time spectra of waveforms and back, by scipy's `ShortTimeFFT`.

Letters in shapes: N samples, H hop, R window / hop, F frames, K frequencies (half the window), M mel bands.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

#: The momentum of Griffin-Lim (Perraudin, Balazs & Søndergaard, WASPAA 2013).
MOMENTUM = 0.99
#: Rounds in which the magnitudes behind mel bands are found.
UNMIX_ROUNDS = 50
#: Keeps divisions away from zero.
TINY = 1e-12


@lru_cache(maxsize=8)
def transform(window: int, hop: int) -> ShortTimeFFT:
    """The transform of a Hann window; the window is a multiple of two hops."""
    return ShortTimeFFT(hann(window, sym=False), hop, fs=1.0)


def frames_of(samples: int, window: int, hop: int) -> int:
    """The frames that see some of N samples, a multiple of the hop of at least half a window: N / H + R - 1."""
    return samples // hop + window // hop - 1


def samples_of(frames: int, window: int, hop: int) -> int:
    """The inverse of `frames_of`."""
    return (frames - window // hop + 1) * hop


def first_frame(window: int, hop: int) -> int:
    """The number of the first frame; frame p has its middle at the sample p H."""
    return int(transform(window, hop).p_min)


def spectrum_of(values: np.ndarray, window: int, hop: int) -> np.ndarray:
    """The complex spectrum of a waveform (N,), a multiple of the hop, as (F, K + 1)."""
    return transform(window, hop).stft(values).T


def waveform_of(spectrum: np.ndarray, window: int, hop: int) -> np.ndarray:
    """The waveform (N,) whose spectrum is nearest to one of (F, K + 1): the inverse of `spectrum_of`."""
    count = samples_of(len(spectrum), window, hop)
    return transform(window, hop).istft(spectrum.T, k1=count).real


def folded(spectrum: np.ndarray) -> np.ndarray:
    """A spectrum of a waveform, (F, K + 1), as numbers that are all free, (F, K, 2).

    Its lowest and its highest frequency are real: they become the real and the imaginary part of the first place.
    """
    found = np.stack([spectrum.real, spectrum.imag], axis=-1)[:, :-1]
    found[:, 0, 1] = spectrum[:, -1].real
    return found


def unfolded(parts: np.ndarray) -> np.ndarray:
    """The inverse of `folded`."""
    found = np.zeros((parts.shape[0], parts.shape[1] + 1), np.complex128)
    found[:, :-1] = parts[..., 0] + 1j * parts[..., 1]
    found[:, 0] = parts[:, 0, 0]
    found[:, -1] = parts[:, 0, 1]
    return found


def mel_edges(bands: int, rate: int) -> np.ndarray:
    """Where mel bands of equal width begin, have their middle and end, in Hz: band m lies from m to m + 2, (M + 2,).

    mel = 2595 log10(1 + f / 700).
    """
    edges: np.ndarray = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 1400), bands + 2) / 2595) - 1)
    return edges


@lru_cache(maxsize=8)
def mel_weights(bands: int, frequencies: int, rate: int) -> np.ndarray:
    """Triangles of equal width on the mel scale, each of unit sum, (K + 1, M)."""
    edges = mel_edges(bands, rate)
    places = np.linspace(0, rate / 2, frequencies)[:, None]
    rising = (places - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - places) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0.0, np.minimum(rising, falling))
    nearest = np.abs(places - edges[1:-1]).argmin(0)
    narrow = weights.sum(0) == 0  # a band between two frequencies has the nearer one
    weights[nearest[narrow], np.flatnonzero(narrow)] = 1.0
    return weights / weights.sum(0)


def unmixed(mel: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Magnitudes (F, K + 1), none negative, whose mean in each mel band is nearest to (F, M).

    By the multiplicative rule of Lee & Seung (NIPS 2000), from what is spread evenly over each band.
    """
    found = mel @ weights.T + TINY
    above = mel @ weights.T
    square = weights @ weights.T
    for _ in range(UNMIX_ROUNDS):
        found *= above / (found @ square + TINY)
    return found


def with_phases(magnitudes: np.ndarray, window: int, hop: int, rounds: int) -> np.ndarray:
    """A waveform (N,) whose spectrum has about these magnitudes, (F, K + 1), by the fast Griffin-Lim algorithm.

    Griffin & Lim (IEEE TASSP 32(2), 1984), with the momentum of Perraudin, Balazs & Søndergaard (WASPAA 2013). It
    begins with random phases that are always the same, so that equal magnitudes give equal waveforms.
    """
    random = np.random.Generator(np.random.Philox(key=[0, magnitudes.shape[0]]))
    phases = np.exp(2j * np.pi * random.random(magnitudes.shape))
    before = np.zeros_like(phases)
    for _ in range(rounds):
        consistent = spectrum_of(waveform_of(magnitudes * phases, window, hop), window, hop)
        ahead = consistent + MOMENTUM * (consistent - before)
        phases, before = ahead / np.maximum(np.abs(ahead), TINY), consistent
    return waveform_of(magnitudes * phases, window, hop)


def convergence(values: np.ndarray, magnitudes: np.ndarray, window: int, hop: int) -> float:
    """How far the magnitudes of a waveform (N,) are from others, (F, K + 1), in dB: 20 log10 of the relative norm."""
    off = float(np.linalg.norm(np.abs(spectrum_of(values, window, hop)) - magnitudes))
    return 20 * math.log10(max(off / max(float(np.linalg.norm(magnitudes)), TINY), TINY))
