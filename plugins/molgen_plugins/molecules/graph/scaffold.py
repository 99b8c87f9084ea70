"""Parts that every molecule is to contain, as SMILES with attachment points: `c1ccccc1*`.

Letters in shapes: N atoms of the part, its attachment points not among them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rdkit import Chem

from molgen.domain import Invalid
from molgen_plugins.molecules.chemistry import rdkit_io as chem
from molgen_plugins.molecules.chemistry.kekule import is_aromatic
from molgen_plugins.molecules.graph import build as graph_build
from molgen_plugins.molecules.graph.atoms import atom_tokens

_has_stereo = re.compile(r"[@/\\]").search


@dataclass(frozen=True)
class Scaffold:
    """A part of a molecule.

    Attributes:
        tokens: its atoms as a SMILES string has them, in the order of that string; hydrogens that are atoms follow.
        bonds: the classes of bonds, uint8 (N, N).
        open: the atoms that have an attachment point, bool (N,).
    """

    tokens: Sequence[str]
    bonds: np.ndarray
    open: np.ndarray


def scaffold_of(item: str, *, aromatic: bool, hydrogens: bool) -> Scaffold | Invalid:
    """The part that a SMILES string with attachment points stands for, or why it stands for none.

    Its atoms are in the order of the canonical SMILES, so every one but the first is bonded to an earlier one.

    Args:
        item: the string; the numbers of attachment points mean nothing.
        aromatic: whether bonds of aromatic rings are a class of their own.
        hydrogens: whether hydrogens are atoms.
    """
    if "*" not in item:
        return Invalid("a scaffold needs at least one attachment point, as in c1ccccc1*")
    if _has_stereo(item):
        return Invalid("a scaffold has no stereochemistry")
    molecule = chem.parse(item)
    if isinstance(molecule, Invalid):
        return molecule
    if len(Chem.GetMolFrags(molecule)) > 1:
        return Invalid("a scaffold is one fragment")
    for atom in molecule.GetAtoms():
        atom.SetAtomMapNum(0)
        if not atom.GetAtomicNum():
            atom.SetIsotope(0)
            if atom.GetDegree() != 1:
                return Invalid("an attachment point has exactly one bond")
    return _without_points(graph_build.written(molecule), aromatic=aromatic, hydrogens=hydrogens)


def _without_points(smiles: str | Invalid, *, aromatic: bool, hydrogens: bool) -> Scaffold | Invalid:
    if isinstance(smiles, Invalid):
        return smiles
    tokens, molecule = atom_tokens(smiles), graph_build.read_again(smiles)
    if isinstance(molecule, Invalid):
        return molecule
    graph = graph_build.graph_of(
        molecule, aromatic=any(map(is_aromatic, tokens)), kekulise=not aromatic, hydrogens=hydrogens
    )
    if isinstance(graph, Invalid):
        return graph
    bonds = graph_build.bond_classes(graph, aromatic=aromatic)
    points = np.array([not atom.GetAtomicNum() for atom in graph.GetAtoms()])
    return Scaffold(tokens, bonds[~points][:, ~points], bonds[points].any(0)[~points])
