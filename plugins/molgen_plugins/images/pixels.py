"""Images as grids of quantised pixels. This module imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageOps

from molgen.domain import Encoder, Invalid, Item, Sample
from molgen.space import Axis, Real, Space
from molgen_plugins.images.raster import PIXEL_LIMIT, canonical

_KINDS = {1: "greyscale", 3: "colour"}


@dataclass(frozen=True)
class PixelsConfig:
    """Settings of the pixel encoder.

    Attributes:
        height: rows of a picture.
        width: columns of a picture.
        channels: 1 for greyscale, 3 for colour.
        levels: a power of two from 2 to 256, into which the 256 levels of a pixel are divided.
        resize: scale pictures of another size until they cover this one, and cut off what is over at both ends.
        convert: turn colour into greyscale by its luma, or greyscale into colour, where the picture is the other.
    """

    height: int = 28
    width: int = 28
    channels: int = 1
    levels: int = 256
    resize: bool = False
    convert: bool = False

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1 or self.height * self.width > PIXEL_LIMIT:
            raise ValueError(f"height and width must be at least 1 and make at most {PIXEL_LIMIT:,} pixels")
        if self.channels not in _KINDS:
            raise ValueError(f"channels must be 1 (greyscale) or 3 (colour), not {self.channels}")
        if not 2 <= self.levels <= 256 or self.levels & (self.levels - 1):
            raise ValueError(f"levels must be a power of two from 2 to 256, not {self.levels}")


class Pixels(Encoder):
    """Images as one quantised field `pixels` of shape (height, width, channels).

    With 256 levels nothing is lost. With fewer, L, a pixel v becomes the level floor(v L / 256), as in the
    experiments with n bits per channel of Kingma and Dhariwal (NeurIPS 2018); level k is decoded to the nearest
    whole number to 255 k / (L - 1), which lies in the cell of k, so that black stays black and white white:
    two levels lose nothing of a picture in black and white. A density is of the levels: divided by
    height x width x channels x ln 2 it is in bits per dimension.
    """

    Config: ClassVar[type] = PixelsConfig
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"height": 4, "width": 4, "levels": 4, "resize": True, "convert": True}

    def __init__(self, config: PixelsConfig | None = None) -> None:
        self.config = config or PixelsConfig()
        c = self.config
        axes = (Axis("row", c.height, variable=False), Axis("column", c.width, variable=False))
        self._space = {"pixels": Real(axes, channels=(c.channels,), levels=c.levels)}
        self._shades = np.rint(np.arange(c.levels) * (255 / (c.levels - 1))).astype(np.uint8)

    @property
    def space(self) -> Space:
        """One field, `pixels`, along the fixed axes `row` and `column`."""
        return self._space

    @classmethod
    def settings_for(cls, items: Iterable[Item]) -> Mapping[str, Any]:
        """The most frequent height, width and number of channels."""
        shapes = Counter(image.shape for image in map(canonical, items) if not isinstance(image, Invalid))
        if not shapes:
            return {}
        height, width, *colours = shapes.most_common(1)[0][0]
        return {"height": height, "width": width, "channels": 3 if colours else 1}

    def encode(self, item: Item) -> Sample | Invalid:
        """The levels of the pixels, uint8 (height, width, channels), or why the item has none here."""
        image = canonical(item)
        if isinstance(image, Invalid):
            return image
        fitting = self._fitted(image)
        if isinstance(fitting, Invalid):
            return fitting
        levels = (fitting.astype(np.uint16) * self.config.levels >> 8).astype(np.uint8)
        return {"pixels": levels.reshape(self.config.height, self.config.width, self.config.channels)}

    def _fitted(self, image: np.ndarray) -> np.ndarray | Invalid:
        """The image in the channels and the size of this encoder, changed only as the settings allow."""
        c = self.config
        channels = 1 if image.ndim == 2 else 3
        if channels != c.channels:
            if not c.convert:
                what = f"the image is {_KINDS[channels]}; this encoder takes {_KINDS[c.channels]}"
                return Invalid(f"{what} (the setting convert turns one into the other)")
            image = np.asarray(Image.fromarray(image).convert("L" if c.channels == 1 else "RGB"))
        if image.shape[:2] != (c.height, c.width):
            if not c.resize:
                what = f"the image is {_size(image.shape)}; this encoder takes {_size((c.height, c.width))}"
                return Invalid(f"{what} (the setting resize scales it)")
            image = np.asarray(ImageOps.fit(Image.fromarray(image), (c.width, c.height), Image.Resampling.BICUBIC))
        return image

    def decode(self, sample: Sample) -> Item | Invalid:
        """The image of a sample, uint8 (height, width) or (height, width, 3); every sample has one."""
        image = self._shades[sample["pixels"]]
        return image[..., 0] if self.config.channels == 1 else image


def _size(shape: tuple[int, ...]) -> str:
    """A size as people say it: the width first."""
    return f"{shape[1]}x{shape[0]}"
