"""Parts of sounds that samples keep: a beginning, all but a gap, or the low frequencies.

What these functions give is the argument `known` of `GenerativeModel.sample`; its other argument `fill`, and on the
command line `generate --known --fill`, say the same by times and frequencies. What a family does of it says its
`capability.known`: an autoregressive one keeps beginnings, diffusion and flow matching keep any part.
"""

from __future__ import annotations

from typing import Any

from molgen.domain import KnownPart
from molgen.model.filling import around
from molgen.model.generative_model import GenerativeModel


def beginning(model: GenerativeModel, sound: Any, seconds: float) -> KnownPart:
    """The first seconds of a sound are known, all others are not: samples go on from there.

    Raises:
        UsageError: the model does not take the sound, or nothing of it would be known.
    """
    return around(model.encoder, sound, {"time": [(seconds, None)]})


def without_gap(model: GenerativeModel, sound: Any, start: float, stop: float) -> KnownPart:
    """A sound is known but for what lies between two times in seconds: samples fill the gap.

    Raises:
        UsageError: the model does not take the sound, or nothing of it would be known.
    """
    return around(model.encoder, sound, {"time": [(start, stop)]})


def low_band(model: GenerativeModel, sound: Any, highest: float) -> KnownPart:
    """The spectrum of a sound is known up to a frequency in Hz: samples add what is above (bandwidth extension).

    Raises:
        UsageError: the model is not of spectrograms, it does not take the sound, or nothing of it would be known.
    """
    return around(model.encoder, sound, {"frequency": [(highest, None)]})
