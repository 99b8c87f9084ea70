"""What a graph does with stereochemistry: refuse it, drop it, or keep it as labels.

Labels are those of Cahn, Ingold and Prelog (R and S of atoms, E and Z of double bonds). They do not depend on the
order of the atoms, as clockwise and anticlockwise do; the axis of the atoms has no order, so nothing else can lie
along it. Which configuration has given labels is found by trial, because every label can depend on every other.

Letters in shapes: N atoms of one molecule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdCIPLabeler

from molgen.domain import Invalid, Sample
from molgen.space import Axis, Categorical, Space
from molgen_plugins.molecules.graph.build import written

#: Labels of atoms; the class of an atom is its place here.
ATOM_LABELS = ("", "R", "S")
_LABEL_OF_BOND = {"double E": "E", "double Z": "Z"}

_has_stereo = re.compile(r"[@/\\]").search


class Stereo:
    """One way to treat stereochemistry."""

    #: further classes of bonds.
    bonds: ClassVar[tuple[str, ...]] = ()

    def fields(self, atom: Axis) -> Space:
        """Further fields along the axis of the atoms."""
        return {}

    def written(self, molecule: Chem.Mol, item: str) -> str | Invalid:
        """The canonical SMILES of what is encoded of a molecule that was read from `item`, or why nothing is."""
        return written(molecule)

    def refusal(self, smiles: str) -> str | None:
        """Why a canonical SMILES is not encoded, if it is not."""
        return None

    def labelled(self, smiles: str, bonds: np.ndarray, names: Sequence[str]) -> Mapping[str, np.ndarray] | Invalid:
        """The further fields of a canonical SMILES; labels of bonds are entered into `bonds`, (N, N)."""
        return {}

    def configured(self, molecule: Chem.Mol, sample: Sample, names: Sequence[str]) -> Chem.Mol | Invalid:
        """The same sanitised molecule with the configuration that the labels ask for, or why there is none."""
        return molecule


class Refused(Stereo):
    """A molecule with stereochemistry is not encoded."""

    def refusal(self, smiles: str) -> str | None:
        """The way out."""
        if not _has_stereo(smiles):
            return None
        return "stereochemistry is refused; encoder.stereo=drop leaves it out, encoder.stereo=keep keeps it"


class Dropped(Stereo):
    """A molecule is encoded without its stereochemistry."""

    def written(self, molecule: Chem.Mol, item: str) -> str | Invalid:
        """The canonical SMILES of the flat molecule."""
        if _has_stereo(item):
            Chem.RemoveStereochemistry(molecule)
        return written(molecule)


class Kept(Stereo):
    """R and S are the field `chirality`, class ids (N,) by `ATOM_LABELS`; E and Z are classes of bonds."""

    bonds = tuple(_LABEL_OF_BOND)

    def fields(self, atom: Axis) -> Space:
        """The field `chirality`."""
        return {"chirality": Categorical((atom,), classes=len(ATOM_LABELS))}

    def labelled(self, smiles: str, bonds: np.ndarray, names: Sequence[str]) -> Mapping[str, np.ndarray] | Invalid:
        """The field `chirality`; hydrogens that are atoms have no label."""
        labels = np.zeros(len(bonds), np.uint8)
        if not _has_stereo(smiles):
            return {"chirality": labels}
        molecule = Chem.MolFromSmiles(smiles)
        problem = _label(molecule)
        if problem:
            return Invalid(problem)
        for atom in molecule.GetAtoms():
            label = _label_of(atom)
            labels[atom.GetIdx()] = ATOM_LABELS.index(label) if label in ATOM_LABELS else 0
        for bond in molecule.GetBonds():
            if (name := f"double {_label_of(bond)}") in _LABEL_OF_BOND:
                start, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
                bonds[start, end] = bonds[end, start] = names.index(name)
        return {"chirality": labels}

    def configured(self, molecule: Chem.Mol, sample: Sample, names: Sequence[str]) -> Chem.Mol | Invalid:
        """The molecule with the configuration of these labels; every label must be one that it can have."""
        centres = np.flatnonzero(sample["chirality"]).tolist()
        numbers = [names.index(name) for name in self.bonds]
        pairs = np.argwhere(np.isin(np.tril(sample["bonds"], -1), numbers)).tolist()
        if not centres and not pairs:
            return molecule
        Chem.AssignStereochemistry(molecule)  # once, or the writer does it, and forgets the sides of double bonds
        places = [_centre(molecule, i, ATOM_LABELS[sample["chirality"][i]]) for i in centres]
        for i, j in pairs:
            place = _double_bond(molecule, i, j, _LABEL_OF_BOND[names[sample["bonds"][i, j]]])
            if isinstance(place, Invalid):
                return place
            places.append(place)
        return _search(molecule, places)


@dataclass(frozen=True)
class _Place:
    """A stereo centre or double bond: its name, what bears its label, the label asked for, and how to flip it."""

    name: str
    part: Chem.Atom | Chem.Bond
    wanted: str
    flip: Callable[[], object]

    @property
    def wrong(self) -> bool:
        return _label_of(self.part) != self.wanted


def _centre(molecule: Chem.Mol, index: int, wanted: str) -> _Place:
    atom = molecule.GetAtomWithIdx(index)
    atom.SetChiralTag(Chem.ChiralType.CHI_TETRAHEDRAL_CW)
    return _Place(f"atom {index}", atom, wanted, atom.InvertChirality)


def _double_bond(molecule: Chem.Mol, i: int, j: int, wanted: str) -> _Place | Invalid:
    """The bond, with two neighbours on opposite sides."""
    bond = molecule.GetBondBetweenAtoms(i, j)
    before = _neighbours(bond.GetBeginAtom(), bond.GetEndAtom())
    behind = _neighbours(bond.GetEndAtom(), bond.GetBeginAtom())
    if not before or not behind or bond.GetBondType() != Chem.BondType.DOUBLE:
        return Invalid(f"double bond {j}-{i} cannot be {wanted}")
    bond.SetStereoAtoms(before[0], behind[0])
    sides = {Chem.BondStereo.STEREOTRANS: Chem.BondStereo.STEREOCIS}
    sides |= {cis: trans for trans, cis in sides.items()}
    bond.SetStereo(Chem.BondStereo.STEREOTRANS)
    return _Place(f"double bond {j}-{i}", bond, wanted, lambda: bond.SetStereo(sides[bond.GetStereo()]))


def _neighbours(atom: Chem.Atom, other: Chem.Atom) -> list[int]:
    """The further neighbours of an atom, hydrogens last: they may become a part of it, and take its side with them."""
    found = [neighbour for neighbour in atom.GetNeighbors() if neighbour.GetIdx() != other.GetIdx()]
    return [neighbour.GetIdx() for neighbour in sorted(found, key=lambda each: each.GetAtomicNum() == 1)]


def _search(molecule: Chem.Mol, places: Sequence[_Place]) -> Chem.Mol | Invalid:
    """Flip all that are wrong, then one after the other as long as that helps: most labels depend on no other."""
    problem, wrong = _wrong(molecule, places)
    for group in [wrong, *([place] for place in places)]:
        if problem or not wrong:
            break
        _flip(group)
        problem, now = _wrong(molecule, places)
        if len(now) < len(wrong):
            wrong = now
        else:
            _flip(group)
    if problem:
        return Invalid(problem)
    return Invalid(f"{wrong[0].name} cannot be {wrong[0].wanted}") if wrong else molecule


def _flip(places: Sequence[_Place]) -> None:
    for place in places:
        place.flip()


def _wrong(molecule: Chem.Mol, places: Sequence[_Place]) -> tuple[str | None, list[_Place]]:
    return _label(molecule), [place for place in places if place.wrong]


def _label(molecule: Chem.Mol) -> str | None:
    """Give all labels anew; why that is impossible, if it is."""
    parts: list[Chem.Atom | Chem.Bond] = [*molecule.GetAtoms(), *molecule.GetBonds()]
    for part in parts:
        part.ClearProp("_CIPCode")
    try:
        rdCIPLabeler.AssignCIPLabels(molecule)
    except RuntimeError:
        return "its stereo labels are too hard to find"
    return None


def _label_of(part: Chem.Atom | Chem.Bond) -> str:
    """The label; that of a centre whose branches differ in labels only, r or s, counts as R or S."""
    return part.GetProp("_CIPCode").upper() if part.HasProp("_CIPCode") else ""


#: What `stereo` can be set to.
STEREO: Mapping[str, type[Stereo]] = {"refuse": Refused, "drop": Dropped, "keep": Kept}
