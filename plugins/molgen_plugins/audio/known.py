"""Parts of sounds that samples keep: a beginning, all but a gap, or the low frequencies.

What these functions give is the argument `known` of `GenerativeModel.sample`; what a family does of it says its
`capability.known`: an autoregressive one keeps beginnings, diffusion and flows keep any part.

Letters in shapes: N samples, F frames, K frequencies or bands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from molgen.batch import Partial, collate
from molgen.data.standardise import standardise
from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen.model.generative_model import GenerativeModel
from molgen_plugins.audio.spectrogram import Spectrogram


def beginning(model: GenerativeModel, sound: Any, seconds: float) -> Partial:
    """The first seconds of a sound are known, all others are not: samples go on from there.

    Raises:
        UsageError: the model does not take the sound, or nothing of it would be known.
    """
    return _known(model, sound, lambda times: times < seconds)


def without_gap(model: GenerativeModel, sound: Any, start: float, stop: float) -> Partial:
    """A sound is known but for what lies between two times in seconds: samples fill the gap.

    Raises:
        UsageError: the model does not take the sound, or nothing of it would be known.
    """
    return _known(model, sound, lambda times: (times < start) | (times >= stop))


def low_band(model: GenerativeModel, sound: Any, highest: float) -> Partial:
    """The spectrum of a sound is known up to a frequency in Hz: samples add what is above (bandwidth extension).

    Raises:
        UsageError: the model is not of spectrograms, it does not take the sound, or nothing of it would be known.
    """
    if not isinstance(model.encoder, Spectrogram):
        raise UsageError(f"{model.config.encoder.name} has no frequencies: low_band needs a model of audio.spectrogram")
    return _partial(model, sound, model.encoder.frequencies()[None] < highest)


def _known(model: GenerativeModel, sound: Any, kept: Any) -> Partial:
    """What is known along the time."""
    (axis, *others) = next(iter(model.encoder.space.values())).axes
    if isinstance(model.encoder, Spectrogram):
        first, last = model.encoder.times(axis.maximum)
        whole = kept(first) & kept(last - 1e-9) & kept((first + last) / 2)
    else:
        whole = kept(np.arange(axis.maximum) / model.encoder.config.rate)
    return _partial(model, sound, whole.reshape(-1, *(1 for _ in others)))


def _partial(model: GenerativeModel, sound: Any, kept: np.ndarray) -> Partial:
    """The part of a sound where the mask is set, of one row; the mask spreads over all axes."""
    space, encoded = model.encoder.space, model.encoder.encode(sound)
    if isinstance(encoded, Invalid):
        raise UsageError(f"this model cannot keep a part of the sound: {encoded.reason}")
    batch = standardise(space, model.statistics, collate(space, [encoded]))
    (name,) = space
    shape = batch.fields[name].shape[1 : 1 + len(space[name].axes)]
    mask = np.broadcast_to(kept[: shape[0]] if len(kept) > 1 else kept, shape)
    if not mask.any():
        raise UsageError("nothing of the sound would be known")
    return Partial(batch, {name: torch.from_numpy(mask.copy())[None]})
