"""Molecules as graphs: atoms of an element and a formal charge, and bonds between them.

Letters in shapes: N atoms of one molecule.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from rdkit import Chem, rdBase

from molgen.domain import Encoder, Invalid, Item, KnownPart, Sample
from molgen.space import Axis, Categorical, Space
from molgen_plugins.molecules.chemistry import rdkit_io as chem
from molgen_plugins.molecules.chemistry.kekule import is_aromatic
from molgen_plugins.molecules.geometry.plain import plain
from molgen_plugins.molecules.graph import build as graph_build
from molgen_plugins.molecules.graph.atoms import (
    AROMATIC_ATOMS,
    ATOMS,
    SPARE_ROWS,
    atom_tokens,
    class_of,
    parsed,
)
from molgen_plugins.molecules.graph.build import AROMATIC, BONDS
from molgen_plugins.molecules.graph.repair import REPAIRS, Repair
from molgen_plugins.molecules.graph.scaffold import scaffold_of
from molgen_plugins.molecules.graph.stereo import STEREO

#: The most atoms of a molecule where neither the settings nor training items say it.
MOST_ATOMS = 64

#: What a canonical SMILES has that no graph of this kind can hold.
_FOREIGN = re.compile(r"\.|\*|[<>]|\$|~|\[\d|:\d")
#: What every graph can hold, and says completely: no brackets, and bonds without sides.
_PLAIN = re.compile(r"[A-Za-z0-9()=#%-]*")
_FOREIGN_CAUSE = {
    ".": "not connected: several fragments",
    "*": "an attachment point is no atom",
    ">": "a dative bond",
    "<": "a dative bond",
    "$": "a quadruple bond",
    "~": "a bond of no kind",
    "[": "an isotope",
    ":": "an atom-map number",
}

#: Atoms (without implicit hydrogens) of the largest graph.
MAX_ATOMS = 200


@dataclass(frozen=True)
class GraphConfig:
    """Settings of the graph encoder.

    Attributes:
        aromatic: bonds of aromatic rings are a class of their own; otherwise rings have alternating single and
            double bonds.
        hydrogens: every hydrogen is an atom of the graph; otherwise atoms have those that their valence leaves open.
        stereo: refuse molecules with stereochemistry, drop it, or keep it as labels R, S, E and Z.
        max_atoms: the largest number of atoms; by default that of the largest training item.
    """

    aromatic: bool = False
    hydrogens: bool = False
    stereo: Literal["refuse", "drop", "keep"] = "refuse"
    max_atoms: int | None = None

    def __post_init__(self) -> None:
        if self.max_atoms is not None and not 1 <= self.max_atoms <= MAX_ATOMS:
            raise ValueError(f"max_atoms must be from 1 to {MAX_ATOMS}, not {self.max_atoms}")


class Graph(Encoder):
    """SMILES strings as `atoms`, class ids (N,), and `bonds`, class ids (N, N), symmetric, along an axis without order.

    With `stereo=keep` there is a field `chirality` as well, see `graph_stereo`. Encoded atoms stand in the order of
    the canonical SMILES, hydrogens that are atoms behind all others: the order is the same for every spelling of a
    molecule, and every atom but the first is bonded to an earlier one. Which of the double bonds of an aromatic ring
    are where follows from that order as well.

    A molecule that its graph does not say completely is refused with the reason: fragments, isotopes, dative bonds,
    and, where hydrogens are no atoms, radicals and other numbers of hydrogens than the valence leaves open.
    """

    Config: ClassVar[type] = GraphConfig
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"max_atoms": 8}
    #: ways to repair samples, see `repaired`; decoding itself never does.
    repairs: ClassVar[Mapping[str, type[Repair]]] = REPAIRS
    config: GraphConfig

    def __init__(self, config: GraphConfig | None = None) -> None:
        super().__init__(config)
        self._stereo = STEREO[self.config.stereo]()
        self.bond_names = (*BONDS, *([AROMATIC] if self.config.aromatic else []), *self._stereo.bonds)
        #: whether classes say how many hydrogens an aromatic atom has, where its bonds do not.
        self.counts_hydrogens = self.config.aromatic and not self.config.hydrogens
        known = [*ATOMS, *(AROMATIC_ATOMS if self.counts_hydrogens else [])]
        self._use([*known, *[None] * SPARE_ROWS], None)

    def _use(self, names: list[str | None], largest: int | None) -> None:
        self.atom_names, self._largest = names, largest
        self._ids = {name: number for number, name in enumerate(names) if name is not None}
        #: the class of each token that was met, which is quicker found again than read.
        self._seen: dict[str, int] = {}
        atom = Axis("atom", self.config.max_atoms or largest or MOST_ATOMS, ordered=False)
        self._space = {
            "atoms": Categorical((atom,), classes=len(names)),
            **self._stereo.fields(atom),
            "bonds": Categorical((atom, atom), classes=len(self.bond_names), symmetric=True),
        }

    @property
    def space(self) -> Space:
        """The fields `atoms`, `bonds` and perhaps `chirality`, along the axis `atom`."""
        return self._space

    # --- encoding ---------------------------------------------------------------------------------

    def encode(self, item: Item) -> Sample | Invalid:
        """The graph of a molecule, uint8, or why it has none here."""
        if isinstance(item, str) and "\n" in item:
            item = plain(item)
            if isinstance(item, Invalid):
                return item
        # RDKit is silenced once for all: that takes as long as a tenth of the rest.
        with rdBase.BlockLogs():
            molecule = chem.readable(item)
            if molecule is not None:
                return self._encoded(molecule, item)
        return Invalid(chem.cause(item))

    def _encoded(self, molecule: Chem.Mol, item: str) -> Sample | Invalid:
        smiles = self._stereo.written(molecule, item)
        if isinstance(smiles, Invalid):
            return smiles
        plain = _PLAIN.fullmatch(smiles) is not None
        if not plain:
            if foreign := _FOREIGN.search(smiles):
                return Invalid(_FOREIGN_CAUSE[foreign[0][0]])
            if refusal := self._stereo.refusal(smiles):
                return Invalid(refusal)
        # The atoms of what was read stand in the order of its string.
        ordered = molecule if smiles == item else graph_build.read_again(smiles)
        if isinstance(ordered, Invalid):
            return ordered
        sample = self._graph(smiles, ordered)
        if isinstance(sample, Invalid) or plain or self._certain(smiles) or self._comes_back(sample, smiles):
            return sample
        return Invalid(_cause(molecule))

    def _graph(self, smiles: str, molecule: Chem.Mol) -> Sample | Invalid:
        tokens = atom_tokens(smiles)
        most = self._space["atoms"].axes[0].maximum
        if len(tokens) > most:
            return Invalid(f"more than the {most} atoms that this model can write")
        ids = self._ids_of(tokens)
        if isinstance(ids, Invalid):
            return ids
        graph = graph_build.graph_of(
            molecule,
            aromatic=any(map(is_aromatic, set(tokens))),
            kekulise=not self.config.aromatic,
            hydrogens=self.config.hydrogens,
        )
        if isinstance(graph, Invalid):
            return graph
        bonds = graph_build.bond_classes(graph, aromatic=self.config.aromatic)
        if len(bonds) > most:
            return Invalid(f"more than the {most} atoms that this model can write")
        labels = self._stereo.labelled(smiles, bonds, self.bond_names)
        if isinstance(labels, Invalid):
            return labels
        atoms = np.frombuffer(bytearray(ids + [self._ids["H"]] * (len(bonds) - len(ids))), np.uint8)
        return {"atoms": atoms, **labels, "bonds": bonds}

    def _ids_of(self, tokens: Sequence[str]) -> list[int] | Invalid:
        try:
            return [self._seen[token] for token in tokens]
        except KeyError:
            unseen = {token: self._class_of(token) for token in tokens if token not in self._seen}
        self._seen |= {token: self._ids[name] for token, name in unseen.items() if name in self._ids}
        unknown = next((token for token in unseen if token not in self._seen), None)
        if unknown is not None:
            return Invalid(f"atom {unknown!r} is not in the vocabulary of this model")
        return [self._seen[token] for token in tokens]

    def _class_of(self, token: str) -> str | None:
        return class_of(token, self.counts_hydrogens)

    def _certain(self, smiles: str) -> bool:
        """Whether the graph needs no trial: atoms without brackets have as many hydrogens as their valence says.

        A bond that is written as aromatic, as in `B:B`, may lie outside of rings.
        """
        bracketed = "[" in (smiles if self.counts_hydrogens else smiles.replace("[nH]", ""))
        return not (bracketed or "/" in smiles or ":" in smiles)

    def _comes_back(self, sample: Sample, smiles: str) -> bool:
        decoded = self.decode(sample)
        # Most are decoded to the same string, and need not be read.
        return decoded == smiles or (isinstance(decoded, str) and chem.canonical(decoded) == chem.canonical(smiles))

    # --- decoding ---------------------------------------------------------------------------------

    def decode(self, sample: Sample) -> Item | Invalid:
        """The canonical SMILES of a graph, or why it stands for no molecule, with what was drawn as SMILES."""
        names = self._names_of(sample)
        with rdBase.BlockLogs():
            item = names if isinstance(names, Invalid) else self._molecule(sample, names)
            if isinstance(item, Invalid):
                shown = [self.atom_names[number] for number in sample["atoms"].tolist()]
                return replace(item, raw=graph_build.unchecked(self._built(shown, sample)))
            return item

    def _molecule(self, sample: Sample, names: Sequence[str]) -> Item | Invalid:
        molecule = graph_build.connected(self._built(names, sample))
        if isinstance(molecule, Invalid):
            return molecule
        molecule = chem.sanitised(molecule)
        if isinstance(molecule, Invalid):
            return molecule
        molecule = self._stereo.configured(molecule, sample, self.bond_names)
        if isinstance(molecule, Invalid):
            return molecule
        return graph_build.written(molecule, merge_hydrogens="H" in names)

    def repaired(self, sample: Sample, name: str) -> Sample:
        """The sample as a repair leaves it, the same one where it has nothing to do; it may still be no molecule.

        Args:
            sample: of the space.
            name: one of `repairs`.
        """
        names = self._names_of(sample)
        if isinstance(names, Invalid):
            return sample
        with rdBase.BlockLogs():
            return self.repairs[name](partial(self._built, names), self.bond_names)(sample)

    # --- parts --------------------------------------------------------------------------------------

    def known_part(self, item: Item) -> KnownPart | Invalid:
        """A scaffold: SMILES with attachment points, such as `c1ccccc1*`; new atoms are bonded to those alone."""
        if not isinstance(item, str):
            return Invalid("a scaffold is a SMILES string")
        with rdBase.BlockLogs():
            part = scaffold_of(item, aromatic=self.config.aromatic, hydrogens=self.config.hydrogens)
        if isinstance(part, Invalid):
            return part
        ids = self._ids_of(part.tokens)
        if isinstance(ids, Invalid):
            return ids
        count = len(part.bonds)
        if count > (most := self._space["atoms"].axes[0].maximum):
            return Invalid(f"more than the {most} atoms that this model can write")
        sample = {name: np.zeros(count, np.uint8) for name in self._space if name != "bonds"}
        sample["atoms"][:] = ids + [self._ids["H"]] * (count - len(ids))
        points = int(part.open.sum())
        note = f"{points} atoms have an attachment point: each may be grown, and one that is not keeps its hydrogens"
        closed = {"bonds": ~part.open}
        return KnownPart({**sample, "bonds": part.bonds}, closed, note=note if points > 1 else "")

    def _names_of(self, sample: Sample) -> list[str] | Invalid:
        numbers = sample["atoms"].tolist()
        names = [name for number in numbers if (name := self.atom_names[number]) is not None]
        if len(names) < len(numbers):
            number = next(number for number in numbers if self.atom_names[number] is None)
            return Invalid(f"class {number} is a spare row of the vocabulary, to which no atom belongs")
        return names

    def _built(self, names: Sequence[str | None], sample: Sample) -> Chem.RWMol:
        return graph_build.built(names, sample["bonds"], self.bond_names, explicit=self.config.hydrogens)

    # --- the vocabulary -----------------------------------------------------------------------------

    def prepare(self, items: Iterable[Item]) -> None:
        """Learn the largest number of atoms, if no items were seen before, and give spare rows to unknown atoms."""
        largest, counts = 0, Counter[str]()
        for item in items:
            if isinstance(item, str) and not _FOREIGN.search(item):
                tokens = atom_tokens(item)
                largest = max(largest, self._count(item, tokens))
                counts.update(
                    name for token in tokens if "[" in token and (name := class_of(token, self.counts_hydrogens))
                )
        self._use(self._with_learned(counts), self._largest or min(largest, MAX_ATOMS) or None)

    def _count(self, item: str, tokens: Sequence[str]) -> int:
        if not self.config.hydrogens:
            return len(tokens)
        molecule = chem.parse(item)
        return 0 if isinstance(molecule, Invalid) else molecule.GetNumAtoms(onlyExplicit=False)

    def _with_learned(self, counts: Mapping[str, int]) -> list[str | None]:
        unknown = sorted((-count, name) for name, count in counts.items() if name not in self._ids)
        learned = [name for _, name in unknown if graph_build.atomic_number(parsed(name).symbol) > 0]
        names = list(self.atom_names)
        free = [number for number, name in enumerate(names) if name is None]
        for number, name in zip(free, learned, strict=False):
            names[number] = name
        return names

    def state(self) -> dict[str, Any]:
        """The classes of atoms by their ids, null for a free spare row, and the largest number of atoms."""
        return {"atoms": list(self.atom_names), "largest": self._largest}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over classes of atoms and a largest number of atoms.

        Raises:
            ValueError: the classes are not distinct names of atoms and nulls, with "C" and "H" among them, or the
                largest number is no possible one.
        """
        names, largest = state.get("atoms"), state.get("largest")
        if not isinstance(names, list) or not all(name is None or _is_atom(name) for name in names):
            raise ValueError("the classes of atoms must be a list of names such as 'C' and 'N+', and nulls")
        known = [name for name in names if name is not None]
        if len(set(known)) < len(known) or not {"C", "H"} <= set(known) or len(names) > 256:
            raise ValueError("the classes of atoms must name each atom once, C and H among them, and be 256 at most")
        if largest is not None and not (isinstance(largest, int) and 1 <= largest <= MAX_ATOMS):
            raise ValueError(f"the largest number of atoms must be from 1 to {MAX_ATOMS}, not {largest!r}")
        self._use(list(names), largest)


def _is_atom(name: Any) -> bool:
    try:
        return graph_build.atomic_number(parsed(name).symbol) > 0
    except ValueError:
        return False


def _cause(molecule: Chem.Mol) -> str:
    """Why the graph of a molecule that can be read is that of another one."""
    if any(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms()):
        return "a radical"
    if any(bond.GetBondType() == Chem.BondType.AROMATIC and not bond.IsInRing() for bond in molecule.GetBonds()):
        return "an aromatic bond outside of rings"
    return "its graph stands for another molecule"
