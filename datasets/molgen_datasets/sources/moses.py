"""MOSES: the drug-like molecules and the three splits of the MOSES benchmark."""

from __future__ import annotations

import gzip
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

from molgen.dataset import Progress
from molgen.errors import MolgenError
from molgen.metric import PublishedStatistics
from molgen_datasets.cache import Pin, holds
from molgen_datasets.source import Source
from molgen_datasets.wheel import Wheel, obtain

WHEEL = Wheel(
    project="molsets",
    version="0.3.1",
    size=51_584_291,
    members={
        "moses/dataset/data/train.csv.gz": Pin(
            10_238_967, "786f0313aa6b9ba5514df685f885742a70ea8d86f1a4fa48115f7f80a634265c"
        ),
        "moses/dataset/data/test.csv.gz": Pin(
            1_367_572, "f896fbf3764f88d94670b9959e5872c600c12152a18233823e820761b7a791b2"
        ),
        "moses/dataset/data/test_scaffolds.csv.gz": Pin(
            1_274_114, "adffb2192c1bfe31ab0e13154d4af19a37dc18bdbf3cd7b4491e04405128adde"
        ),
        "moses/dataset/data/test_stats.npz": Pin(
            16_781_400, "ded25073225a895d4ed17bf1d4223d27560e87ff4cb85786346ca1cc8efa03d3"
        ),
        "moses/dataset/data/test_scaffolds_stats.npz": Pin(
            15_949_706, "7b7aba6c1474634a019bebf16f389d554cb9dd1021dfc8c1d1e54430a9f0e7f8"
        ),
    },
)


class Moses(Source):
    """The MOSES benchmark: items are SMILES strings, used as stored.

    They are canonical in the RDKit of their time and have no stereochemistry. The benchmark compares
    with these very strings, so nothing rewrites them. The scaffolds of `test_scaffolds` occur in
    neither of the other splits.
    """

    domain = "molecules"
    description = "1.9 million drug-like molecules from ZINC Clean Leads, the standard set for generative models"
    licence = "MIT, as the package molsets 0.3.1 states; the molecules come from ZINC"
    citation = (
        "D. Polykovskiy et al. Molecular Sets (MOSES): A Benchmarking Platform for Molecular Generation Models. "
        "Frontiers in Pharmacology 11:565644, 2020. doi:10.3389/fphar.2020.565644"
    )
    splits: ClassVar[Mapping[str, int]] = {"train": 1_584_663, "test": 176_074, "test_scaffolds": 176_225}
    references: ClassVar[Mapping[str, str]] = {"Test": "test", "TestSF": "test_scaffolds"}
    canonical = True
    folder = "moses-0.3.1"
    files = WHEEL.files

    def files_of(self, split: str) -> tuple[str, ...]:
        """Each split has a file of its own."""
        return (f"{split}.csv.gz",)

    def digest(self, split: str) -> str:
        """The SHA-256 of the split's file."""
        self.require_split(split)
        return self.files[self.files_of(split)[0]].sha256

    def published(self, split: str) -> PublishedStatistics | None:
        """The statistics of the benchmark of its test sets, and the canonical forms of the training set."""
        from molgen_datasets.sources import moses_statistics

        folder = self.fetch(split=split)
        if split == "train":
            keys = partial(moses_statistics.keys, folder / "train.csv.gz")
            return PublishedStatistics(self.splits[split], keys=keys) if moses_statistics.keys_are_known() else None
        name = f"{split}_stats.npz"
        if name not in self.files:
            return None
        try:
            if not holds(folder / name, self.files[name]):
                self.obtain([name], folder, None)
        except MolgenError:  # they save time, and nothing else
            return None
        return moses_statistics.statistics(folder / name)

    def obtain(self, names: Collection[str], folder: Path, progress: Progress | None) -> None:
        """From the wheel of the benchmark."""
        obtain(WHEEL, names, folder, progress)

    def read(self, split: str, folder: Path) -> Iterator[str]:
        """The SMILES strings, one a line after the header."""
        with gzip.open(folder / self.files_of(split)[0], "rt", encoding="ascii", newline="\n") as lines:
            next(lines)
            for line in lines:
                yield line[:-1]
