"""Molecules made up at random: chains of building blocks that hang together by single bonds."""

from __future__ import annotations

import numpy as np

#: Each takes a bond at its first atom and gives one at its last; next to each other they break no valence.
BLOCKS = (
    "C",
    "CC",
    "C(C)",
    "C(F)",
    "C(O)",
    "C(C#N)",
    "C(=O)",
    "C(=O)N",
    "N",
    "N(C)",
    "O",
    "S",
    "S(=O)(=O)",
    "C=C",
    "C#C",
    "C1CC1",
    "C1CCC(CC1)",
    "N1CCC(CC1)",
    "c1ccc(cc1)",
    "c1cnc(nc1)",
    "c1csc(c1)",
)


def chain(rng: np.random.Generator, length: int) -> str:
    """The SMILES of a chain of two blocks or more, of about `length` characters."""
    blocks = [BLOCKS[place] for place in rng.integers(len(BLOCKS), size=2)]
    while sum(map(len, blocks)) < length - 4:
        blocks.append(BLOCKS[int(rng.integers(len(BLOCKS)))])
    return "C" + "".join(blocks) + "C"
