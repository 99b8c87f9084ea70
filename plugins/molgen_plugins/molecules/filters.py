"""The filters of the MOSES benchmark: structural alerts, allowed elements, no charges, no large rings."""

from __future__ import annotations

import csv
import functools
import io
from importlib import resources
from typing import NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.DataStructs import BitVectToBinaryText

#: The elements that a molecule may have.
ELEMENTS = frozenset(("C", "N", "S", "O", "F", "Cl", "Br", "H"))
#: The smallest ring that is too large, in atoms.
LARGE_RING = 8


class _Alerts(NamedTuple):
    """Patterns in order, and the bits of their fingerprints, uint8 of shape (patterns, bytes)."""

    names: tuple[str, ...]
    patterns: tuple[Chem.Mol, ...]
    bits: np.ndarray


def passes(molecule: Chem.Mol) -> bool:
    """Whether a molecule passes all filters."""
    return violation(molecule) is None


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
    complete = Chem.AddHs(molecule)
    alerts = _alerts()
    # a bit that the pattern has and the molecule lacks excludes a match: few patterns remain to be tried
    lacking = (alerts.bits & ~_bits(complete)).any(1)
    for number in np.flatnonzero(~lacking).tolist():
        if complete.HasSubstructMatch(alerts.patterns[number]):
            return f"the alert {alerts.names[number]}"
    return None


@functools.cache
def _alerts() -> _Alerts:
    """The structural alerts, compiled once in each process."""
    mcf = [(name, smarts) for name, smarts in _table("mcf.csv")[1:]]
    pains = [(name.strip("<>").removeprefix("regId="), smarts) for smarts, name in _table("wehi_pains.csv")]
    names, smarts = zip(*mcf, *pains, strict=True)
    patterns = tuple(Chem.MolFromSmarts(pattern) for pattern in smarts)
    return _Alerts(names, patterns, np.stack([_bits(pattern) for pattern in patterns]))


def _bits(molecule: Chem.Mol) -> np.ndarray:
    return np.frombuffer(BitVectToBinaryText(Chem.PatternFingerprint(molecule)), np.uint8)


def _table(name: str) -> list[list[str]]:
    text = (resources.files("molgen_plugins.molecules") / "data" / name).read_text(encoding="utf-8")
    return list(csv.reader(io.StringIO(text)))
