"""Contact sheets of sounds: the waveform of each above its spectrogram.

Letters in shapes: N samples, W pixels across.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from molgen.domain import Invalid, Item
from molgen_plugins.audio import spectra
from molgen_plugins.audio.sound import Sound, canonical
from molgen_plugins.media import sheets

#: Width of a cell, heights of the waveform and of the spectrogram, in pixels, and the most cells beside each other.
_WIDTH, _WAVE, _SPECTRUM, _COLUMNS = 160, 44, 64, 6
#: Seconds that the whole width stands for at least, so that short sounds are seen to be short.
_SECONDS = 1.0
#: Decibels from black to white, and seconds of a frame.
_RANGE, _FRAME = 70.0, 0.032


def sheet(items: Sequence[Item | Invalid], legends: Sequence[str] | None = None) -> str:
    """Draw sounds in a grid, in their order, each above its legend if there are legends.

    Time runs from left to right, a second or the whole sound; the spectrogram has low frequencies at the bottom, and
    is the darker the louder. What is no sound gets a cell that says why.

    Raises:
        ValueError: the number of legends is not the number of items.
    """
    cells = sheets.Cells("sound", "sounds", _WIDTH, _WAVE + _SPECTRUM, _COLUMNS, canonical, _drawn)
    return sheets.sheet(cells, items, legends)


def _drawn(sound: Sound) -> str:
    values = sound.mono()
    across = max(2, round(_WIDTH * min(1.0, sound.seconds / _SECONDS)))
    frame = f'<rect width="{_WIDTH}" height="{_WAVE + _SPECTRUM}" fill="none" stroke="#dddddd"/>'
    picture = (
        f'<image y="{_WAVE}" width="{across}" height="{_SPECTRUM}" preserveAspectRatio="none" href="{_png(sound)}"/>'
    )
    title = f"<title>{sound.seconds:.2f} s</title>"
    return "\n".join([title, frame, f'<path d="{_outline(values, across)}" fill="#2b5b8a"/>', picture])


def _outline(values: np.ndarray, across: int) -> str:
    """The highest and the lowest value at each pixel, as one shape."""
    starts = np.minimum(np.arange(across) * len(values) // across, len(values) - 1)
    high, low = np.maximum.reduceat(values, starts), np.minimum.reduceat(values, starts)
    middle, scale = _WAVE / 2, _WAVE / 2 - 1
    above = [f"{x},{middle - scale * y - 0.5:.1f}" for x, y in enumerate(high)]
    below = [f"{x},{middle - scale * y + 0.5:.1f}" for x, y in reversed(list(enumerate(low)))]
    return f"M{'L'.join([*above, *below])}Z"


def _png(sound: Sound) -> str:
    """The spectrogram as a grey picture within a link, at most four times as large as it is shown."""
    values = sound.mono()
    window = 4 * max(4, round(_FRAME * sound.rate / 4))
    hop = window // 4
    padded = np.pad(values, (0, max(window, -(-len(values) // hop) * hop) - len(values)))
    magnitudes = np.abs(spectra.spectrum_of(padded, window, hop)) / window
    levels = 20 * np.log10(magnitudes.T[::-1] + spectra.TINY)
    grey = 255 * (1 - np.clip(1 + (levels - levels.max()) / _RANGE, 0, 1))
    picture = Image.fromarray(grey.astype(np.uint8))
    picture.thumbnail((2 * _WIDTH, 2 * _SPECTRUM))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
