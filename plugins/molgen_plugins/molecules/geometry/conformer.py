"""A molecule with positions of its atoms, as plain data that crosses process borders. This module imports no RDKit.

Letters in shapes: N atoms.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

#: Decimals of a position, in ångström, beyond which two geometries are the same one.
DECIMALS = 4


class Conformer(str):
    """The SMILES string of a molecule that carries the positions of its atoms.

    To whatever asks for no positions, such as a table, a property or an encoder of strings, it is the molecule that the
    string says, and equal conformers are equal molecules. In canonical form (`standard.canonical`) the string is the
    canonical isomeric SMILES, and atoms stand in its order, hydrogens behind all others; those that symmetry makes
    alike stand in any order. Before that the string may be empty: atoms whose molecule nobody has looked for yet.

    Attributes:
        elements: atomic numbers, uint8 (N,).
        positions: in ångström, float64 (N, 3).
        charges: formal charges, int8 (N,).
        bonds: their orders, 0 to 3 in a Kekulé form, uint8 (N, N) and symmetric; None where they are to be found from
            the positions.
        origin: where the positions come from, such as "ETKDGv3, MMFF94"; empty for those of a file.
    """

    __slots__ = ("bonds", "charges", "elements", "origin", "positions")

    elements: np.ndarray
    positions: np.ndarray
    charges: np.ndarray
    bonds: np.ndarray | None
    origin: str

    def __new__(
        cls,
        smiles: str,
        elements: Any,
        positions: Any,
        charges: Any = None,
        bonds: Any = None,
        origin: str = "",
    ) -> Conformer:
        """Take over the arrays.

        Raises:
            ValueError: they are not of one molecule.
        """
        self = super().__new__(cls, smiles)
        self.elements = _fixed(elements, np.uint8)
        self.positions = _fixed(positions, np.float64)
        count = len(self.elements)
        self.charges = _fixed(np.zeros(count) if charges is None else charges, np.int8)
        self.bonds = None if bonds is None else _fixed(bonds, np.uint8)
        self.origin = origin
        shapes = (self.elements.shape, self.positions.shape, self.charges.shape)
        pairs = (count, count) if self.bonds is None else self.bonds.shape
        if (*shapes, pairs) != ((count,), (count, 3), (count,), (count, count)):
            raise ValueError(f"{count} atoms have elements (N,), positions (N, 3), charges (N,) and bonds (N, N)")
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.elements, self.positions, self.charges, self.bonds, self.origin)

    @property
    def nbytes(self) -> int:
        """Bytes of the string and of the arrays."""
        arrays = (self.elements, self.positions, self.charges, self.bonds)
        return len(self) + sum(array.nbytes for array in arrays if array is not None)

    @property
    def content(self) -> str:
        """The same for the same molecule at the same positions, up to 10^-4 Å, and different otherwise."""
        places = np.round(self.positions, DECIMALS) + 0.0
        order = np.lexsort((*places.T, self.elements))  # atoms that symmetry makes alike may stand in any order
        bonds = None if self.bonds is None else self.bonds[np.ix_(order, order)]
        parts = (self.elements[order], places[order], self.charges[order], bonds)
        digest = hashlib.sha256(b"\0".join(b"-" if part is None else part.tobytes() for part in parts))
        return f"{self!s} {digest.hexdigest()}"


def _fixed(values: Any, kind: type[np.generic]) -> np.ndarray:
    array = np.array(values, dtype=kind)
    array.flags.writeable = False
    return array
