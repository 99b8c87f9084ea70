"""Cutting molecules along the bonds of BRICS (Degen et al., ChemMedChem 3(10), 2008), as RDKit defines them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from operator import attrgetter

from rdkit import Chem

from molgen_plugins.molecules.chemistry.atom_environment import Remembered

#: What an atom must be so that a bond to it may be cut, by the label that its fragment then shows.
_ENVIRONMENTS = {
    1: "[C;D3]([#0,#6,#7,#8])(=O)",
    3: "[O;D2]-;!@[#0,#6,#1]",
    4: "[C;!D1;!$(C=*)]-;!@[#6]",
    5: "[N;!D1;!$(N=*);!$(N-[!#6;!#16;!#0;!#1]);!$([N;R]@[C;R]=O)]",
    6: "[C;D3;!R](=O)-;!@[#0,#6,#7,#8]",
    7: "[C;D2,D3]-[#6]",
    8: "[C;!R;!D1;!$(C!-*)]",
    9: "[n;+0;$(n(:[c,n,o,s]):[c,n,o,s])]",
    10: "[N;R;$(N(@C(=O))@[C,N,O,S])]",
    11: "[S;D2](-;!@[#0,#6])",
    12: "[S;D4]([#6,#0])(=O)(=O)",
    13: "[C;$(C(-;@[C,N,O,S])-;@[N,O,S])]",
    14: "[c;$(c(:[c,n,o,s]):[n,o,s])]",
    15: "[C;$(C(-;@C)-;@C)]",
    16: "[c;$(c(:c):c)]",
}
#: Pairs of labels between which a bond is cut; the last that fits a bond names its ends. Only 7-7 is a double bond.
_PAIRS = (
    *((1, 3), (1, 5), (1, 10), (3, 4), (3, 13), (3, 14), (3, 15), (3, 16), (4, 5), (4, 11)),
    *((5, 12), (5, 14), (5, 16), (5, 13), (5, 15), (6, 13), (6, 14), (6, 15), (6, 16), (7, 7)),
    *((8, 9), (8, 10), (8, 13), (8, 14), (8, 15), (8, 16), (9, 13), (9, 14), (9, 15), (9, 16)),
    *((10, 13), (10, 14), (10, 15), (10, 16), (11, 13), (11, 14), (11, 15), (11, 16)),
    *((13, 14), (13, 15), (13, 16), (14, 14), (14, 15), (14, 16), (15, 16), (16, 16)),
)
_PATTERNS = {label: Chem.MolFromSmarts(f"[$({smarts})]") for label, smarts in _ENVIRONMENTS.items()}
_SINGLE, _DOUBLE = Chem.MolFromSmarts("*-;!@*"), Chem.MolFromSmarts("*=;!@*")


def fragments(molecule: Chem.Mol) -> list[str]:
    """The fragments of a sanitised molecule as SMILES with labels at the cuts, each as often as it occurs."""
    labels = _labels(molecule)
    cuts: list[int] = []
    dummies: list[tuple[int, int]] = []
    for pattern, double in ((_SINGLE, False), (_DOUBLE, True)):
        for pair in molecule.GetSubstructMatches(pattern):
            ends = _ends(labels[pair[0]], labels[pair[1]], double)
            if ends is not None:
                bond = molecule.GetBondBetweenAtoms(*pair)
                cuts.append(bond.GetIdx())
                # the first number is for the atom that takes the place of the bond's begin
                dummies.append(ends if bond.GetBeginAtomIdx() == pair[1] else ends[::-1])
    whole = Chem.FragmentOnBonds(molecule, cuts, dummyLabels=dummies) if cuts else molecule
    return Chem.MolToSmiles(whole).split(".")


@functools.cache
def _ends(first: frozenset[int], second: frozenset[int], double: bool) -> tuple[int, int] | None:
    """The labels of both ends of a bond whose atoms could have these, or None where it is not cut."""
    for one, other in reversed(_PAIRS):
        if double != (one == other == 7):
            continue
        if one in first and other in second:
            return one, other
        if one in second and other in first:
            return other, one
    return None


def _found_labels(molecule: Chem.Mol, atoms: Sequence[int]) -> list[frozenset[int]]:
    matches = {label: molecule.GetSubstructMatches(pattern) for label, pattern in _PATTERNS.items()}
    return [frozenset(label for label, found in matches.items() if (atom,) in found) for atom in atoms]


_labels = Remembered(attrgetter("far"), _found_labels)
