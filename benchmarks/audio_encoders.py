"""What encoders of sound lose: spoken digits, encoded and decoded.

    python benchmarks/audio_encoders.py

Of the test set of the Free Spoken Digit Dataset, for each encoder: the share of recordings that come back bit for bit,
and the signal-to-noise ratio over all recordings in dB. Mel levels keep no phases, so that waveforms cannot be
compared: of them the spectral convergence is given (the norm of the difference of magnitude spectra, relative to that
of the recording's, in dB), of the whole way, and of Griffin-Lim alone, to the magnitudes that it was given; and what
the network of spoken digits still hears.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from audio_models import heard, test_set
from common import write_result

from molgen.domain import Encoder
from molgen_datasets.sources.fsdd import FSDD
from molgen_plugins.audio import spectra
from molgen_plugins.audio.mulaw import Mulaw, MulawConfig
from molgen_plugins.audio.sound import Sound, key
from molgen_plugins.audio.spectrogram import Spectrogram, SpectrogramConfig
from molgen_plugins.audio.waveform import Waveform, WaveformConfig

#: Samples of the longest recording, in whole windows of any of these encoders.
LENGTH = 18_432
ENCODERS: Mapping[str, Callable[[], Encoder]] = {
    "audio.mulaw": lambda: Mulaw(MulawConfig(length=LENGTH)),
    "audio.waveform, 256 levels": lambda: Waveform(WaveformConfig(length=LENGTH)),
    "audio.waveform, 65536 levels": lambda: Waveform(WaveformConfig(length=LENGTH, levels=65_536)),
    "audio.spectrogram": lambda: Spectrogram(SpectrogramConfig(length=LENGTH)),
    "audio.spectrogram, 64 mel bands, hop 128": lambda: Spectrogram(SpectrogramConfig(length=LENGTH, bands=64)),
    "audio.spectrogram, 32 mel bands, hop 256, window 512": lambda: Spectrogram(
        SpectrogramConfig(length=LENGTH, bands=32, hop=256, window=512)
    ),
    "audio.spectrogram, 64 mel bands, hop 64": lambda: Spectrogram(SpectrogramConfig(length=LENGTH, bands=64, hop=64)),
}


def main() -> None:
    """Measure all and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=300, help="recordings")
    parser.add_argument("--result", default="audio-encoders", help="name of the result file")
    args = parser.parse_args()
    sounds, asked = test_set(FSDD())
    chosen = slice(0, None, max(1, len(sounds) // args.limit))
    sounds, asked = sounds[chosen], {name: values[chosen] for name, values in asked.items()}
    found = {name: lost(make(), sounds, asked) for name, make in ENCODERS.items()}
    write_result(args.result, {"recordings": len(sounds), "encoders": found}, ("scipy", "soundfile"))


def lost(encoder: Encoder, sounds: Sequence[Sound], asked: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What one encoder loses."""
    samples = [encoder.encode(sound) for sound in sounds]
    backs = [encoder.decode(sample) for sample in samples]
    cut = [Sound(back.samples[: len(sound.samples)], back.rate) for back, sound in zip(backs, sounds, strict=True)]
    same = float(np.mean([key(one) == key(other) for one, other in zip(cut, sounds, strict=True)]))
    result: dict[str, Any] = {"come back as they were": same, "heard as they were": heard(backs, asked)}
    if isinstance(encoder, Spectrogram) and encoder.config.bands:
        return result | convergence(encoder, sounds, samples, backs)
    return result | ({} if same == 1 else {"signal to noise, dB": round(ratio(sounds, cut), 2)})


def ratio(sounds: Sequence[Sound], backs: Sequence[Sound]) -> float:
    """The power of all recordings over that of all errors, in dB."""
    signal = sum(float(np.square(sound.values()).sum()) for sound in sounds)
    pairs = zip(sounds, backs, strict=True)
    noise = sum(float(np.square(sound.values() - back.values()).sum()) for sound, back in pairs)
    return 10 * float(np.log10(signal / noise))


def convergence(
    encoder: Spectrogram, sounds: Sequence[Sound], samples: Sequence[Any], backs: Sequence[Sound]
) -> dict[str, float]:
    """The mean spectral convergence in dB, of the whole way and of Griffin-Lim alone."""
    c, whole, alone = encoder.config, [], []
    for sound, sample, back in zip(sounds, samples, backs, strict=True):
        padded = np.pad(sound.values(), (0, len(back.samples) - len(sound.samples)))
        magnitudes = np.abs(spectra.spectrum_of(padded, c.window, c.hop))
        whole.append(spectra.convergence(back.values(), magnitudes, c.window, c.hop))
        alone.append(spectra.convergence(back.values(), encoder.magnitudes(sample), c.window, c.hop))
    return {"spectral convergence, dB": float(np.mean(whole)), "of Griffin-Lim alone, dB": float(np.mean(alone))}


if __name__ == "__main__":
    main()
