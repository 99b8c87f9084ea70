"""Numbers that chemists ask of a molecule, by name. What cannot be computed is NaN, never 0."""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import add, attrgetter
from pathlib import Path
from types import ModuleType

from rdkit import Chem, RDConfig, rdBase
from rdkit.Chem import QED, rdFingerprintGenerator, rdMolDescriptors

from molgen.errors import MolgenError
from molgen_plugins.molecules.chemistry.atom_environment import Remembered
from molgen_plugins.molecules.chemistry.memo import once, together
from molgen_plugins.molecules.chemistry.smarts import Screen

_MORGAN = rdFingerprintGenerator.GetMorganGenerator(radius=2)
_UNSET = Chem.MolFromSmarts("[#0]")


def qed(molecule: Chem.Mol) -> float:
    """Quantitative estimate of drug-likeness, 0 to 1 (Bickerton et al., Nature Chemistry 4, 2012).

    The value is that of `rdkit.Chem.QED`; what it counts is found here with fewer patterns tried.
    """
    if molecule.GetNumAtoms() != molecule.GetNumHeavyAtoms():
        return QED.qed(molecule)  # which removes hydrogen atoms first
    acceptors, aromatic = sum(_acceptors()(molecule)), Chem.DeleteSubstructs(Chem.Mol(molecule), QED.AliphaticRings)
    found = QED.QEDproperties(
        MW=mw(molecule),
        ALOGP=logp(molecule),
        HBA=acceptors,
        HBD=hbd(molecule),
        PSA=tpsa(molecule),
        ROTB=rotatable_bonds(molecule),
        AROM=len(Chem.GetSSSR(aromatic)),
        ALERTS=sum(1 for _ in _alerts().matching(molecule)),
    )
    return QED.qed(molecule, qedProperties=found)


@once
def logp(molecule: Chem.Mol) -> float:
    """Wildman and Crippen's estimate of the octanol-water partition coefficient, log10."""
    atoms = _contributions(molecule)
    # added one by one, hydrogens last, as RDKit does: the last digit depends on the order
    heavy = functools.reduce(add, [own for own, _ in atoms], 0.0)
    return functools.reduce(add, [part for _, hydrogens in atoms for part in hydrogens], heavy)


def sa(molecule: Chem.Mol) -> float:
    """Synthetic accessibility, 1 (easy) to 10 (Ertl and Schuffenhauer, J. Cheminformatics 1:8, 2009).

    The value is that of the scorer in RDKit's Contrib folder, whose table it takes.

    Raises:
        MolgenError: RDKit's Contrib folder is not installed.
    """
    scores, found, atoms = _sascorer()._fscores, environments(molecule), molecule.GetNumAtoms()
    if not atoms:
        return math.nan
    known = functools.reduce(add, (scores.get(name, -4.0) * count for name, count in found.items()), 0.0)
    size = atoms**1.005 - atoms
    centres = math.log10(stereo_centres(molecule) + 1)
    spiro = math.log10(rdMolDescriptors.CalcNumSpiroAtoms(molecule) + 1)
    bridges = math.log10(rdMolDescriptors.CalcNumBridgeheadAtoms(molecule) + 1)
    large = math.log10(2) if any(len(ring) > 8 for ring in molecule.GetRingInfo().AtomRings()) else 0.0
    symmetry = math.log(atoms / len(found)) * 0.5 if atoms > len(found) else 0.0
    complexity = 0.0 - size - centres - spiro - bridges - large
    return _from_one_to_ten(known / sum(found.values()) + complexity + symmetry)


def _from_one_to_ten(raw: float) -> float:
    lowest, highest = -4.0, 2.5
    score = 11.0 - (raw - lowest + 1) / (highest - lowest) * 9.0
    if score > 8:
        score = 8.0 + math.log(score + 1.0 - 9.0)
    return min(max(score, 1.0), 10.0)


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


