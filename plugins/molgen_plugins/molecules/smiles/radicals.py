"""Which bracket atoms of a string are left with unpaired electrons by the bonds that are written."""

from __future__ import annotations

from collections.abc import Sequence

from molgen_plugins.molecules.smiles.atom_tokens import ORDERS, atom_of, order_of


def unpaired(tokens: Sequence[str]) -> set[str]:
    """The bracket atoms of a string that have unpaired electrons, if it is one of a molecule."""
    atoms, orders = [], []
    branches: list[int] = []
    rings: dict[str, tuple[int, str]] = {}
    current, bond = -1, ""
    for token in tokens:
        if atom_of(token) is not None:
            atoms.append(token)
            orders.append(0)
            if current >= 0:
                orders[current] += order_of(bond)
                orders[-1] += order_of(bond)
            current, bond = len(atoms) - 1, ""
        elif token in ORDERS:
            bond = token
        elif token == "(":
            branches.append(current)
        elif token == ")":
            current = branches.pop() if branches else -1
        elif token == ".":
            current = -1
        elif token in rings:
            other, opened = rings.pop(token)
            orders[current] += order_of(bond or opened)
            orders[other] += order_of(bond or opened)
            bond = ""
        else:
            rings[token], bond = (current, bond), ""
    return {token for token, sum_ in zip(atoms, orders, strict=True) if not _paired(token, sum_)}


def _paired(token: str, orders: int) -> bool:
    atom = atom_of(token, radical=False)
    return atom is None or atom.ends is None or atom.most - orders in atom.ends
