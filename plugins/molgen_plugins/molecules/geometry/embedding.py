"""Geometries of molecules that come without one: ETKDG, then a force field. Both are bounded in time."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from molgen.domain import Invalid
from molgen_plugins.molecules.chemistry import rdkit_io as chem

#: The same for every molecule, so that one molecule always has one geometry.
SEED = 20_240_624
#: Steps of a force field: a drug-like molecule takes some hundred.
STEPS = 2000
#: Molecules whose geometry a process remembers: those that are encoded again and again, as in a condition.
REMEMBERED = 256


@lru_cache(REMEMBERED)
def embedded(smiles: str, seconds: int) -> tuple[Chem.Mol, str] | Invalid:
    """A molecule with all hydrogens and one conformer, and how that was found; or why there is none.

    By distance geometry with the torsion preferences of small molecules and rings (ETKDGv3; Wang et al., J. Chem. Inf.
    Model. 60(4), 2020), from random coordinates where the first try fails, then relaxed by MMFF94, or by UFF where that
    lacks parameters.

    Args:
        smiles: of one molecule.
        seconds: that each try may take.
    """
    molecule = chem.parse(smiles)
    if isinstance(molecule, Invalid):
        return molecule
    with rdBase.BlockLogs():
        molecule = Chem.AddHs(molecule)
        if not _embed(molecule, seconds):
            return Invalid(f"no geometry was found by ETKDGv3 within {seconds} s")
        return molecule, ", ".join(["ETKDGv3", *_relaxed(molecule)])


def _embed(molecule: Chem.Mol, seconds: int) -> bool:
    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = SEED
    parameters.timeout = seconds
    for parameters.useRandomCoords in (False, True):
        try:
            if rdDistGeom.EmbedMolecule(molecule, parameters) >= 0:
                return True
        except (ValueError, RuntimeError):
            return False
    return False


def _relaxed(molecule: Chem.Mol) -> list[str]:
    """Relax in place and give the name of the force field; none where there are no parameters."""
    try:
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
            rdForceFieldHelpers.MMFFOptimizeMolecule(molecule, maxIters=STEPS)
            return ["MMFF94"]
        if rdForceFieldHelpers.UFFHasAllMoleculeParams(molecule):
            rdForceFieldHelpers.UFFOptimizeMolecule(molecule, maxIters=STEPS)
            return ["UFF"]
    except (ValueError, RuntimeError):
        pass
    return []
