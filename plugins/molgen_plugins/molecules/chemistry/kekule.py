"""Aromatic rings written with alternating single and double bonds, every other token of the string as it was.

A model that writes `C1=CC=CC=C1` instead of `c1ccccc1` decides about each bond when it writes it, so that no
ring can turn out to have no Kekulé structure in the end. Atoms are counted from 0 in the order of the string.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from rdkit import Chem, rdBase

from molgen.domain import Invalid

_AROMATIC_ATOM = re.compile(r"\[\d*(?:[bcnops]|as|se|te|si)(?![a-z])|[bcnops]$")
_BONDS = frozenset("-=#$:/\\~") | {"->", "<-"}
#: Bonds that an aromatic string may spell out and a Kekulé string does not.
_DROPPED = frozenset("-:")
#: The orders of bonds as RDKit counts them.
_AROMATIC, _DOUBLE = 1.5, 2.0
#: Pairs that are tried in the search for the earliest double bonds of one molecule.
SEARCHED = 2000

UNREADABLE = "aromatic atoms in a string that is not whole have no Kekulé form; write a ring as in C1=CC=CC=C1"

Pair = tuple[int, int]


@lru_cache(4096)
def is_aromatic(token: str) -> bool:
    """Whether a token is an aromatic atom: `c`, `[nH]`, `[13cH]`."""
    return _AROMATIC_ATOM.match(token) is not None


@lru_cache(4096)
def atom(token: str) -> str:
    """The token of the same atom outside aromatic notation; any other token stays."""
    if token == "[nH]":  # three bonds need no bracket
        return "N"
    return re.sub(r"[a-z]", lambda letter: letter[0].upper(), token, count=1) if is_aromatic(token) else token


def rewritten(tokens: Sequence[str]) -> list[str] | Invalid:
    """The tokens of the Kekulé form: the atoms stay in their order, double bonds come as early as they can.

    A string without aromatic atoms stays as it is, read or not.
    """
    if not any(map(is_aromatic, tokens)):
        return list(tokens)
    bonds = _double_bonds("".join(tokens))
    return bonds if isinstance(bonds, Invalid) else _Writer(bonds).written(tokens)


def _double_bonds(smiles: str) -> dict[Pair, bool] | Invalid:
    """Whether each aromatic bond becomes a double one."""
    with rdBase.BlockLogs():
        try:
            molecule = Chem.MolFromSmiles(smiles, sanitize=False)
            if molecule is None:
                return Invalid(UNREADABLE)
            if "*" in smiles and _open_in_a_ring(molecule):
                return Invalid("an attachment point in an aromatic ring has no Kekulé form")
            molecule.UpdatePropertyCache(strict=False)
            aromatic = np.argwhere(np.triu(_orders(molecule) == _AROMATIC)).tolist()
            Chem.Kekulize(molecule, clearAromaticFlags=True)
            orders = _orders(molecule).tolist()
        except (ValueError, RuntimeError):
            return Invalid("the string has no Kekulé form")
    pairs = [(first, second) for first, second in aromatic]
    given = {(first, second) for first, second in pairs if orders[first][second] == _DOUBLE}
    earliest = _earliest(pairs, given)
    return {pair: pair in earliest for pair in pairs}


def _orders(molecule: Chem.Mol) -> np.ndarray:
    """The orders of the bonds between all pairs of atoms, (atoms, atoms)."""
    return Chem.GetAdjacencyMatrix(molecule, useBO=True, force=True)


def _open_in_a_ring(molecule: Chem.Mol) -> bool:
    """Whether an atom of any kind stands in a ring beside an aromatic one: it may or may not be aromatic itself."""
    points = [atom for atom in molecule.GetAtoms() if atom.GetAtomicNum() == 0]
    if not points:
        return False
    Chem.FastFindRings(molecule)
    bonds = [bond for point in points for bond in point.GetBonds() if bond.IsInRing()]
    return any(end.GetIsAromatic() for bond in bonds for end in (bond.GetBeginAtom(), bond.GetEndAtom()))


def _earliest(pairs: Sequence[Pair], given: set[Pair]) -> set[Pair]:
    """The double bonds between the same atoms where every atom, in its order, has the earliest partner that it can.

    A search with a limit: in a huge net of rings RDKit's own choice stays.
    """
    atoms = sorted(atom for pair in given for atom in pair)
    partners: dict[int, list[int]] = {atom: [] for atom in atoms}
    for first, second in pairs:
        if first in partners and second in partners:
            partners[first].append(second)
    paired: dict[int, int] = {}
    steps = iter(range(SEARCHED))

    def pair_up(place: int) -> bool:
        while place < len(atoms) and atoms[place] in paired:
            place += 1
        if place == len(atoms):
            return True
        atom = atoms[place]
        for partner in partners[atom]:
            if partner not in paired and next(steps, None) is not None:
                paired[atom], paired[partner] = partner, atom
                if pair_up(place + 1):
                    return True
                del paired[atom], paired[partner]
        return False

    return {(atom, partner) for atom, partner in paired.items() if atom < partner} if pair_up(0) else given


class _Writer:
    """Goes along a string that RDKit has read, so its branches and rings are well formed."""

    def __init__(self, double: dict[Pair, bool]) -> None:
        self._double = double
        self._written: list[str] = []
        self._branches: list[int] = []
        self._rings: dict[int, int] = {}
        self._atom = self._last = -1
        self._bond = ""

    def written(self, tokens: Sequence[str]) -> list[str]:
        for token in tokens:
            self._write(token)
        return self._written

    def _write(self, token: str) -> None:
        if token in _BONDS:
            self._bond = "" if token in _DROPPED else token
        elif token == "(":
            self._branches.append(self._last)
            self._written.append(token)
        elif token == ")":
            self._last = self._branches.pop()
            self._written.append(token)
        elif token == ".":
            self._last = -1
            self._written.append(token)
        elif token[0].isdigit() or token[0] == "%":
            self._close(token)
        else:
            self._write_atom(token)

    def _close(self, token: str) -> None:
        number = int(re.sub(r"\D", "", token))
        opened = self._rings.pop(number, None)
        if opened is None:
            self._rings[number] = self._last
        self._put(token, opened)

    def _write_atom(self, token: str) -> None:
        self._atom += 1
        self._put(atom(token), self._last, self._atom)
        self._last = self._atom

    def _put(self, token: str, other: int | None, this: int | None = None) -> None:
        """Write a token behind the bond between two atoms; without a first one, behind the bond as it stands."""
        this = self._last if this is None else this
        double = None if other is None else self._double.get((min(other, this), max(other, this)))
        bond = self._bond if double is None else "=" * double
        self._written.extend(([bond] if bond else []) + [token])
        self._bond = ""
