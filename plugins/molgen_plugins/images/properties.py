"""Numbers and features of canonical images, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from molgen_plugins.images.raster import brightness

#: Parts of a thumbnail along each side.
SIDE = 16


def intensity(image: np.ndarray) -> float:
    """Mean luma, 0 (black) to 1 (white)."""
    return float(brightness(image).mean())


def contrast(image: np.ndarray) -> float:
    """Root-mean-square contrast: the standard deviation of the luma (Peli, J. Opt. Soc. Am. A 7(10), 1990)."""
    return float(brightness(image).std())


def ink(image: np.ndarray) -> float:
    """Share of the pixels that are brighter than half, as the strokes of digits on a black ground are."""
    return float((brightness(image) > 0.5).mean())


def pixels(image: np.ndarray) -> np.ndarray:
    """All values from 0 to 1 as one float32 vector, for distances between images of one size."""
    return image.reshape(-1).astype(np.float32) / 255


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Means of red, green and blue, 0 to 1, over 16 by 16 parts: one float32 vector (768,) for images of any size."""
    small = Image.fromarray(image).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32).reshape(-1) / 255


PROPERTIES: Mapping[str, Callable[[np.ndarray], float]] = {"intensity": intensity, "contrast": contrast, "ink": ink}
FEATURES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {"pixels": pixels, "thumbnail": thumbnail}
