"""Networks whose features sounds are compared by: a classifier of spoken digits and their speakers, made here.

It ships with the package. A Fréchet distance is comparable only to others of the same network, the same reference and
about the same number of sounds.

Letters in shapes: N sounds, F frames, M mel bands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from molgen_plugins.audio import spectra
from molgen_plugins.audio.shaping import resampled
from molgen_plugins.audio.sound import Sound

#: Sounds that run together.
BATCH = 256
#: The weights of the digit network, beside this module.
WEIGHTS = Path(__file__).parent / "spoken_digits" / "model.safetensors"
#: What it hears: samples in a second, of a frame and between frames, frames and mel bands. Longer sounds are cut off.
RATE, WINDOW, HOP, FRAMES, BANDS = 8000, 256, 128, 64, 40
#: The levels that it tells apart lie within so many dB below the loudest, so that no sound is too quiet for it.
RANGE = 60.0
#: Numbers of the layer that is compared by, and the names of the classes.
FEATURES, DIGITS = 64, tuple("0123456789")
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")


class SpokenDigitNet(nn.Module):
    """A small convolutional network from mel levels to one of ten digits, and to one of six speakers.

    Three convolutions of stride 2, the mean over time, and one hidden layer: about 45,000 weights.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 16, 32, 64)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.hidden = nn.Linear(64 * BANDS // 8, FEATURES)
        self.digit = nn.Linear(FEATURES, len(DIGITS))
        self.speaker = nn.Linear(FEATURES, len(SPEAKERS))

    def features(self, levels: Tensor) -> Tensor:
        """Levels (N, F, M), -1 quiet to 1 loud, to the hidden layer, (N, 64)."""
        found = self.body(levels[:, None]).mean(2)
        return torch.relu(self.hidden(found.flatten(1)))

    def forward(self, levels: Tensor) -> tuple[Tensor, Tensor]:
        """Levels (N, F, M) to the logits of the digits, (N, 10), and of the speakers, (N, 6)."""
        hidden = self.features(levels)
        return self.digit(hidden), self.speaker(hidden)


def digit_features(device: str = "cpu") -> Callable[[Sequence[Sound]], np.ndarray]:
    """A function from N sounds to the hidden layer of the digit network, float32 (N, 64)."""
    network = _network(device)
    return _over_batches(network.features, device)


def digit_classes(device: str = "cpu") -> Callable[[Sequence[Sound]], np.ndarray]:
    """A function from N sounds to the probabilities of the ten digits, float32 (N, 10)."""
    network = _network(device)
    return _over_batches(lambda levels: network(levels)[0].softmax(1), device)


def speaker_classes(device: str = "cpu") -> Callable[[Sequence[Sound]], np.ndarray]:
    """A function from N sounds to the probabilities of the six speakers, float32 (N, 6)."""
    network = _network(device)
    return _over_batches(lambda levels: network(levels)[1].softmax(1), device)


def _network(device: str) -> SpokenDigitNet:
    network = SpokenDigitNet()
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(WEIGHTS).items()})
    return network.to(device).eval()


def _over_batches(function: Callable[[Tensor], Tensor], device: str) -> Callable[[Sequence[Sound]], np.ndarray]:
    """The function, called with the levels of a bounded number of sounds at a time and without gradients."""

    def run(sounds: Sequence[Sound]) -> np.ndarray:
        found = []
        with torch.inference_mode():
            for start in range(0, len(sounds), BATCH):
                levels = np.stack([levels_of(sound) for sound in sounds[start : start + BATCH]])
                found.append(function(torch.from_numpy(levels).to(device)).float().cpu().numpy())
        return np.concatenate(found)

    return run


def levels_of(sound: Sound) -> np.ndarray:
    """What the network hears of a sound: levels in mel bands, float32 (F, M), -1 to 1 for the loudest."""
    values = (sound if sound.rate == RATE else resampled(sound, RATE)).mono()
    count = HOP * (FRAMES - 1)
    values = np.pad(values, (0, max(0, count - len(values))))[:count]
    magnitudes = np.abs(spectra.spectrum_of(values, WINDOW, HOP))
    decibels = 20 * np.log10(magnitudes @ spectra.mel_weights(BANDS, WINDOW // 2 + 1, RATE) + spectra.TINY)
    return (1 + np.maximum(decibels - decibels.max(), -RANGE) * 2 / RANGE).astype(np.float32)
