"""Sounds as rows of classes: μ-law codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from molgen.domain import Encoder, Extent, Invalid, Item, KnownPart, Sample
from molgen.space import Categorical, Space
from molgen_plugins.audio.shaping import ClipConfig, beginning, settings_for, shaped
from molgen_plugins.audio.sound import Sound


@dataclass(frozen=True)
class MulawConfig(ClipConfig):
    """Settings of the μ-law encoder; see `ClipConfig` for the others.

    Attributes:
        classes: how many codes there are, 256 as in telephony; a power of two up to 65536.
    """

    classes: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.classes <= 1 << 16 or self.classes & (self.classes - 1):
            raise ValueError(f"classes must be a power of two from 2 to 65536, not {self.classes}")


class Mulaw(Encoder):
    """Mono sounds as one field `code` of classes along the axis `sample`.

    A value x from -1 to 1 has the code floor((f(x) + 1) / 2 μ + 1/2), where f(x) = sign(x) ln(1 + μ abs(x)) / ln(1 + μ)
    and μ is one less than the number of classes (van den Oord et al., arXiv 1609.03499, section 2.2), and a code k is
    decoded to the x of f(x) = 2k / μ - 1: fine steps where sounds are quiet and coarse ones where they are loud.
    A density is of the codes: divided by the number of samples and by ln 2 it is in bits per sample.
    """

    Config: ClassVar[type] = MulawConfig
    lossless = False
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"length": 4, "classes": 4, "fit": True, "resample": True, "mix": True}

    def __init__(self, config: MulawConfig | None = None) -> None:
        self.config = config or MulawConfig()
        self._space = {"code": Categorical((self.config.axis("sample", self.config.length),), self.config.classes)}

    @property
    def space(self) -> Space:
        """One field, `code`, along the axis `sample`."""
        return self._space

    @classmethod
    def settings_for(cls, items: Iterable[Item]) -> Mapping[str, Any]:
        """The most frequent rate, and a length with room for longer sounds than these."""
        return settings_for(items, cls.Config)

    def encode(self, item: Item) -> Sample | Invalid:
        """The codes of the samples, int64 (N,), or why the item has none here."""
        sound = shaped(item, self.config)
        if isinstance(sound, Invalid):
            return sound
        return {"code": codes_of(sound.values(), self.config.classes)}

    def known_part(self, item: Item) -> KnownPart | Invalid:
        """How every sample begins: a sound, or the path of a file."""
        return beginning(self, item)

    def extents(self) -> Mapping[str, Extent]:
        """When each sample begins and ends, as `time` in seconds."""
        return self.config.moments()

    def decode(self, sample: Sample) -> Item | Invalid:
        """The sound of a sample; every sample has one."""
        return Sound.of(values_of(np.asarray(sample["code"]), self.config.classes), self.config.rate)


def codes_of(values: np.ndarray, classes: int) -> np.ndarray:
    """The codes of values from -1 to 1, int64 of the same shape."""
    mu = classes - 1
    companded = np.sign(values) * np.log1p(mu * np.abs(values)) / np.log1p(mu)
    return np.floor((companded + 1) / 2 * mu + 0.5).astype(np.int64)


def values_of(codes: np.ndarray, classes: int) -> np.ndarray:
    """The values that codes stand for, float64 from -1 to 1."""
    mu = classes - 1
    companded = 2 * codes / mu - 1
    return np.sign(companded) * np.expm1(np.abs(companded) * np.log1p(mu)) / mu
