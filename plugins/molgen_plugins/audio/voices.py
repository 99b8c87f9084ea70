"""Features of voices: the speaker encoder of Resemblyzer (Wan et al., ICASSP 2018, GE2E loss), 256 numbers a sound.

Its weights are an extra that is only read, never imported: `pip install --no-deps resemblyzer==0.1.4`. They were
trained on English speech at 16 kHz to tell speakers apart. Its own preparation is followed, but for the removal of
long silences; see `mel_frames` and `partials`.

Letters in shapes: N sounds, F frames, P parts of a sound.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann
from torch import Tensor, nn

from molgen.errors import MolgenError
from molgen_plugins.audio.properties import loudness
from molgen_plugins.audio.shaping import resampled
from molgen_plugins.audio.sound import Sound

#: Samples in a second, of a frame and between frames, and mel bands.
RATE, WINDOW, HOP, BANDS = 16_000, 400, 160, 40
#: Frames of a part, and from one part to the next; the share of the last part that must be there.
PART, STEP, COVERAGE = 160, 77, 0.75
#: Numbers of a voice, and the level that quieter sounds are brought to.
WIDTH, LEVEL = 256, -30.0
#: Parts that run together.
BATCH = 128
_WEIGHTS = ("resemblyzer", "pretrained.pt")
_MISSING = "the features of voices need an extra; type: pip install --no-deps resemblyzer==0.1.4"


class VoiceNet(nn.Module):
    """Three layers of LSTM over mel frames; the last state, projected, none negative, of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(BANDS, WIDTH, 3, batch_first=True)
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, frames: Tensor) -> Tensor:
        """Mel frames (P, 160, 40) to (P, 256)."""
        _, (hidden, _) = self.lstm(frames)
        return nn.functional.normalize(torch.relu(self.linear(hidden[-1])), dim=1)


def voice_features(device: str = "cpu") -> Callable[[Sequence[Sound]], np.ndarray]:
    """A function from N sounds to their voices, float32 (N, 256).

    Raises:
        MolgenError: the weights are not installed.
    """
    network = VoiceNet()
    network.load_state_dict(_weights(), strict=True)
    network.to(device).eval()

    def run(sounds: Sequence[Sound]) -> np.ndarray:
        cut = [partials(mel_frames(sound)) for sound in sounds]
        rows = torch.from_numpy(np.concatenate(cut))
        with torch.inference_mode():
            each = torch.cat([network(part.to(device)).float().cpu() for part in rows.split(BATCH)])
        means = torch.stack([part.mean(0) for part in each.split([len(one) for one in cut])])
        return nn.functional.normalize(means, dim=1).numpy()

    return run


def _weights() -> dict[str, Tensor]:
    package, name = _WEIGHTS
    spec = importlib.util.find_spec(package)
    for folder in spec.submodule_search_locations or () if spec else ():
        if (path := Path(folder) / name).is_file():
            found = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
            return {key: tensor for key, tensor in found.items() if not key.startswith("similarity")}
    raise MolgenError(_MISSING)


def mel_frames(sound: Sound) -> np.ndarray:
    """Power in 40 mel bands, float32 (F, 40), of a sound at 16 kHz that is not quieter than -30 dB."""
    values = (sound if sound.rate == RATE else resampled(sound, RATE)).mono()
    values = values * 10 ** (max(0.0, LEVEL - loudness(sound)) / 20)
    short = ShortTimeFFT(hann(WINDOW, sym=False), HOP, fs=RATE)
    frames = 1 + len(values) // HOP
    padded = np.pad(values, (0, max(0, WINDOW - len(values))))
    power = np.square(np.abs(short.stft(padded, p0=0, p1=frames))).T
    return (power @ _bands()).astype(np.float32)


@lru_cache(maxsize=1)
def _bands() -> np.ndarray:
    """Triangles of equal area on the scale of Slaney's Auditory Toolbox: a line to 1 kHz, then a logarithm."""
    top = 15 + 27 * np.log(RATE / 2 / 1000) / np.log(6.4)
    mels = np.linspace(0, top, BANDS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))
    places = np.linspace(0, RATE / 2, WINDOW // 2 + 1)[:, None]
    rising = (places - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - places) / (edges[2:] - edges[1:-1])
    return np.maximum(0.0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])


def partials(frames: np.ndarray) -> np.ndarray:
    """Overlapping parts of 1.6 s, (P, 160, 40); silence behind the sound, and no last part that is mostly silence."""
    starts = list(range(0, max(1, len(frames) - PART + STEP + 1), STEP))
    if len(starts) > 1 and (len(frames) - starts[-1]) / PART < COVERAGE:
        starts.pop()
    padded = np.pad(frames, ((0, max(0, starts[-1] + PART - len(frames))), (0, 0)))
    return np.stack([padded[start : start + PART] for start in starts])
