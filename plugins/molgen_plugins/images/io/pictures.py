"""How pictures lie in files."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from molgen.domain import Record
from molgen_plugins.images.io import arrays
from molgen_plugins.images.raster import canonical, encoded
from molgen_plugins.media.containers import Container
from molgen_plugins.media.kind import Encoding, Kind


def _npy(box: Container, name: str) -> Iterator[Record]:
    with box.open(name) as stream:
        yield from arrays.npy(stream, name)


def _npz(box: Container, name: str) -> Iterator[Record]:
    with box.open(name) as stream:
        yield from arrays.npz(stream, name, None)


#: Pictures in files, also of kinds that are then refused with a reason.
PICTURES = Kind(
    noun="image",
    plural="pictures",
    column="image",
    forms=("image", "canonical_image", "as_generated"),
    usual=("image", "file", "file_name", "filename", "path", "picture", "img"),
    endings=("png", "jpg", "jpeg", "jfif", "gif", "bmp", "ppm", "pgm", "pbm", "pnm", "webp", "tif", "tiff"),
    shown=".png, .jpg or .npz",
    held=np.ndarray,
    canonical=canonical,
    arrays={"npy": _npy, "npz": _npz},
)
#: What they are written as.
PNG = Encoding("png", "image/png", encoded)
