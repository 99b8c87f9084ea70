"""The classes of atoms in a graph: an element with its formal charge. This module imports no RDKit.

A class is named as SMILES would write it without brackets: `C`, `N+`, `O-`, `Cl+3`. A name with hydrogens, such as
`NH`, is a class of its own with exactly so many; every other atom has the hydrogens that its valence leaves open.
Aromatic rings need them: from its bonds alone nobody can tell the nitrogen of pyrrole from that of pyridine.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_GROUPS = {
    "neutral": "C N O F S Cl Br I P B Si Se H",
    "of light elements": "N+ O- N- C- C+ O+ S+ S- B- P+ P- Si- Se+ Se-",
    "of halogens and hydrogen": "F+ F- Cl+ Cl- Cl+2 Cl+3 Br+ Br- Br+2 I+ I- I+2 I+3 H+ H-",
}

#: Elements and charges of MOSES, ZINC250k and QM9, and what users' libraries commonly add. The order is frozen: it is
#: what class ids mean.
ATOMS: tuple[str, ...] = tuple(name for group in _GROUPS.values() for name in group.split())

#: Atoms in aromatic rings whose hydrogens do not follow from their bonds; behind `ATOMS` where rings are aromatic.
AROMATIC_ATOMS: tuple[str, ...] = ("NH", "NH+", "CH-", "PH", "BH", "BH-")

#: How many further classes a model can learn from its training set.
SPARE_ROWS = 8

_NAME = re.compile(r"([A-Z][a-z]?)(?:H(\d?))?([+-]\d?)?")
_CHIRAL = r"(?:@(?:TH|AL|SP|TB|OH)\d+|@@?)?"
_BRACKET = re.compile(rf"\[(\d*)([A-Z][a-z]?|[a-z]{{1,2}}){_CHIRAL}(H\d?)?([+-]\d?)?(?::\d+)?\]")

#: The atoms of a SMILES string in their order, attachment points aside.
atom_tokens = re.compile(r"\[[^\]]*\]|Br|Cl|[BCNOPSFIbcnops]").findall


class Atom(NamedTuple):
    """What a class of atoms stands for: `hydrogens` is None where the valence says how many there are."""

    symbol: str
    charge: int
    hydrogens: int | None


def parsed(name: str) -> Atom:
    """The atom of a class.

    Raises:
        ValueError: no class can have this name.
    """
    found = _NAME.fullmatch(name) if isinstance(name, str) else None
    if found is None:
        raise ValueError(f"{name!r} names no class of atoms")
    symbol, hydrogens, charge = found.groups()
    return Atom(symbol, _charge(charge), None if hydrogens is None else int(hydrogens or 1))


def name_of(atom: Atom) -> str:
    """The name of the class of an atom, the inverse of `parsed`."""
    hydrogens = "" if atom.hydrogens is None else f"H{atom.hydrogens if atom.hydrogens != 1 else ''}"
    sign = "" if not atom.charge else "+" if atom.charge > 0 else "-"
    return f"{atom.symbol}{hydrogens}{sign}{abs(atom.charge) if abs(atom.charge) > 1 else ''}"


@lru_cache(8192)
def class_of(token: str, counted: bool) -> str | None:
    """The class that an atom of a SMILES string belongs to, None for an isotope or what is no single atom.

    Args:
        token: as the string has it, such as `c` or `[C@@H]`.
        counted: whether classes say how many hydrogens an aromatic atom has, where its bonds do not.
    """
    if token[0] != "[":
        return token.capitalize()
    found = _BRACKET.fullmatch(token)
    if found is None or found[1]:
        return None
    _, symbol, hydrogens, charge = found.groups()
    open_count = counted and symbol.islower() and bool(hydrogens) and (symbol != "c" or bool(charge))
    count = int(hydrogens[1:] or 1) if open_count else None
    return name_of(Atom(symbol.capitalize(), _charge(charge), count))


def _charge(text: str | None) -> int:
    return int(text if len(text) > 1 else f"{text}1") if text else 0
