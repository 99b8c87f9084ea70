"""Whether atoms that need a double bond can all have one: a matching that covers them.

Sets of atoms are integers with a bit for each, because the grammar asks for every token it has not met before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache


@lru_cache(1 << 14)
def bits(atoms: int) -> tuple[int, ...]:
    """The numbers of the atoms of a set, in order."""
    return tuple(number for number in range(atoms.bit_length()) if atoms >> number & 1)


def as_set(atoms: Iterable[int]) -> int:
    """The set of the atoms of these numbers."""
    found = 0
    for atom in atoms:
        found |= 1 << atom
    return found


def can_cover(needing: int, neighbours: Sequence[int], free: int = -1) -> bool:
    """Whether each of some atoms can be paired with a neighbour of its own.

    Args:
        needing: the atoms that must be in a pair.
        neighbours: by atom, which atoms it may be paired with, among these and others that need no pair.
        free: the atoms that are in no pair yet.
    """
    while needing:
        choices = [(neighbours[atom] & free, atom) for atom in bits(needing)]
        # The atom with the fewest choices first: what is forced needs no trying.
        partners, atom = min(choices, key=_size)
        if partners & (partners - 1):
            pairs = (1 << atom | 1 << partner for partner in bits(partners))
            return any(can_cover(needing & ~pair, neighbours, free & ~pair) for pair in pairs)
        if not partners:
            return False
        needing &= ~(partners | 1 << atom)
        free &= ~(partners | 1 << atom)
    return True


def _size(choice: tuple[int, int]) -> int:
    return choice[0].bit_count()
