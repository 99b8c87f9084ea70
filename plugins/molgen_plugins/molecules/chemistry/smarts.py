"""Which of many patterns a molecule matches, with few of them tried.

A pattern matches only where each of its atoms, with its bonds and neighbours, fits an atom of the molecule
with its own. Which of these stars of the patterns an atom fits is remembered (see `surroundings`). Only
patterns all of whose stars are there are tried, first without what they ask recursively, then as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from operator import attrgetter

import numpy as np
from rdkit import Chem, rdBase

from molgen_plugins.molecules.chemistry.atom_environment import Remembered

#: Equal bonds of one atom of a pattern that are counted; more than these are treated as these.
_COUNTED = 4


class Screen:
    """Patterns that are sought in many molecules.

    Args:
        patterns: made from SMARTS. They may ask for elements, aromaticity, charges, isotopes, hydrogens, degrees,
            valences, numbers of rings and kinds of bonds, not for ring sizes, hybridisation or stereochemistry.
        hydrogens: seek them in the molecule with all hydrogens present.
    """

    def __init__(self, patterns: Sequence[Chem.Mol], hydrogens: bool = False) -> None:
        self.patterns, self._hydrogens = tuple(patterns), hydrogens
        self._relaxed = tuple(relaxed(pattern) for pattern in patterns)
        self._atoms: dict[str, tuple[int, Chem.Atom]] = {}
        self._edges: dict[tuple[int, str, int], tuple[int, Chem.Bond]] = {}
        self._stars: dict[tuple[int, int], int] = {}
        stars = [[self._star(atom) for atom in pattern.GetAtoms()] for pattern in self._relaxed]
        self._needs = np.stack([self._words(_mask(numbers)) for numbers in stars])
        self._atom_masks: dict[Hashable, int] = {}
        self._edge_masks: dict[Hashable, int] = {}
        self._fits = Remembered(attrgetter("near"), self._fitting)

    def matching(self, molecule: Chem.Mol) -> Iterator[int]:
        """The numbers of the patterns that a sanitised molecule matches, in their order."""
        there = 0
        for stars in self._fits(molecule):
            there |= stars
        possible = np.flatnonzero(~(self._needs & ~self._words(there)).any(1)).tolist()
        whole = self._whole(molecule) if possible else molecule
        for number in possible:
            if whole.HasSubstructMatch(self._relaxed[number]) and (
                self._relaxed[number] is self.patterns[number] or whole.HasSubstructMatch(self.patterns[number])
            ):
                yield number

    def _whole(self, molecule: Chem.Mol) -> Chem.Mol:
        return Chem.AddHs(molecule) if self._hydrogens else molecule

    def _words(self, mask: int) -> np.ndarray:
        """A mask of stars as uint64 words."""
        size = -(-len(self._stars) // 64)
        return np.frombuffer(mask.to_bytes(8 * size, "little"), np.uint64)

    # --- stars of patterns ------------------------------------------------------------------------

    def _star(self, atom: Chem.Atom) -> int:
        """The number of a pattern's atom with its bonds and neighbours; atoms that ask the same share it."""
        needed = _counted(self._edge(atom, bond) for bond in atom.GetBonds())
        return self._stars.setdefault((self._atom(atom), needed), len(self._stars))

    def _edge(self, atom: Chem.Atom, bond: Chem.Bond) -> int:
        smarts = bond.GetSmarts()  # type: ignore[call-arg]  # the stub takes it for a function
        key = (self._atom(atom), smarts, self._atom(bond.GetOtherAtom(atom)))
        return self._edges.setdefault(key, (len(self._edges), bond))[0]

    def _atom(self, atom: Chem.Atom) -> int:
        return self._atoms.setdefault(atom.GetSmarts(), (len(self._atoms), atom))[0]

    # --- atoms of molecules -----------------------------------------------------------------------

    def _fitting(self, molecule: Chem.Mol, atoms: Sequence[int]) -> list[int]:
        """Which stars fit each of some atoms, or a hydrogen on it that the molecule does not show; masks."""
        whole = self._whole(molecule)
        shown = molecule.GetNumAtoms()
        found = []
        for number in atoms:
            atom = whole.GetAtomWithIdx(number)
            mask = self._fitting_one(atom)
            for neighbour in atom.GetNeighbors():
                mask |= self._fitting_one(neighbour) if neighbour.GetIdx() >= shown else 0
            found.append(mask)
        return found

    def _fitting_one(self, atom: Chem.Atom) -> int:
        fits = self._atom_mask(atom)
        there = _counted(edge for bond in atom.GetBonds() for edge in _bits(self._edge_mask(atom, bond)))
        return _mask(
            number for (wanted, needed), number in self._stars.items() if fits >> wanted & 1 and not needed & ~there
        )

    def _edge_mask(self, atom: Chem.Atom, bond: Chem.Bond) -> int:
        """The edges of patterns that a bond fits, seen from one of its atoms."""
        other = bond.GetOtherAtom(atom)
        key = (_kind(atom), bond.GetBondType(), bond.IsInRing(), _kind(other))
        if key not in self._edge_masks:
            near, far = self._atom_mask(atom), self._atom_mask(other)
            self._edge_masks[key] = _mask(
                number
                for (first, _, second), (number, asked) in self._edges.items()
                if near >> first & 1 and far >> second & 1 and asked.Match(bond)
            )
        return self._edge_masks[key]

    def _atom_mask(self, atom: Chem.Atom) -> int:
        """The atoms of patterns that an atom fits by itself."""
        key = _kind(atom)
        if key not in self._atom_masks:
            self._atom_masks[key] = _mask(number for number, asked in self._atoms.values() if asked.Match(atom))
        return self._atom_masks[key]


