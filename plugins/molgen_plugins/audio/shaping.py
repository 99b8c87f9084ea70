"""Clips as an encoder takes them: at its rate, in its channels, of its length and level.

Letters in shapes: N samples of each channel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from molgen.domain import Encoder, Extent, Invalid, Item, KnownPart
from molgen.space import Axis
from molgen_plugins.audio.properties import loudness, peak
from molgen_plugins.audio.sound import RATES, SAMPLE_LIMIT, Sound, canonical
from molgen_plugins.media.containers import Folder

_CHANNELS = {1: "mono", 2: "stereo"}
#: Multiples of the longest of some sounds that a model is made for: those that were not looked at may be longer.
ROOM = Fraction(3, 2)
#: The factors of `resample_poly`; its filter grows with the larger one.
_LARGEST_FACTOR = 100_000


@dataclass(frozen=True)
class ClipConfig:
    """What all encoders of sounds have in common.

    Attributes:
        rate: samples in a second.
        length: samples of each channel, at most, or exactly where the length does not vary.
        variable: whether clips are as long as they are; if not, all have the same length.
        fit: cut off what is longer at both ends alike, and, where the length does not vary, put silence behind what
            is shorter.
        resample: bring sounds of another rate to this one, by a polyphase filter (`scipy.signal.resample_poly`).
        mix: turn stereo into mono by the mean of both channels, or mono into stereo by the same in both.
        level: the loudness in dB below full scale, such as -20, that all sounds are brought to, as far as none of
            their samples is clipped; without it they keep their own.
    """

    rate: int = 8000
    length: int = 8192
    variable: bool = True
    fit: bool = False
    resample: bool = False
    mix: bool = False
    level: float | None = None

    def __post_init__(self) -> None:
        if not RATES[0] <= self.rate <= RATES[1]:
            raise ValueError(f"rate must be from {RATES[0]} to {RATES[1]} samples a second, not {self.rate}")
        if not 1 <= self.length <= SAMPLE_LIMIT:
            raise ValueError(f"length must be from 1 to {SAMPLE_LIMIT:,} samples, not {self.length}")
        if self.level is not None and not -90 <= self.level <= 0:
            raise ValueError(f"level must be from -90 to 0 dB, not {self.level}")

    def axis(self, name: str, maximum: int, minimum: int = 1) -> Axis:
        """The direction of time."""
        return Axis(name, maximum, minimum if self.variable else maximum, variable=self.variable)

    def moments(self) -> Mapping[str, Extent]:
        """When each sample begins and ends."""
        edges = np.arange(self.length + 1) / self.rate
        return {"time": Extent("sample", edges[:-1], edges[1:], "seconds")}


def settings_for(items: Iterable[Item], config: type) -> Mapping[str, Any]:
    """The most frequent rate and number of channels, and a length with room for longer ones than were seen."""
    sounds = [sound for sound in map(canonical, items) if not isinstance(sound, Invalid)]
    if not sounds:
        return {}
    rate, channels = Counter((sound.rate, sound.channels) for sound in sounds).most_common(1)[0][0]
    longest = max(len(sound.samples) for sound in sounds if (sound.rate, sound.channels) == (rate, channels))
    found = {"rate": rate, "channels": channels, "length": min(SAMPLE_LIMIT, int(longest * ROOM))}
    return {name: found[name] for name in found if name in {field.name for field in fields(config)}}


def beginning(encoder: Encoder, item: Item | str | Path) -> KnownPart | Invalid:
    """How samples begin, as an encoder reads it: a sound, or the path of the file of one."""
    if not isinstance(item, str | Path):
        found = encoder.encode(item)
    else:
        path = Path(item)
        content = Folder(path.parent).read(path.name)
        found = content if isinstance(content, Invalid) else encoder.encode(content)
    return found if isinstance(found, Invalid) else KnownPart(found)


def shaped(item: Item, config: ClipConfig, channels: int = 1) -> Sound | Invalid:
    """The sound as a configuration wants it, changed only as its settings allow, or why it cannot be."""
    found = canonical(item)
    for change in (_at_rate, _in_channels, _at_level, _of_length):
        if isinstance(found, Invalid):
            return found
        found = change(found, config, channels)
    return found


def resampled(sound: Sound, rate: int) -> Sound:
    """The sound at another rate; what the filter lifts beyond full scale is clipped."""
    factor = Fraction(rate, sound.rate).limit_denominator(_LARGEST_FACTOR)
    values = resample_poly(sound.values(), factor.numerator, factor.denominator, axis=0)
    return Sound.of(values, rate)


def _at_rate(sound: Sound, config: ClipConfig, channels: int) -> Sound | Invalid:
    if sound.rate == config.rate:
        return sound
    if not config.resample:
        what = f"the sound has {sound.rate:,} samples a second; this encoder takes {config.rate:,}"
        return Invalid(f"{what} (the setting resample changes the rate)")
    return resampled(sound, config.rate)


def _in_channels(sound: Sound, config: ClipConfig, channels: int) -> Sound | Invalid:
    if sound.channels == channels:
        return sound
    if not config.mix:
        what = f"the sound is {_CHANNELS[sound.channels]}; this encoder takes {_CHANNELS[channels]}"
        return Invalid(f"{what} (the setting mix turns one into the other)")
    if channels == 1:
        return Sound.of(sound.mono(), sound.rate)
    return Sound(np.repeat(sound.samples[:, None], 2, axis=1), sound.rate)


def _at_level(sound: Sound, config: ClipConfig, channels: int) -> Sound | Invalid:
    if config.level is None or not sound.samples.any():
        return sound
    gain = min(config.level - loudness(sound), -peak(sound))
    return Sound.of(sound.values() * 10 ** (gain / 20), sound.rate)


def _of_length(sound: Sound, config: ClipConfig, channels: int) -> Sound | Invalid:
    count, samples = len(sound.samples), sound.samples
    if count == config.length or (count < config.length and config.variable):
        return sound
    if not config.fit:
        most = "at most " if config.variable else ""
        what = f"the sound has {count:,} samples; this encoder takes {most}{config.length:,}"
        return Invalid(f"{what} (the setting fit cuts{'' if config.variable else ' or fills'} them)")
    start = max(0, count - config.length) // 2
    samples = samples[start : start + config.length]
    behind = config.length - len(samples)
    return Sound(np.pad(samples, [(0, behind), *((0, 0) for _ in samples.shape[1:])]), sound.rate)
