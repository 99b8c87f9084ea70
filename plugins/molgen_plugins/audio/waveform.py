"""Sounds as rows of quantised numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from molgen.domain import Encoder, Extent, Invalid, Item, KnownPart, Sample
from molgen.space import Real, Space
from molgen_plugins.audio.shaping import ClipConfig, beginning, settings_for, shaped
from molgen_plugins.audio.sound import FULL_SCALE, Sound


@dataclass(frozen=True)
class WaveformConfig(ClipConfig):
    """Settings of the waveform encoder; see `ClipConfig` for the others.

    Attributes:
        channels: 1 for mono, 2 for stereo.
        levels: a power of two from 2 to 65536, into which the 65536 levels of a sample are divided.
    """

    channels: int = 1
    levels: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels not in (1, 2):
            raise ValueError(f"channels must be 1 (mono) or 2 (stereo), not {self.channels}")
        if not 2 <= self.levels <= 2 * FULL_SCALE or self.levels & (self.levels - 1):
            raise ValueError(f"levels must be a power of two from 2 to {2 * FULL_SCALE}, not {self.levels}")


class Waveform(Encoder):
    """Sounds as one quantised field `wave` along the axis `sample`, with a channel for each of theirs if stereo.

    With 65536 levels nothing is lost. With fewer, L, a sample v becomes the level floor((v + 32768) L / 65536), and
    level k is decoded to the whole number in the middle of its cell, rounded towards zero. A density is of the levels:
    divided by the number of samples and by ln 2 it is in bits per sample.
    """

    Config: ClassVar[type] = WaveformConfig
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"length": 4, "levels": 4, "fit": True, "resample": True, "mix": True}

    def __init__(self, config: WaveformConfig | None = None) -> None:
        self.config = config or WaveformConfig()
        c = self.config
        channels = (c.channels,) if c.channels > 1 else ()
        self._space = {"wave": Real((c.axis("sample", c.length),), channels=channels, levels=c.levels)}
        self.lossless = c.levels == 2 * FULL_SCALE

    @property
    def space(self) -> Space:
        """One field, `wave`, along the axis `sample`."""
        return self._space

    @classmethod
    def settings_for(cls, items: Iterable[Item]) -> Mapping[str, Any]:
        """The most frequent rate and number of channels, and a length with room for longer sounds than these."""
        return settings_for(items, cls.Config)

    def encode(self, item: Item) -> Sample | Invalid:
        """The levels of the samples, uint16 (N,) or (N, 2), or why the item has none here."""
        sound = shaped(item, self.config, self.config.channels)
        if isinstance(sound, Invalid):
            return sound
        levels = (sound.samples.astype(np.int64) + FULL_SCALE) * self.config.levels // (2 * FULL_SCALE)
        return {"wave": levels.astype(np.uint16)}

    def known_part(self, item: Item) -> KnownPart | Invalid:
        """How every sample begins: a sound, or the path of a file."""
        return beginning(self, item)

    def extents(self) -> Mapping[str, Extent]:
        """When each sample begins and ends, as `time` in seconds."""
        return self.config.moments()

    def decode(self, sample: Sample) -> Item | Invalid:
        """The sound of a sample; every sample has one."""
        width = 2 * FULL_SCALE // self.config.levels
        lowest = np.asarray(sample["wave"]).astype(np.int64) * width - FULL_SCALE
        middle = lowest + np.where(lowest < 0, width // 2, (width - 1) // 2)
        return Sound(middle.astype(np.int16), self.config.rate)
