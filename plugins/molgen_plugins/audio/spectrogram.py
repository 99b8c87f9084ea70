"""Sounds as grids of time and frequency: complex spectra, or levels in mel bands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from molgen.domain import Encoder, Extent, Invalid, Item, Sample
from molgen.space import Axis, Real, Space
from molgen_plugins.audio import spectra
from molgen_plugins.audio.shaping import ClipConfig, settings_for, shaped
from molgen_plugins.audio.sound import Sound


@dataclass(frozen=True)
class SpectrogramConfig(ClipConfig):
    """Settings of the spectrogram encoder; see `ClipConfig` for the others.

    Attributes:
        window: samples of a frame, a multiple of two hops.
        hop: samples from one frame to the next.
        bands: mel bands, whose levels are kept without phases; 0 keeps the complex spectrum, from which the sound comes
            back exactly.
        exponent: of the magnitudes of a complex spectrum, which makes loud and quiet parts more alike.
        floor: the level of a mel band, in dB below a tone of full scale, under which all is silence.
        rounds: of Griffin-Lim, which finds phases for mel bands.
    """

    window: int = 256
    hop: int = 128
    bands: int = 0
    exponent: float = 0.5
    floor: float = -80.0
    rounds: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hop < 1 or self.window < 2 or self.window % (2 * self.hop):
            raise ValueError(f"window must be a multiple of twice the hop, {2 * self.hop}, not {self.window}")
        if self.length % self.hop or self.length < self.window // 2:
            raise ValueError(
                f"length must be a multiple of the hop, {self.hop}, and at least half the window, not {self.length}"
            )
        if not 0 <= self.bands <= self.window // 2:
            raise ValueError(f"bands must be from 0 to half the window, {self.window // 2}, not {self.bands}")
        if not 0 < self.exponent <= 1:
            raise ValueError(f"exponent must be above 0 and at most 1, not {self.exponent}")
        if self.floor >= 0 or self.rounds < 1:
            raise ValueError("floor must be below 0 dB, and rounds at least 1")


class Spectrogram(Encoder):
    """Mono sounds as one field over the axes `frame` and `frequency` (or `band`).

    With `bands=0` the field `spectrum` has two channels: the real and the imaginary part of the short-time spectrum,
    each magnitude raised to `exponent`. With mel bands the field `level` is the mean magnitude in each, in dB relative
    to a tone of full scale, from -1 (the floor) to 1; magnitudes between the bands and phases are lost, and decoding
    finds some (`spectra.unmixed`, `spectra.with_phases`).

    A sound is filled up with silence to whole hops, and to half a window: it comes back as long as that.
    """

    Config: ClassVar[type] = SpectrogramConfig
    molgen_tiny: ClassVar[Mapping[str, Any]] = {
        "length": 2,
        "window": 4,
        "hop": 2,
        "fit": True,
        "resample": True,
        "mix": True,
    }

    def __init__(self, config: SpectrogramConfig | None = None) -> None:
        self.config = config or SpectrogramConfig()
        c = self.config
        most, least = (spectra.frames_of(n, c.window, c.hop) for n in (c.length, c.window // 2))
        frame = c.axis("frame", most, least)
        #: a tone of full scale has half the sum of the window as its magnitude.
        self._full = float(spectra.transform(c.window, c.hop).win.sum()) / 2
        if c.bands:
            self._space = {"level": Real((frame, Axis("band", c.bands, variable=False)))}
        else:
            frequency = Axis("frequency", c.window // 2, variable=False)
            self._space = {"spectrum": Real((frame, frequency), channels=(2,))}
        self.lossless = not c.bands

    @property
    def space(self) -> Space:
        """One field, `spectrum` or `level`, along the axes of time and frequency."""
        return self._space

    @classmethod
    def settings_for(cls, items: Iterable[Item]) -> Mapping[str, Any]:
        """The most frequent rate, and a length with room for longer sounds than these."""
        found = dict(settings_for(items, cls.Config))
        if "length" in found:
            found["length"] = -(-found["length"] // cls.Config.window) * cls.Config.window  # type: ignore[attr-defined]
        return found

    def encode(self, item: Item) -> Sample | Invalid:
        """The spectrum, float32 (F, K, 2), or the levels, float32 (F, M); or why the item has none here."""
        c = self.config
        sound = shaped(item, c)
        if isinstance(sound, Invalid):
            return sound
        values = sound.values()
        count = max(c.window // 2, -(-len(values) // c.hop) * c.hop)
        spectrum = spectra.spectrum_of(np.pad(values, (0, count - len(values))), c.window, c.hop) / self._full
        if c.bands:
            return {"level": self._levels(np.abs(spectrum))}
        return {"spectrum": _raised(spectra.folded(spectrum), c.exponent).astype(np.float32)}

    def decode(self, sample: Sample) -> Item | Invalid:
        """The sound of a sample; every sample has one. What is beyond full scale is clipped."""
        c = self.config
        if c.bands:
            values = spectra.with_phases(self.magnitudes(sample), c.window, c.hop, c.rounds)
        else:
            parts = _raised(np.asarray(sample["spectrum"], np.float64), 1 / c.exponent)
            values = spectra.waveform_of(spectra.unfolded(parts) * self._full, c.window, c.hop)
        return Sound.of(values, c.rate)

    def magnitudes(self, sample: Sample) -> np.ndarray:
        """The magnitudes that decoding takes levels in mel bands for, (F, K + 1)."""
        levels = np.clip(np.asarray(sample["level"], np.float64), -1.0, 1.0)
        return spectra.unmixed(10 ** ((levels - 1) / 2 * -self.config.floor / 20), self._weights()) * self._full

    def extents(self) -> Mapping[str, Extent]:
        """What each place tells of: a `time` in seconds, longer than the hop, and a `frequency` in Hz.

        The first frames begin before the sound does.
        """
        c, (frame, other) = self.config, next(iter(self._space.values())).axes
        middle = (np.arange(frame.maximum) + spectra.first_frame(c.window, c.hop)) * c.hop
        low, high = self._frequencies()
        return {
            "time": Extent("frame", (middle - c.window // 2) / c.rate, (middle + c.window // 2) / c.rate, "seconds"),
            "frequency": Extent(other.name, low, high, "Hz"),
        }

    def _frequencies(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest frequency in Hz of each place, (K,) or (M,) each."""
        c = self.config
        if c.bands:
            edges = spectra.mel_edges(c.bands, c.rate)
            return edges[:-2], edges[2:]
        step, places = c.rate / c.window, np.arange(c.window // 2)
        ends = np.concatenate([[c.window / 2], places[1:] + 0.5])  # the first place holds the highest one too
        return step * (places - 0.5), step * ends

    def _weights(self) -> np.ndarray:
        return spectra.mel_weights(self.config.bands, self.config.window // 2 + 1, self.config.rate)

    def _levels(self, magnitudes: np.ndarray) -> np.ndarray:
        """Levels from -1, at the floor, to 1, of magnitudes (F, K + 1), where a tone of full scale has 1."""
        floor = self.config.floor
        decibels = 20 * np.log10(np.maximum(magnitudes @ self._weights(), 10 ** (floor / 20)))
        return (1 - 2 * np.minimum(decibels, 0) / floor).astype(np.float32)


def _raised(parts: np.ndarray, exponent: float) -> np.ndarray:
    """Pairs (F, K, 2) of which each keeps its direction, and its length is raised to an exponent.

    The first place of each frame holds two real numbers, which are raised each by itself.
    """
    lengths = np.linalg.norm(parts, axis=-1, keepdims=True)
    found = parts * np.maximum(lengths, spectra.TINY) ** (exponent - 1)
    found[:, 0] = np.sign(parts[:, 0]) * np.abs(parts[:, 0]) ** exponent
    return found
