"""What the tokens of a SMILES string say: the orders of bonds, and the valences of atoms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from molgen_plugins.molecules.bit_sets import as_set

#: The order of what a bond is written as; a dative bond counts for one of its ends only, so for neither here.
ORDERS: Mapping[str, int] = {"-": 1, "=": 2, "#": 3, "$": 4, ":": 1, "/": 1, "\\": 1, "->": 0, "<-": 0}
#: Bonds between aromatic atoms that may turn out to be double; one that is not written is empty.
MAYBE_DOUBLE = frozenset({"", ":"})
DATIVE = frozenset({"->", "<-"})
#: Elements that accept no dative bond.
_DONORS = frozenset({"H", "C", "N", "O", "F", "P", "S", "Cl", "Se", "Br", "I"})
#: Of atoms without a list of valences.
_UNLIMITED = 99
_ATOM = re.compile(
    r"\[\d*(?P<element>[A-Z][a-z]?|[a-z][a-z]?|\*)(?:@{0,2})(?P<hydrogens>H\d*)?(?P<charge>[+-]\d*)?[^\]]*\]"
)
_ORGANIC = frozenset(["B", "C", "N", "O", "P", "S", "F", "Cl", "Br", "I", "b", "c", "n", "o", "p", "s", "*"])


def order_of(symbol: str) -> int:
    """The order of a bond as it is written; one that is not written counts as one."""
    return ORDERS[symbol] if symbol else 1


@dataclass(frozen=True, eq=False)
class Atom:
    """What a token of an atom says; there is one of each, so that they compare by identity.

    Attributes:
        most: the largest sum of the orders of its bonds.
        aromatic: whether it is written as an aromatic one.
        accepts: whether it can be the end of a dative bond.
        lacking: sums of orders, maybe double bonds counted as one, with which an aromatic atom needs one double bond.
        ends: what may be left of `most` once all bonds are there; None for anything. A bracket atom says how many
            hydrogens it has, so with too few bonds it has unpaired electrons.
        wanting: the same as `lacking`, as a set of bits, with those sums that are judged as if they were larger.
    """

    most: int
    aromatic: bool
    accepts: bool
    lacking: frozenset[int]
    ends: frozenset[int] | None
    wanting: int

    @property
    def least_left(self) -> int:
        """What must be left of `most` at least."""
        return 0 if self.ends is None else min(self.ends, default=_UNLIMITED)

    def wants_double(self, orders: int) -> bool:
        """Whether it needs one double bond; what has fewer than the two bonds of a ring yet is judged as if it had."""
        return bool(self.wanting >> orders & 1)

    def with_room(self, room: int) -> Atom:
        """The same atom after so many bonds that the orders of others add up to no more than `room`.

        As its `most` is `room`, and orders of bonds from before count for nothing, many atoms are one then.
        """
        return _with_room(self, room)

    def total(self, orders: int) -> int:
        """The sum of the orders of its bonds once it has the double bond that it needs."""
        return orders + (orders in self.lacking)


@lru_cache(None)
def the_atom(
    most: int,
    *,
    aromatic: bool,
    accepts: bool,
    lacking: frozenset[int] = frozenset(),
    ends: frozenset[int] | None = None,
) -> Atom:
    """The one atom of which these hold."""
    wanting = as_set([sum_ for sum_ in range(most + 1) if max(sum_, 2) in lacking])
    return Atom(most, aromatic, accepts, lacking, ends, wanting)


@lru_cache(None)
def _with_room(atom: Atom, room: int) -> Atom:
    ends = None if atom.ends is None else frozenset(left for left in atom.ends if left <= room)
    wanting = atom.wanting >> (atom.most - room) if atom.wanting else 0
    return _atom_with_room(room if atom.aromatic else 0, atom.aromatic, atom.accepts, ends, wanting)


@lru_cache(None)
def _atom_with_room(most: int, aromatic: bool, accepts: bool, ends: frozenset[int] | None, wanting: int) -> Atom:
    return Atom(most, aromatic, accepts, frozenset(), ends, wanting)


@dataclass(frozen=True)
class _Parts:
    """What a token of an atom says of it, in so many words."""

    element: str
    hydrogens: int = 0
    charge: int = 0
    bracket: bool = False


def _parts_of(token: str) -> _Parts | None:
    if token in _ORGANIC:
        return _Parts(token)
    if match := _ATOM.fullmatch(token):
        sign = match["charge"] or "+0"
        hydrogens = int((match["hydrogens"] or "H0")[1:] or 1)
        return _Parts(match["element"], hydrogens, int(sign[0] + (sign[1:] or "1")), bracket=True)
    return None


@lru_cache(4096)
def atom_of(token: str, radical: bool = True) -> Atom | None:
    """The atom that a token stands for, or None; `radical`: whether it may keep unpaired electrons."""
    parts = _parts_of(token)
    if parts is None:
        return None
    if parts.element == "*":
        return the_atom(_UNLIMITED, aromatic=False, accepts=True)
    name = parts.element.capitalize()
    valences = tuple(v - parts.hydrogens for v in _valences(name, parts.charge))
    most = max((*valences, *(v - parts.hydrogens for v in _valences(name, 0))))
    aromatic = parts.element[0].islower()
    lacking = (
        {sum_ for sum_ in range(most) if next((v for v in valences if v >= sum_), sum_) > sum_} if aromatic else ()
    )
    kind = the_atom(most, aromatic=aromatic, accepts=name not in _DONORS, lacking=frozenset(lacking))
    if radical or not parts.bracket or most >= _UNLIMITED:
        return kind
    paired = [sum_ for sum_ in range(most + 1) if not _unpaired(name, parts.hydrogens, parts.charge, kind.total(sum_))]
    if len(paired) > most:
        return kind
    ends = frozenset(most - sum_ for sum_ in paired)
    return the_atom(most, aromatic=aromatic, accepts=kind.accepts, lacking=kind.lacking, ends=ends)


@lru_cache(4096)
def _unpaired(element: str, hydrogens: int, charge: int, orders: int) -> bool:
    """Whether RDKit finds unpaired electrons at an atom whose bonds have orders of this sum."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(f"[{element}H{hydrogens}{charge:+d}]" + "(*)" * orders)
    return mol is not None and mol.GetAtomWithIdx(0).GetNumRadicalElectrons() > 0


@lru_cache(512)
def _valences(element: str, charge: int) -> tuple[int, ...]:
    """The valences of an element, those of the one with as many electrons where it is charged."""
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    try:
        number = table.GetAtomicNumber(element) - charge
        valences = tuple(table.GetValenceList(number)) if number > 0 else (0,)
    except RuntimeError:
        return (_UNLIMITED,)
    return tuple(_UNLIMITED if v < 0 else v for v in valences)