def substructure(text: str) -> Chem.Mol:
    """What a SMARTS string asks for.

    Raises:
        ValueError: it is none, or asks for nothing.
    """
    with rdBase.BlockLogs():
        pattern = Chem.MolFromSmarts(text)
    if pattern is None or not pattern.GetNumAtoms():
        raise ValueError("not the syntax of SMARTS")
    return pattern


def relaxed(pattern: Chem.Mol) -> Chem.Mol:
    """The pattern without its recursive parts, which matches wherever it does; itself where it has none."""
    smarts = Chem.MolToSmarts(pattern)
    return Chem.MolFromSmarts(_without_recursion(smarts)) if "$(" in smarts else pattern


def _without_recursion(smarts: str) -> str:
    start = smarts.find("$(")
    if start < 0:
        return smarts
    depth, end = 1, start + 2
    while depth:
        depth += {"(": 1, ")": -1}.get(smarts[end], 0)
        end += 1
    return smarts[:start].removesuffix("!") + "*" + _without_recursion(smarts[end:])


def _kind(atom: Chem.Atom) -> Hashable:
    """All of an atom that a pattern may ask for."""
    return (
        atom.GetAtomicNum(),
        atom.GetIsAromatic(),
        atom.GetFormalCharge(),
        atom.GetIsotope(),
        atom.GetTotalNumHs(includeNeighbors=True),
        atom.GetDegree(),
        atom.GetTotalDegree(),
        atom.GetTotalValence(),
        atom.GetOwningMol().GetRingInfo().NumAtomRings(atom.GetIdx()),
    )


def _counted(edges: Iterable[int]) -> int:
    """Edges with their repeats as a mask: all of one mask are in another where each is there as often."""
    counts = Counter(edges)
    return _mask(edge * _COUNTED + repeat for edge, count in counts.items() for repeat in range(min(count, _COUNTED)))


def _mask(numbers: Iterable[int]) -> int:
    mask = 0
    for number in numbers:
        mask |= 1 << number
    return mask


def _bits(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
