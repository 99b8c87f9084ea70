"""Whether atoms that need a double bond can all have one: a matching that covers them.

Sets of atoms are integers with a bit for each, because the grammar asks for every token it has not met before.
"""

from __future__ import annotations

from collections.abc import Sequence

from molgen_plugins.molecules.bit_sets import bits


def can_cover(needing: int, neighbours: Sequence[int], free: int = -1) -> bool:
    """Whether each of some atoms can be paired with a neighbour of its own.

    Args:
        needing: the atoms that must be in a pair.
        neighbours: by atom, which atoms it may be paired with, among these and others that need no pair.
        free: the atoms that are in no pair yet.
    """
    while needing:
        rest = needing
        while rest:
            atom = rest & -rest
            partners = neighbours[atom.bit_length() - 1] & free
            if not partners & (partners - 1):
                break
            rest ^= atom
        else:
            pairs = [atom | 1 << partner for partner in bits(partners)]
            return any(can_cover(needing & ~pair, neighbours, free & ~pair) for pair in pairs)
        # What is forced needs no trying.
        if not partners:
            return False
        needing &= ~(partners | atom)
        free &= ~(partners | atom)
    return True
