"""What a model of sound has to beat: simple models of the same μ-law codes, and FLAC, on spoken digits.

    python benchmarks/audio_baselines.py

Takes 5 to 49 of the Free Spoken Digit Dataset are learned from, takes 0 to 4 are coded, in bits for each of their
samples, 8 kHz, 256 codes:

- unigram: how often each code occurs.
- bigram: how often each code follows each other one, mixed with the unigram.
- linear prediction of the order 16, per recording of the training set pooled: a Laplace distribution around the
  prediction of the next sample, whose width follows the errors so far, over the cells of the codes.
- FLAC: the frames, without headers and metadata, of the 16-bit samples that the codes stand for, as libsndfile writes
  them at its highest compression. Every code is one of 256 values, which FLAC does not know.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence

import numpy as np
import soundfile
from common import write_result

from molgen.domain import Invalid
from molgen_datasets.sources.fsdd import FSDD
from molgen_plugins.audio.mulaw import codes_of, values_of
from molgen_plugins.audio.sound import FULL_SCALE, canonical

CLASSES, ORDER = 256, 16
#: How slowly the width of the Laplace distribution follows the errors, and the narrowest one, in units of 1 / 32768.
DECAY, NARROWEST = 0.97, 2.0
#: Counts of a pair of codes at which its own frequency weighs as much as the unigram.
SMOOTH = 8.0
#: The bytes of a FLAC file in front of its first frame: `fLaC`, and blocks of which each says its length.
_MAGIC, _BLOCK = 4, 4


def main() -> None:
    """Measure all and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--result", default="audio-baselines", help="name of the result file")
    args = parser.parse_args()
    train, test = codes("train"), codes("test")
    samples = sum(map(len, test))
    found = {
        "unigram": unigram(train, test),
        "bigram": bigram(train, test),
        f"linear prediction, order {ORDER}": linear_prediction(train, test),
        "FLAC frames": flac(test),
    }
    bits = {name: round(total / samples, 4) for name, total in found.items()}
    write_result(args.result, {"recordings": len(test), "samples": samples, "bits per sample": bits}, ("soundfile",))


def codes(split: str) -> list[np.ndarray]:
    """The codes of the recordings of a split, int64 (N,) each."""
    sounds = [canonical(record.item) for record in FSDD().records(split)]
    return [codes_of(sound.values(), CLASSES) for sound in sounds if not isinstance(sound, Invalid)]


def unigram(train: Sequence[np.ndarray], test: Sequence[np.ndarray]) -> float:
    """Bits of all test samples by the frequencies of codes."""
    return float(-np.log2(frequencies(train)[np.concatenate(test)]).sum())


def frequencies(train: Sequence[np.ndarray]) -> np.ndarray:
    """How often each code occurs, (256,), each at least half once."""
    counts = np.bincount(np.concatenate(train), minlength=CLASSES) + 0.5
    return np.asarray(counts / counts.sum())


def bigram(train: Sequence[np.ndarray], test: Sequence[np.ndarray]) -> float:
    """Bits of all test samples by the code before; the first of a recording by the frequencies alone."""
    alone, pairs = frequencies(train), np.zeros((CLASSES, CLASSES))
    for row in train:
        np.add.at(pairs, (row[:-1], row[1:]), 1)
    after = (pairs + SMOOTH * alone) / (pairs.sum(1, keepdims=True) + SMOOTH)
    first = sum(-np.log2(alone[row[0]]) for row in test)
    return float(first + sum(-np.log2(after[row[:-1], row[1:]]).sum() for row in test))


def linear_prediction(train: Sequence[np.ndarray], test: Sequence[np.ndarray]) -> float:
    """Bits of all test samples by a Laplace distribution around a linear prediction of one set of weights."""
    pasts = [past(values_of(row, CLASSES) * FULL_SCALE) for row in train]
    weights = np.linalg.lstsq(
        np.concatenate([each for each, _ in pasts]), np.concatenate([each for _, each in pasts]), rcond=None
    )[0]
    grid = values_of(np.arange(CLASSES), CLASSES) * FULL_SCALE
    edges = np.concatenate([[-np.inf], (grid[1:] + grid[:-1]) / 2, [np.inf]])
    return sum(laplace_bits(row, weights, edges) for row in test)


def past(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 16 samples before each sample, (N, 16), with silence in front, and the samples (N,)."""
    padded = np.pad(values, (ORDER, 0))
    return np.lib.stride_tricks.sliding_window_view(padded, ORDER)[: len(values)], values


def laplace_bits(row: np.ndarray, weights: np.ndarray, edges: np.ndarray) -> float:
    """Bits of one recording; the width at each sample comes from the errors before it."""
    before, values = past(values_of(row, CLASSES) * FULL_SCALE)
    predicted = before @ weights
    width, widths = 100.0, np.empty(len(row))
    for n, error in enumerate(np.abs(values - predicted)):
        widths[n] = max(NARROWEST, width)
        width = DECAY * width + (1 - DECAY) * error
    low, high = ((edges[row + k] - predicted) / widths for k in (0, 1))
    mass = cumulative(high) - cumulative(low)
    return float(-np.log2(0.999 * mass + 0.001 / CLASSES).sum())


def cumulative(x: np.ndarray) -> np.ndarray:
    """The distribution function of the Laplace distribution of width 1."""
    return np.where(x < 0, 0.5 * np.exp(np.minimum(x, 0)), 1 - 0.5 * np.exp(-np.maximum(x, 0)))


def flac(test: Sequence[np.ndarray]) -> float:
    """Bits of the frames of one FLAC file for each recording."""
    return float(sum(8 * len(frames(row)) for row in test))


def frames(row: np.ndarray) -> bytes:
    """The FLAC frames of what the codes stand for."""
    stream = io.BytesIO()
    samples = np.rint(values_of(row, CLASSES) * FULL_SCALE).clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    soundfile.write(stream, samples, 8000, format="FLAC", subtype="PCM_16", compression_level=1.0)
    content, place, last = stream.getvalue(), _MAGIC, False
    while not last:
        head = content[place : place + _BLOCK]
        last, place = bool(head[0] & 0x80), place + _BLOCK + int.from_bytes(head[1:], "big")
    return content[place:]


if __name__ == "__main__":
    main()