def radicals(molecule: Chem.Mol) -> float:
    """Number of unpaired electrons; a molecule with none has a closed shell."""
    return sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())


def stereo_centres(molecule: Chem.Mol) -> float:
    """Number of atoms that are stereo centres, whether or not their configuration is given."""
    return rdMolDescriptors.CalcNumAtomStereoCenters(molecule)


#: Every property by name.
PROPERTIES: Mapping[str, Callable[[Chem.Mol], float]] = {
    function.__name__: function
    for function in (qed, logp, sa, mw, tpsa, rings, hba, hbd, rotatable_bonds, charge, radicals, stereo_centres)
}

#: Properties that a molecule with attachment points has too.
_OF_PARTS = frozenset(("rings", "charge", "radicals"))


def compute(molecule: Chem.Mol, names: Iterable[str] = tuple(PROPERTIES)) -> dict[str, float]:
    """Properties by name; NaN where one cannot be computed.

    With attachment points a molecule is not whole, so all but its rings and charge are NaN.

    Raises:
        KeyError: a name is not a property.
    """
    with rdBase.BlockLogs(), together(molecule):
        return {name: value(molecule, name) for name in names}


def value(molecule: Chem.Mol, name: str) -> float:
    """One property, as `compute` gives it, with what RDKit has to say on its logs."""
    if name not in _OF_PARTS and not _whole(molecule):
        return math.nan
    try:
        found = float(PROPERTIES[name](molecule))
    except (ValueError, RuntimeError, ArithmeticError):
        return math.nan
    return found if math.isfinite(found) else math.nan


@once
def _whole(molecule: Chem.Mol) -> bool:
    return not molecule.HasSubstructMatch(_UNSET)


@once
def environments(molecule: Chem.Mol) -> dict[int, int]:
    """How often each circular environment of up to 2 bonds occurs, by its Morgan identifier, in ascending order."""
    return _MORGAN.GetSparseCountFingerprint(molecule).GetNonzeroElements()


# --- tables, made once in each process ------------------------------------------------------------


@functools.cache
def _alerts() -> Screen:
    """The structural alerts of QED."""
    return Screen(QED.StructuralAlerts)


@functools.cache
def _acceptors() -> Remembered[int]:
    """As how many acceptors QED counts each atom: its patterns are single atoms."""

    def find(molecule: Chem.Mol, atoms: Sequence[int]) -> list[int]:
        matches = [match[0] for pattern in QED.Acceptors for match in molecule.GetSubstructMatches(pattern)]
        return [matches.count(atom) for atom in atoms]

    return Remembered(attrgetter("far"), find)


def _found_contributions(molecule: Chem.Mol, atoms: Sequence[int]) -> list[tuple[float, tuple[float, ...]]]:
    complete, shown = Chem.AddHs(molecule), molecule.GetNumAtoms()
    contributions = [contribution for contribution, _ in rdMolDescriptors._CalcCrippenContribs(complete)]
    found = []
    for atom in atoms:
        neighbours = [neighbour.GetIdx() for neighbour in complete.GetAtomWithIdx(atom).GetNeighbors()]
        found.append((contributions[atom], tuple(contributions[n] for n in neighbours if n >= shown)))
    return found


#: What each atom, and each hydrogen on it that the molecule does not show, adds to its logP.
_contributions = Remembered(attrgetter("far"), _found_contributions)


@functools.cache
def _sascorer() -> ModuleType:
    """The scorer in RDKit's Contrib folder, which is no package; loaded without touching the import path.

    Its `_fscores` are the scores of circular environments by their Morgan identifier.
    """
    path = Path(RDConfig.RDContribDir) / "SA_Score" / "sascorer.py"
    spec = importlib.util.spec_from_file_location("sascorer", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise MolgenError(
            f"the property sa needs {path}, which this RDKit lacks: install rdkit from PyPI or conda-forge"
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.readFragmentScores()
    return module
