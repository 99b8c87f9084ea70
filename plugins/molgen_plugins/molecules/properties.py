"""Numbers that chemists ask of a molecule, by name. What cannot be computed is NaN, never 0."""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType

from rdkit import Chem, RDConfig, rdBase
from rdkit.Chem import QED, rdMolDescriptors

from molgen.errors import MolgenError


def qed(molecule: Chem.Mol) -> float:
    """Quantitative estimate of drug-likeness, 0 to 1."""
    return QED.qed(molecule)


def logp(molecule: Chem.Mol) -> float:
    """Crippen's estimate of the octanol-water partition coefficient, log10."""
    return rdMolDescriptors.CalcCrippenDescriptors(molecule)[0]


def sa(molecule: Chem.Mol) -> float:
    """Ertl and Schuffenhauer's synthetic accessibility, 1 (easy) to 10.

    Raises:
        MolgenError: RDKit's Contrib folder is not installed.
    """
    return _sascorer().calculateScore(molecule)


def mw(molecule: Chem.Mol) -> float:
    """Average molecular weight in g/mol, with the isotopes that the molecule names."""
    return rdMolDescriptors._CalcMolWt(molecule)


def tpsa(molecule: Chem.Mol) -> float:
    """Topological polar surface area in square ångström, of nitrogen and oxygen."""
    return rdMolDescriptors.CalcTPSA(molecule)


def rings(molecule: Chem.Mol) -> float:
    """Number of rings in the smallest set."""
    return rdMolDescriptors.CalcNumRings(molecule)


def hba(molecule: Chem.Mol) -> float:
    """Number of hydrogen-bond acceptors."""
    return rdMolDescriptors.CalcNumHBA(molecule)


def hbd(molecule: Chem.Mol) -> float:
    """Number of hydrogen-bond donors."""
    return rdMolDescriptors.CalcNumHBD(molecule)


def rotatable_bonds(molecule: Chem.Mol) -> float:
    """Number of rotatable bonds, amides and the like left out."""
    return rdMolDescriptors.CalcNumRotatableBonds(molecule)


def charge(molecule: Chem.Mol) -> float:
    """Sum of the formal charges."""
    return Chem.GetFormalCharge(molecule)


def stereo_centres(molecule: Chem.Mol) -> float:
    """Number of atoms that are stereo centres, whether or not their configuration is given."""
    return rdMolDescriptors.CalcNumAtomStereoCenters(molecule)


#: Every property by name.
PROPERTIES: Mapping[str, Callable[[Chem.Mol], float]] = {
    function.__name__: function
    for function in (qed, logp, sa, mw, tpsa, rings, hba, hbd, rotatable_bonds, charge, stereo_centres)
}

#: Properties that a molecule with attachment points has too.
_OF_PARTS = frozenset(("rings", "charge"))


def compute(molecule: Chem.Mol, names: Iterable[str] = tuple(PROPERTIES)) -> dict[str, float]:
    """Properties by name; NaN where one cannot be computed.

    With attachment points a molecule is not whole, so all but its rings and charge are NaN.

    Raises:
        KeyError: a name is not a property.
    """
    whole = all(atom.GetAtomicNum() for atom in molecule.GetAtoms())
    return {name: _value(PROPERTIES[name], molecule) if whole or name in _OF_PARTS else math.nan for name in names}


def _value(function: Callable[[Chem.Mol], float], molecule: Chem.Mol) -> float:
    with rdBase.BlockLogs():
        try:
            value = float(function(molecule))
        except (ValueError, RuntimeError, ArithmeticError):
            return math.nan
    return value if math.isfinite(value) else math.nan


@functools.cache
def _sascorer() -> ModuleType:
    """The scorer in RDKit's Contrib folder, which is no package; loaded without touching the import path."""
    path = Path(RDConfig.RDContribDir) / "SA_Score" / "sascorer.py"
    spec = importlib.util.spec_from_file_location("sascorer", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise MolgenError(
            f"the property sa needs {path}, which this RDKit lacks: install rdkit from PyPI or conda-forge"
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
