"""The filters of the MOSES benchmark: structural alerts, allowed elements, no charges, no large rings."""

from __future__ import annotations

import csv
import functools
import io
from importlib import resources
from typing import NamedTuple

from rdkit import Chem

from molgen_plugins.molecules.chemistry.smarts import Screen

#: The elements that a molecule may have.
ELEMENTS = frozenset(("C", "N", "S", "O", "F", "Cl", "Br", "H"))
#: The smallest ring that is too large, in atoms.
LARGE_RING = 8


class _Alerts(NamedTuple):
    """Names in order, and the patterns that go by them."""

    names: tuple[str, ...]
    screen: Screen


def passes(molecule: Chem.Mol) -> bool:
    """Whether a molecule passes all filters."""
    return violation(molecule) is None


def closed_shell(molecule: Chem.Mol) -> bool:
    """Whether no atom has an unpaired electron."""
    return not any(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())


def violation(molecule: Chem.Mol) -> str | None:
    """The first filter that a molecule fails, in words, or None when it passes all.

    As in MOSES, elements and charges are those of the atoms that the molecule was written with, and
    alerts are sought with all hydrogens present. A zwitterion fails: single charges count, not their sum.
    """
    for atom in molecule.GetAtoms():
        if atom.GetFormalCharge():
            return "a charged atom"
        if atom.GetSymbol() not in ELEMENTS:
            return f"an atom of {atom.GetSymbol()}"
    if any(len(ring) >= LARGE_RING for ring in molecule.GetRingInfo().AtomRings()):
        return f"a ring of {LARGE_RING} or more atoms"
    return _alert(molecule)


def _alert(molecule: Chem.Mol) -> str | None:
    alerts = _alerts()
    number = next(alerts.screen.matching(molecule), None)
    return None if number is None else f"the alert {alerts.names[number]}"


@functools.cache
def _alerts() -> _Alerts:
    """The structural alerts, compiled once in each process."""
    mcf = [(name, smarts) for name, smarts in _table("mcf.csv")[1:]]
    pains = [(name.strip("<>").removeprefix("regId="), smarts) for smarts, name in _table("wehi_pains.csv")]
    names, smarts = zip(*mcf, *pains, strict=True)
    return _Alerts(names, Screen([Chem.MolFromSmarts(pattern) for pattern in smarts], hydrogens=True))


def _table(name: str) -> list[list[str]]:
    text = (resources.files("molgen_plugins.molecules") / "data" / name).read_text(encoding="utf-8")
    return list(csv.reader(io.StringIO(text)))
