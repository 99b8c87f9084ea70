"""The domain of images. An item is an array of pixels, or the bytes of a file until somebody looks at it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

from molgen.domain import Descriptors, Domain, Invalid, Item, Record
from molgen_plugins.media.describing import Suite, compared, described

if TYPE_CHECKING:
    import numpy as np

#: Suites of metrics by the network whose features they compare; see `networks`.
SUITES: Mapping[str, Suite] = {
    "digits": {
        "Valid": ("validity", {}),
        "Unique": ("uniqueness", {}),
        "Novel": ("novelty", {}),
        **compared("digits", enough=10_000),
        "Class score": ("class_score", {"feature": "digit_classes", "enough": 10_000}),
        "Class distance/{}": ("class_distance", {"feature": "digit_classes", "enough": 10_000}),
    },
    "imagenet": compared("imagenet", enough=10_000),
}


class Images(Domain):
    """Images as uint8 arrays, (H, W) or (H, W, 3); equal images have equal shapes and pixels.

    What a file holds stays encoded when it is read, so that hostile files are decoded in workers only.
    """

    column: ClassVar[str] = "image"
    networks: ClassVar[Mapping[str, str]] = {
        "digits": "molgen_plugins.images.networks:digit_features",
        "digit_classes": "molgen_plugins.images.networks:digit_classes",
        "imagenet": "molgen_plugins.images.networks:imagenet_features",
    }
    default_encoder: ClassVar[str | None] = "images.pixels"
    usual_output: ClassVar[str] = "generated"
    inspector: ClassVar[str | None] = "molgen_plugins.images.inspection:inspector"
    file_ending: ClassVar[str] = "png"
    distance_feature: ClassVar[str | None] = "thumbnail"
    predictor: ClassVar[str] = "linear"

    def examples(self) -> list[Item]:
        """Small drawings in black and white, in grey and in colour, of several sizes."""
        from molgen_plugins.images import examples

        return examples.examples()

    def canonical(self, item: Item) -> Item | Invalid:
        """The array of an image, or why there is none; see `raster.canonical`. Never raises on bad data."""
        from molgen_plugins.images import raster

        return raster.canonical(item)

    def key(self, item: Item) -> str:
        """The shape and a hash of shape and pixels."""
        from molgen_plugins.images import raster

        return raster.key(item)

    def suites(self) -> Mapping[str, Suite]:
        """Metrics of distributions by the digit network, with its classes, and by EfficientNet-Lite0."""
        return SUITES

    def descriptors(self) -> Descriptors:
        """Intensity, contrast and ink (NaN where there is no image), and the pixels as a feature; no filters."""
        from molgen_plugins.images import properties, raster

        return described(raster.canonical, properties.PROPERTIES, properties.FEATURES)

    def read(
        self, source: str | Path | IO[bytes], *, format: str | None = None, column: str | None = None
    ) -> Iterator[Record]:
        """The pictures of a folder, an archive, an array, a table or a single file; see `files.read`."""
        from molgen_plugins.images.io import files

        return files.read(source, format=format, column=column)

    def write(
        self, rows: Iterable[Mapping[str, Any]], target: str | Path | IO[bytes], *, format: str | None = None
    ) -> int:
        """Write rows with the column `image` as a folder of PNG files, `.zip`, `.npz` or `.csv`; see `files.write`."""
        from molgen_plugins.images.io import files

        return files.write(rows, target, format=format)

    def stored(self, item: Item) -> str | bytes:
        """The image as a PNG file."""
        from molgen_plugins.images import raster

        return raster.encoded(item)

    def from_stored(self, value: str | bytes) -> Item | Invalid:
        """The array of an image that lies in a column as a file."""
        return self.canonical(value)

    def canary(self, rng: np.random.Generator, items: Sequence[Item]) -> Item | Invalid:
        """Random blocks in black and white, or of random colours, of the size of the first of some real images."""
        from molgen_plugins.images.examples import blocks

        return blocks(rng, next((item.shape for item in items), (28, 28)))

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether it is a picture, a folder with pictures in it, an archive, an array or a table of pictures."""
        from molgen_plugins.images.io import files

        return files.recognises(path)

    def draw(self, items: Sequence[Item], legends: Sequence[str] | None = None) -> str:
        """A contact sheet of up to 100 images as one SVG document without external references."""
        from molgen_plugins.images.io import drawing

        return drawing.sheet(items, legends)
