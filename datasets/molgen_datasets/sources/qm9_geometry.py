"""QM9 with the positions of its atoms, in the split by which models of molecules in space are compared."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from molgen.domain import Record
from molgen_datasets.sources.qm9 import COLUMNS, PROPERTIES, QM9, as_json

#: The rule of the split, which is part of the digest.
_RULE = "permutation of numpy.random.RandomState(0): 100,000 train, 17,748 valid, 13,083 test"
_SIZES = {"train": 100_000, "valid": 17_748, "test": 13_083}


class QM9Geometry(QM9):
    """QM9 with its DFT geometries: an item is the text of an XYZ file, hydrogens included.

    The split is that of Anderson et al. (NeurIPS 2019), which EDM and its successors use: the characterised molecules
    in the order of the published data set, permuted by `numpy.random.RandomState(0)`; the first 100,000 train, the next
    17,748 are for validation, the last 13,083 for the test. It is another one than that of `qm9`, so a model that was
    trained on one has seen test molecules of the other.

    Bonds are found from the positions. For about 1 molecule in 1,000 that gives another one than the SMILES string of
    the package, which is the column `qm9_smiles`.
    """

    description = "130,831 molecules of up to nine C, N, O and F atoms in space, hydrogens included (B3LYP geometries)"
    splits: ClassVar[Mapping[str, int]] = _SIZES
    moments = ""
    #: as stored: what is a molecule here was computed, and its positions are what matters.
    canonical: ClassVar[bool] = True

    def read(self, split: str, folder: Path) -> Iterator[str]:
        """The XYZ texts."""
        return (_text(row) for row in self._rows(split, folder))

    def columns(self, split: str) -> Mapping[str, str]:
        """The 15 properties, the number in the published data set, and the SMILES of the package."""
        self.require_split(split)
        meanings = {name: meaning for name, (_, meaning) in {"index": COLUMNS["index"], **PROPERTIES}.items()}
        return {**meanings, "qm9_smiles": "SMILES as the package has it, without stereochemistry"}

    def records(self, split: str) -> Iterator[Record]:
        """The molecules with their columns."""
        rows = self._rows(split, self.fetch(split=split))
        return (_record(number, row) for number, row in enumerate(rows))

    def digest(self, split: str) -> str:
        """The hash of the pinned files' hashes, the rule of the split and its name."""
        self.require_split(split)
        lines = [f"{name} {self.files[name].sha256}" for name in sorted(self.files_of(split))]
        return hashlib.sha256("\n".join([*lines, _RULE, split]).encode()).hexdigest()

    def _rows(self, split: str, folder: Path) -> Iterator[dict[str, str]]:
        wanted = iter(members(split))
        for name in self.files:
            with (folder / name).open(encoding="ascii", newline="") as lines:
                reader = csv.reader(lines)
                header = next(reader)
                yield from (
                    dict(zip(header, row, strict=True)) for row, mine in zip(reader, wanted, strict=False) if mine
                )


@cache
def members(split: str) -> np.ndarray:
    """Which molecules, in the order of the data set, are in a split: bool (130,831,)."""
    total = sum(_SIZES.values())
    ends = np.cumsum(list(_SIZES.values()))[:-1]
    parts = dict(zip(_SIZES, np.split(np.random.RandomState(0).permutation(total), ends), strict=True))
    found = np.zeros(total, bool)
    found[parts[split]] = True
    return found


def _record(number: int, row: Mapping[str, str]) -> Record:
    values = {name: row[stored] for name, (stored, _) in PROPERTIES.items()}
    text = _text(row)
    return Record(number, text, {"index": row["Index"], **values, "qm9_smiles": row["SMILES"]}, text)


def _text(row: Mapping[str, str]) -> str:
    elements: list[str] = json.loads(as_json(row["Elements"]))
    positions = json.loads(as_json(row["XYZ_Ang"]))
    atoms = (f"{element} {x!r} {y!r} {z!r}" for element, (x, y, z) in zip(elements, positions, strict=True))
    return "\n".join([str(len(elements)), "", *atoms, ""])
