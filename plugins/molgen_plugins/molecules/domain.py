"""The domain of molecules. An item is a SMILES string, and a `Conformer` where its atoms have positions.

RDKit is imported when chemistry is first asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

from molgen.domain import Descriptors, Domain, Invalid, Item, Record

if TYPE_CHECKING:
    import numpy as np
    from rdkit.Chem import Mol

#: Small and large, charged, chiral, isotopic, aromatic and not, rings up to 15 atoms, several fragments.
EXAMPLES = (
    "C",
    "CC(=O)Oc1ccccc1C(=O)O",  # aspirin
    "CN1C(=O)N(C)c2ncn(C)c2C1=O",  # caffeine, kekulised in part
    "COc1ccc2[nH]cc(CCNC(C)=O)c2c1",  # melatonin
    "C[C@H](N)C(=O)[O-].[Na+]",  # a salt
    "C[N+](C)(C)CC(=O)[O-]",  # a zwitterion
    "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O",  # glucose
    "C/C=C/C(=O)/C=C\\Br",  # double bonds
    "[2H]C([2H])([2H])S(=O)(=O)c1cc[13cH]cc1",  # isotopes
    "O=C1CCCCCCCCCCCCCO1",  # a ring of 15 atoms
    "C[S@@](=O)c1ccc(cc1)P(=O)(O)OB(O)O",  # sulfur, phosphorus and boron
    "Fc1ccc(cc1)C#Cc1ccc(s1)-c1ncc(Cl)cc1I",  # halogens
    "C1CC2CCC1C2.c1ccc2ccccc2c1",  # a bridge, and two molecules
)


_CHEMNET = {"feature": "chemnet"}
_EDM = {"enough": 10_000}
_DISTANCES = {"logP": "logp", "SA": "sa", "QED": "qed", "weight": "mw"}

#: Suites of metrics, under the labels of the publications that they come from.
SUITES: Mapping[str, Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    # Polykovskiy et al., Frontiers in Pharmacology 11:565644, 2020
    "moses": {
        "Valid": ("validity", {"enough": 30_000}),
        "Unique@1k": ("uniqueness", {"first": 1_000, "enough": 30_000}),
        "Unique@10k": ("uniqueness", {"first": 10_000, "enough": 30_000}),
        "FCD/{}": ("frechet_distance", {**_CHEMNET, "enough": 30_000}),
        "SNN/{}": ("molecules.snn", {}),
        "Frag/{}": ("molecules.fragments", {}),
        "Scaf/{}": ("molecules.scaffolds", {}),
        "IntDiv": ("molecules.internal_diversity", {"power": 1}),
        "IntDiv2": ("molecules.internal_diversity", {"power": 2}),
        "Filters": ("molecules.filters", {}),
        **{f"{label}/{{}}": ("molecules.property_distance", {"property": p}) for label, p in _DISTANCES.items()},
        "Novelty": ("novelty", {"enough": 30_000}),
    },
    # Brown et al., J. Chem. Inf. Model. 59(3), 2019
    "guacamol": {
        "Validity": ("validity", {"enough": 10_000}),
        # without stereochemistry, as the benchmark tells molecules apart
        "Uniqueness": ("uniqueness", {"by": "flat", "first": 10_000, "enough": 10_000}),
        "Novelty": ("novelty", {"by": "flat", "enough": 10_000}),
        "KL score/{}": ("molecules.kl_score", {}),
        "FCD score/{}": ("molecules.fcd_score", {}),
    },
    # Jo et al., ICML 2022 and Vignac et al., ICLR 2023; V.U and V.U.N are shares of all draws
    "graph": {
        "V": ("validity", {"enough": 10_000}),
        "V.U": ("valid_unique", {"enough": 10_000}),
        "V.U.N": ("valid_unique_novel", {"enough": 10_000}),
        "U|V": ("uniqueness", {"enough": 10_000}),
        "N|V.U": ("novelty", {"enough": 10_000}),
        "FCD/{}": ("frechet_distance", {**_CHEMNET, "enough": 10_000}),
    },
    # Hoogeboom et al., ICML 2022 (EDM): bonds from a table of lengths
    "edm": {
        "Atom stability": ("molecules.atom_stability", _EDM),
        "Molecule stability": ("molecules.molecule_stability", _EDM),
        "Valid by lengths": ("molecules.length_validity", _EDM),
        "Valid and unique by lengths": ("molecules.length_valid_unique", _EDM),
        "Novel by lengths": ("molecules.length_novelty", _EDM),
    },
    # molecules in space by their own bonds, as in Vignac et al., ECML 2023 (MiDi) and its corrections
    "geometry": {
        "Atom stability, own bonds": ("molecules.atom_stability", {"bonds": "own"}),
        "Molecule stability, own bonds": ("molecules.molecule_stability", {"bonds": "own"}),
        "Valid": ("validity", {}),
        "Valid and connected": ("molecules.connected_validity", {}),
        "Unique": ("uniqueness", {}),
        "Novelty": ("novelty", {}),
        "Bond lengths/{}": ("molecules.geometry_distance", {"measure": "bond_lengths"}),
        "Bond angles/{}": ("molecules.geometry_distance", {"measure": "bond_angles"}),
        "Torsions/{}": ("molecules.geometry_distance", {"measure": "dihedrals"}),
        "Strain": ("molecules.strain", {}),
    },
    # Ganea et al., NeurIPS 2021
    "conformers": {
        "COV-R/{}": ("molecules.conformer_coverage", {"of": "recall"}),
        "MAT-R/{}": ("molecules.conformer_matching", {"of": "recall"}),
        "COV-P/{}": ("molecules.conformer_coverage", {"of": "precision"}),
        "MAT-P/{}": ("molecules.conformer_matching", {"of": "precision"}),
    },
    "memorisation": {
        "Copies": ("copies", {}),
        "Near copies": ("molecules.near_copies", {}),
        "Scaffold novelty": ("molecules.scaffold_novelty", {}),
        "Closer to training than {}": ("molecules.closer_to_training", {}),
    },
    "features": {
        "KID/{}": ("kernel_distance", _CHEMNET),
        "Precision/{}": ("precision", _CHEMNET),
        "Recall/{}": ("recall", _CHEMNET),
        "Density/{}": ("density", _CHEMNET),
        "Coverage/{}": ("coverage", _CHEMNET),
    },
}


class Molecules(Domain):
    """Molecules as SMILES strings, with positions or without; equal ones share RDKit's canonical isomeric SMILES.

    Each with positions is a `Conformer`, which is a string too.
    """

    column: ClassVar[str] = "smiles"
    metrics: ClassVar[tuple[str, ...]] = ("moses",)
    networks: ClassVar[Mapping[str, str]] = {"chemnet": "molgen_plugins.molecules.chemnet:network"}
    summaries: ClassVar[Path | None] = Path(__file__).parent / "summaries"
    inspector: ClassVar[str | None] = "molgen_plugins.molecules.chemistry.inspection:inspector"
    canonical_inspector: ClassVar[str | None] = "molgen_plugins.molecules.chemistry.inspection:canonical_inspector"
    usual_properties: ClassVar[tuple[str, ...]] = ("qed", "logp", "sa", "mw", "radicals")
    row_features: ClassVar[Collection[str]] = ("by_lengths", "by_bonds")
    group_feature: ClassVar[str | None] = "scaffold"
    group_words: ClassVar[tuple[str, str]] = ("scaffold", "scaffolds")
    bits_feature: ClassVar[str | None] = "fingerprint"
    distance_feature: ClassVar[str | None] = "fingerprint2048"
    screening_feature: ClassVar[str | None] = "substance"
    file_ending: ClassVar[str] = "smi"
    default_encoder: ClassVar[str | None] = "molecules.smiles"
    default_model: ClassVar[str | None] = "moses"

    def examples(self) -> list[Item]:
        """A dozen molecules that show the range of the notation."""
        return list(EXAMPLES)

    def canonical(self, item: Item) -> Item | Invalid:
        """The canonical isomeric SMILES of a molecule, or why the string is none. Never raises on bad data.

        A conformer, and the text of a molecule file, become a conformer in canonical form.
        """
        from molgen_plugins.molecules.chemistry.inspection import standard

        found = standard(item)
        return found if isinstance(found, Invalid) else found[0]

    def key(self, item: Item) -> str:
        """The canonical SMILES itself."""
        return str(item)

    def content(self, item: Item) -> str:
        """The canonical SMILES, with a hash of the positions where it has some."""
        return getattr(item, "content", str(item))

    def unfinished(self, item: Item) -> str:
        """That attachment points are open, or that a geometry falls into several molecules."""
        if "*" in item:
            return "attachment points (*) are open: it is a part of a molecule"
        # Of a geometry it is the positions that say what belongs together.
        parts = item.count(".") + 1 if hasattr(item, "positions") else 1
        return f"not connected: {parts} fragments" if parts > 1 else ""

    def suites(self) -> Mapping[str, Mapping[str, tuple[str, Mapping[str, Any]]]]:
        """MOSES, GuacaMol, the protocols of graphs and of molecules in space, memorisation, ChemNet's features."""
        return SUITES

    def descriptors(self) -> Descriptors:
        """The properties by name (NaN where there is no molecule), the filters, and features.

        Filters are those of MOSES, and that no electron is unpaired.
        """
        from molgen_plugins.molecules.chemistry import features, filters, properties
        from molgen_plugins.molecules.geometry import features as spatial

        return Descriptors(
            properties={name: _number(name) for name in properties.PROPERTIES},
            filters={
                "closed-shell": lambda item: _of_molecule(filters.closed_shell, item, otherwise=False),
                "moses": lambda item: _of_molecule(filters.passes, item, otherwise=False),
            },
            features={
                **{name: _feature(name) for name in features.FEATURES},
                **{name: partial(_spatial_feature, name) for name in spatial.FEATURES},
            },
        )

    def stored(self, item: Item) -> str | bytes:
        """The canonical SMILES; of a molecule in space the text of a MOL file, which keeps its positions."""
        from molgen_plugins.molecules.io.molblock import molblock

        return molblock(item) if hasattr(item, "positions") else str(item)

    def from_stored(self, value: str | bytes) -> Item | Invalid:
        """The molecule that `stored` gave, or why a value holds none."""
        if isinstance(value, bytes):
            return Invalid("text was expected, not bytes")
        return self.canonical(value) if "\n" in value else self.from_text(value)

    def pattern(self, text: str) -> Callable[[Item], bool] | Invalid:
        """Whether a molecule has the substructure that a SMARTS string asks for, or why that is none."""
        from molgen_plugins.molecules.chemistry import smarts

        try:
            asked = smarts.substructure(text)
        except ValueError as error:
            return Invalid(str(error))
        return lambda item: _of_molecule(lambda molecule: molecule.HasSubstructMatch(asked), item, otherwise=False)

    def read(
        self, source: str | Path | IO[bytes], *, format: str | None = None, column: str | None = None
    ) -> Iterator[Record]:
        """The rows of a `.smi`, `.csv`, `.tsv` or `.parquet` file or stream; see `files.read`."""
        from molgen_plugins.molecules.io import files

        return files.read(source, format=format, column=column)

    def write(
        self, rows: Iterable[Mapping[str, Any]], target: str | Path | IO[bytes], *, format: str | None = None
    ) -> int:
        """Write rows with the column `smiles` to a file or stream; see `files.write`."""
        from molgen_plugins.molecules.io import files

        return files.write(rows, target, format=format)

    def canary(self, rng: np.random.Generator, items: Sequence[Item]) -> Item | Invalid:
        """A chain of random building blocks, about as long as the first of some real SMILES; none with positions."""
        from molgen_plugins.molecules.chemistry.chains import chain

        if any(hasattr(item, "positions") for item in items[:1]):
            return Invalid("no molecules with positions are made up")
        return chain(rng, max(map(len, items[:1]), default=20))

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether it is a list of SMILES, a Parquet file, or a table with a usual name of the SMILES column."""
        from molgen_plugins.molecules.io import files

        return files.recognises(path)

    def draw(self, items: Sequence[Item], legends: Sequence[str] | None = None) -> str:
        """A contact sheet of up to 60 molecules as one SVG document without external references."""
        from molgen_plugins.molecules.io import drawing

        return drawing.sheet(items, legends)

    def in_space(self, item: Item) -> str | None:
        """The conformer as the text of a MOL file."""
        from molgen_plugins.molecules.io.molblock import molblock

        return molblock(item) if hasattr(item, "positions") else None


def _number(name: str) -> Callable[[Item], float]:
    from molgen_plugins.molecules.chemistry import properties

    return lambda item: _of_molecule(lambda molecule: properties.compute(molecule, (name,))[name], item, math.nan)


def _feature(name: str) -> Callable[[Item], Any]:
    from molgen_plugins.molecules.chemistry import features

    return lambda item: _of_molecule(lambda molecule: features.FEATURES[name](molecule), item, None)


def _spatial_feature(name: str, item: Item) -> Any:
    from molgen_plugins.molecules.geometry import features as spatial

    of_row = name in spatial.ROW_FEATURES
    return spatial.of_row(item, item, [name])[name] if of_row else spatial.of_molecule(item, [name])[name]


def _of_molecule(function: Callable[[Mol], Any], item: Item, otherwise: Any) -> Any:
    from molgen_plugins.molecules.chemistry import rdkit_io as chem

    molecule = chem.parse(item)
    return otherwise if isinstance(molecule, Invalid) else function(molecule)
