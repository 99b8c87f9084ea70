"""What metrics read of a molecule, by name: fingerprints, fragments, scaffolds, numbers; plain data all of it.

Molecules are sanitised and come from SMILES. A feature that cannot be computed has a value that says so:
NaN for a number, False for `passes`, no bits, no fragments, and the empty string for `scaffold`, `flat` and
`substance`.

Letters in shapes: B bytes of a fingerprint.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import Descriptors
from rdkit.Chem.MolStandardize import rdMolStandardize

from molgen_plugins.molecules.chemistry import brics, filters, properties
from molgen_plugins.molecules.chemistry.memo import once, together

#: A scaffold of fewer rings is none.
RINGS = 2
#: The descriptors of `guacamol`, in order; the first four are continuous.
DESCRIPTORS = (
    *("BertzCT", "MolLogP", "MolWt", "TPSA"),
    *("NumHAcceptors", "NumHDonors", "NumRotatableBonds", "NumAliphaticRings", "NumAromaticRings"),
)
#: All failures of RDKit with molecules that it does not know how to treat.
_FAILURES = (ValueError, RuntimeError, ArithmeticError)


def folded(molecule: Chem.Mol, bits: int) -> np.ndarray:
    """The Morgan fingerprint of radius 2 (ECFP4; Rogers & Hahn, J. Chem. Inf. Model. 50(5), 2010).

    Args:
        molecule: a sanitised one.
        bits: the length, 8 B; an environment sets the bit of its identifier modulo this.

    Returns:
        The bits, packed as by `numpy.packbits(..., bitorder="little")`; uint8 (B,).
    """
    found = np.zeros(bits, np.uint8)
    found[np.fromiter(properties.environments(molecule), np.int64) % bits] = 1
    return np.packbits(found, bitorder="little")


def scaffold(molecule: Chem.Mol) -> str:
    """The Bemis-Murcko scaffold as canonical SMILES, or an empty string where it has fewer than 2 rings.

    Atoms bound to rings and linkers by double bonds belong to it, as in RDKit and MOSES; stereochemistry too.
    """
    found = Chem.MurckoDecompose(molecule)
    found.ClearComputedProps()
    found.UpdatePropertyCache()
    return Chem.MolToSmiles(found) if len(Chem.GetSymmSSSR(found)) >= RINGS else ""


def flat(molecule: Chem.Mol) -> str:
    """The canonical SMILES without stereochemistry and isotopes, by which GuacaMol tells molecules apart."""
    return Chem.MolToSmiles(molecule, isomericSmiles=False)


def guacamol(molecule: Chem.Mol) -> np.ndarray:
    """The nine `DESCRIPTORS` of the molecule that `flat` writes, float64 (9,); those that are not finite are 0."""
    plain = _flat_molecule(molecule)
    found = np.array([getattr(Descriptors, name)(plain) for name in DESCRIPTORS], float)
    return np.where(np.isfinite(found), found, 0.0)


def substance(molecule: Chem.Mol) -> str:
    """What the salts, charges, isotopes, stereoisomers and most tautomers of a substance share.

    It is the first block of the InChIKey (Heller et al., J. Cheminformatics 7:23, 2015) of the largest fragment,
    uncharged and without isotopes.
    """
    parent = rdMolStandardize.ChargeParent(molecule)
    for atom in parent.GetAtoms():
        atom.SetIsotope(0)
    return Chem.MolToInchiKey(Chem.RemoveHs(parent)).partition("-")[0]


@once
def _flat_molecule(molecule: Chem.Mol) -> Chem.Mol:
    found = Chem.MolFromSmiles(flat(molecule))
    if found is None:
        raise ValueError("its flat SMILES cannot be read")
    return found


def _property(name: str) -> Callable[[Chem.Mol], float]:
    return lambda molecule: properties.value(molecule, name)


#: How each feature is found, and its value for a molecule of which it cannot be.
_FOUND: Mapping[str, tuple[Callable[[Chem.Mol], Any], Any]] = {
    "fingerprint": (lambda molecule: folded(molecule, 1024), np.zeros(128, np.uint8)),
    "fingerprint2048": (lambda molecule: folded(molecule, 2048), np.zeros(256, np.uint8)),
    "fragments": (brics.fragments, []),
    "scaffold": (scaffold, ""),
    "passes": (filters.passes, False),
    **{name: (_property(name), math.nan) for name in ("logp", "sa", "qed", "mw")},
    "flat": (flat, ""),
    "substance": (substance, ""),
    "guacamol": (guacamol, np.full(len(DESCRIPTORS), math.nan)),
    "guacamol_fingerprint": (lambda molecule: folded(_flat_molecule(molecule), 4096), np.zeros(512, np.uint8)),
}


def compute(molecule: Chem.Mol, names: Iterable[str]) -> dict[str, Any]:
    """Features by name; what they share is found once.

    Raises:
        KeyError: a name is not a feature.
    """
    with rdBase.BlockLogs(), together(molecule):
        return {name: _value(*_FOUND[name], molecule) for name in names}


def _value(function: Callable[[Chem.Mol], Any], missing: Any, molecule: Chem.Mol) -> Any:
    try:
        return function(molecule)
    except _FAILURES:
        return missing


def _feature(name: str) -> Callable[[Chem.Mol], Any]:
    return lambda molecule: compute(molecule, (name,))[name]


#: Every feature by name: a function of a molecule that returns plain data.
FEATURES: Mapping[str, Callable[[Chem.Mol], Any]] = {name: _feature(name) for name in _FOUND}
