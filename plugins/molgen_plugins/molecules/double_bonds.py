"""Whether atoms that need a double bond can all have one: a matching that covers them."""

from __future__ import annotations

from collections.abc import Mapping, Set


def can_cover(needing: Set[int], neighbours: Mapping[int, Set[int]]) -> bool:
    """Whether each of some atoms can be paired with a neighbour of its own.

    Args:
        needing: the atoms that must be in a pair.
        neighbours: which atoms each of them may be paired with, among these and others that need no pair.
    """
    if not needing:
        return True
    open_to = {atom: neighbours[atom] for atom in needing}
    atom = min(open_to, key=lambda each: len(open_to[each]))
    for partner in open_to[atom]:
        left = {other: choices - {atom, partner} for other, choices in open_to.items() if other not in (atom, partner)}
        if can_cover(left.keys(), left):
            return True
    return False
