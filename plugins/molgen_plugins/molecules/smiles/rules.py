"""What can come behind a beginning of a SMILES string: all tokens at once, or one that is asked for.

Sets of classes are integers with a bit for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from molgen_plugins.molecules.smiles.atom_tokens import DATIVE, MAYBE_DOUBLE, ORDERS, order_of
from molgen_plugins.molecules.smiles.prefix_state import NOWHERE, Beginning

if TYPE_CHECKING:
    from molgen_plugins.molecules.smiles.grammar import SmilesGrammar


class Rules:
    """The rules of the grammar at one beginning."""

    __slots__ = ("_atoms_here", "grammar", "prefix")

    def __init__(self, grammar: SmilesGrammar, prefix: Beginning) -> None:
        self.grammar, self.prefix = grammar, prefix
        self._atoms_here: int | None = None

    def allows(self, choice: int) -> bool:
        """Whether one token can come, or the end."""
        grammar, prefix = self.grammar, self.prefix
        if choice in grammar.atoms:
            if self._atoms_here is None:
                self._atoms_here = self._atoms(prefix.bond)
            return bool(self._atoms_here >> choice & 1)
        if prefix.current == NOWHERE:
            return False
        if choice in grammar.bonds:
            return not prefix.bond and self._bond_can_come(grammar.bonds[choice])
        if grammar.ring_numbers >> choice & 1:
            open_at = [(other, opened) for number, other, opened in prefix.rings if number == choice]
            return self._ring_can_close(prefix.bond, *open_at[0]) if open_at else self._ring_can_open(prefix.bond)
        if prefix.bond or prefix.opened or not grammar.others >> choice & 1:
            return False
        if grammar.symbols["("] >> choice & 1:
            return prefix.free[prefix.current] > 0
        return bool(self._closed() >> choice & 1)

    def only(self) -> int | None:
        """The end of the branch where an atom gets no further bond."""
        prefix = self.prefix
        if prefix.current == NOWHERE or prefix.bond or prefix.free[prefix.current] or not prefix.branches:
            return None
        return self.grammar.symbols[")"].bit_length() - 1

    def along(self, tokens: Sequence[int]) -> Rules:
        """The rules behind some more tokens, which can come one after the other."""
        return Rules(self.grammar, self.grammar.read(self.prefix, tokens))

    def can_come(self) -> int:
        """All tokens, and the end, that can come."""
        prefix = self.prefix
        found = self._atoms(prefix.bond)
        if prefix.current == NOWHERE:
            return found
        if not prefix.bond:
            for symbol, numbers in self.grammar.like_bonds:
                if self._bond_can_come(symbol):
                    found |= numbers
        if self._ring_can_open(prefix.bond):
            found |= self.grammar.ring_numbers
        for number, other, opened in prefix.rings:
            can_close = self._ring_can_close(prefix.bond, other, opened)
            found = found | 1 << number if can_close else found & ~(1 << number)
        if not prefix.bond and not prefix.opened:
            found |= self._closed()
        return found

    def _atoms(self, bond: str) -> int:
        grammar, prefix, current = self.grammar, self.prefix, self.prefix.current
        if current == NOWHERE:
            return grammar.atoms_for(0, 0, False)
        if bond == "->":
            return grammar.acceptors
        order = order_of(bond)
        if prefix.free[current] < order or not (prefix.stays_open(current) or prefix.may_rest(current, order)):
            return 0
        # Where a ring bond waits and no branch ends, the next atom must be able to go on.
        free = int(bool(prefix.rings) and not prefix.branches)
        if not prefix.kinds[current].aromatic or prefix.stays_open(current):
            return grammar.atoms_for(order, free, False)
        settled, more = 1 << current, {current: order}
        if prefix.covered(settled, more):
            return grammar.atoms_for(order, free, False)
        if bond in MAYBE_DOUBLE and prefix.covered(settled, more, spared=settled):
            return grammar.atoms_for(order, free, True)
        return 0

    def _bond_can_come(self, symbol: str) -> bool:
        """A bond comes where its order fits, and where something can come behind it."""
        prefix, current = self.prefix, self.prefix.current
        kind = prefix.kinds[current]
        if prefix.free[current] < ORDERS[symbol] or (symbol == "<-" and not kind.accepts):
            return False
        if prefix.stays_open(current):
            return True
        if not kind.aromatic:
            return prefix.may_rest(current, ORDERS[symbol]) or self._ring_can_open(symbol)
        closing = (self._ring_can_close(symbol, other, opened) for _, other, opened in prefix.rings)
        return bool(self._atoms(symbol)) or any(closing)

    def _ring_can_open(self, bond: str) -> bool:
        """A ring bond opens at an atom with bonds to spare: for it, and to go on to where it closes."""
        prefix = self.prefix
        if prefix.opened or self._nothing_accepts(bond):
            return False
        return order_of(bond) + (not prefix.branches) <= prefix.free[prefix.current]

    def _nothing_accepts(self, bond: str) -> bool:
        """Whether a dative bond is written where no atom could be at its other end."""
        return bond in DATIVE and not self.prefix.accepted

    def _ring_can_close(self, bond: str, other: int, opened: str) -> bool:
        """A ring bond closes at another atom than it began at, and that is not joined to it."""
        prefix, current = self.prefix, self.prefix.current
        if prefix.opened or self._nothing_accepts(bond):
            return False
        if other == current or prefix.joined[current] >> other & 1:
            return False
        symbol = bond or opened
        order = order_of(symbol)
        more = {current: order, other: order - order_of(opened)}
        if any(prefix.free[atom] < extra for atom, extra in more.items()):
            return False
        last_open = len(prefix.rings) > 1 and not prefix.branches
        if last_open and prefix.free[current] <= order:
            return False
        double = symbol in MAYBE_DOUBLE and prefix.kinds[current].aromatic and prefix.kinds[other].aromatic
        settled = 0 if prefix.stays_open(other, closing=True) else 1 << other
        if settled and not prefix.may_rest(other, more[other]):
            return False
        return prefix.covered(settled, more, pair=1 << current | 1 << other if double else 0)

    def _closed(self) -> int:
        """Branches, dots and the end."""
        prefix, current, symbols = self.prefix, self.prefix.current, self.grammar.symbols
        found = symbols["("] if prefix.free[current] else 0
        settled = 0 if prefix.stays_open(current) else 1 << current
        rests = not settled or prefix.may_rest(current)
        if prefix.branches:
            goes_on = prefix.free[prefix.branches[-1]] > 0
            needed = bool(prefix.rings) and len(prefix.branches) == 1
            if rests and (goes_on or not needed) and prefix.covered(settled):
                found |= symbols[")"]
        elif rests and not prefix.rings and prefix.covered(settled):
            found |= symbols["."] | self.grammar.end
        # A ring bond that is open when a model wants to end was forgotten, and where it belongs cannot be told.
        return found | (self.grammar.end if prefix.rings else 0)
