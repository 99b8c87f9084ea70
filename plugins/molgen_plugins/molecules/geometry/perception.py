"""Which atoms are bonded, found from their positions: by a table of lengths, or by RDKit.

Letters in shapes: N atoms, K elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds

from molgen.domain import Invalid

#: Typical lengths of single, double and triple bonds in picometre, and how much longer a bond may be to count. They are
#: those of Hoogeboom et al. (ICML 2022, appendix), after G-SchNet: the protocol by which published models are compared.
SINGLE: Mapping[str, Mapping[str, int]] = {
    "H": {
        **{"H": 74, "C": 109, "N": 101, "O": 96, "F": 92, "B": 119, "Si": 148, "P": 144, "As": 152, "S": 134},
        **{"Cl": 127, "Br": 141, "I": 161},
    },
    "C": {"C": 154, "N": 147, "O": 143, "F": 135, "Si": 185, "P": 184, "S": 182, "Cl": 177, "Br": 194, "I": 214},
    "N": {"N": 145, "O": 140, "F": 136, "Cl": 175, "Br": 214, "S": 168, "I": 222, "P": 177},
    "O": {"O": 148, "F": 142, "Br": 172, "S": 151, "P": 163, "Si": 163, "Cl": 164, "I": 194},
    "F": {"F": 142, "S": 158, "Si": 160, "Cl": 166, "Br": 178, "P": 156, "I": 187},
    "B": {"Cl": 175},
    "Si": {"Si": 233, "S": 200, "Cl": 202, "Br": 215, "I": 243},
    "P": {"P": 221, "S": 210, "Cl": 203, "Br": 222},
    "S": {"S": 204, "Cl": 207, "Br": 225, "I": 234},
    "Cl": {"Cl": 199, "Br": 214},
    "Br": {"Br": 228},
    "I": {"I": 266},
}
DOUBLE: Mapping[str, Mapping[str, int]] = {
    "C": {"C": 134, "N": 129, "O": 120, "S": 160},
    "N": {"N": 125, "O": 121},
    "O": {"O": 121, "P": 150},
    "P": {"S": 186},
}
TRIPLE: Mapping[str, Mapping[str, int]] = {"C": {"C": 120, "N": 116, "O": 113}, "N": {"N": 110}}
MARGINS = (10, 5, 3)
#: How many bonds, double ones counted twice, an atom has in that protocol, which knows no charges.
VALENCES: Mapping[str, tuple[int, ...]] = {
    **{"H": (1,), "C": (4,), "N": (3,), "O": (2,), "F": (1,), "B": (3,), "Al": (3,), "Si": (4,), "P": (3, 5)},
    **{"S": (4,), "Cl": (1,), "As": (3,), "Br": (1,), "I": (1,), "Hg": (1, 2), "Bi": (3, 5)},
}

#: Two atoms are bonded for RDKit up to this multiple of the sum of their covalent radii. Of QM9's geometries its usual
#: 1.3 finds another molecule in 1 of 20, bonds across small rings, and this one in 1 of 1,000.
RADII = 1.15
#: Assignments of bond orders that RDKit tries before it gives up: thousands of times what a molecule needs.
TRIED = 100_000


@cache
def _number(symbol: str) -> int:
    return Chem.GetPeriodicTable().GetAtomicNumber(symbol)


@cache
def _limits() -> np.ndarray:
    """The longest single, double and triple bond between elements in ångström, 0 for none; float64 (3, 119, 119)."""
    limits = np.zeros((3, 119, 119))
    for order, (table, margin) in enumerate(zip((SINGLE, DOUBLE, TRIPLE), MARGINS, strict=True)):
        for first, row in table.items():
            for second, length in row.items():
                i, j = _number(first), _number(second)
                limits[order, i, j] = limits[order, j, i] = (length + margin) / 100
    return limits


@cache
def _allowed() -> np.ndarray:
    """Whether an element can have so many bonds, bool (119, 8)."""
    allowed = np.zeros((119, 8), bool)
    for symbol, counts in VALENCES.items():
        allowed[_number(symbol), list(counts)] = True
    return allowed


def orders_by_length(elements: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The orders of all bonds by the table of lengths, uint8 (N, N); a pair of elements that it lacks has none.

    Args:
        elements: atomic numbers, (N,).
        positions: in ångström, (N, 3).
    """
    lengths = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    limits = _limits()[:, elements[:, None], elements[None]]
    orders = np.where(lengths < limits[0], 1, 0)
    orders = np.where((orders > 0) & (lengths < limits[1]), 2, orders)
    orders = np.where((orders > 1) & (lengths < limits[2]), 3, orders).astype(np.uint8)
    np.fill_diagonal(orders, 0)
    return orders


def stable_atoms(elements: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Which atoms have as many bonds as their element has, bool (N,).

    Args:
        elements: atomic numbers, (N,).
        orders: of the bonds, (N, N).
    """
    counts = orders.sum(axis=1, dtype=np.int64)
    return _allowed()[elements, np.minimum(counts, 7)] & (counts < 8)


def determine_bonds(molecule: Chem.RWMol, charge: int = 0) -> Invalid | None:
    """Give the molecule the bonds and formal charges that RDKit finds, or say why it finds none.

    The method is that of Kim and Kim (Bull. Korean Chem. Soc. 36, 2015). Its time can grow exponentially with the
    number of atoms that lack bonds, so it stops after `TRIED` assignments; untrusted geometries belong into a worker
    that may be killed all the same.

    Args:
        molecule: atoms with one conformer, all hydrogens among them.
        charge: of the whole molecule.
    """
    for atom in molecule.GetAtoms():
        atom.SetFormalCharge(0)
    with rdBase.BlockLogs():
        try:
            rdDetermineBonds.DetermineBonds(
                molecule, charge=charge, useVdw=True, covFactor=RADII, embedChiral=False, maxIterations=TRIED
            )
        except (ValueError, RuntimeError) as error:
            return Invalid(f"no bonds fit its positions: {_cause(str(error))}")
    return None


def _cause(message: str) -> str:
    line = next((line.strip() for line in message.splitlines() if line.strip()), "no assignment fits")
    if line.startswith("Final molecular charge"):
        return "none leaves the molecule with the charge that it has"
    return line.partition(". ")[0][:200]
