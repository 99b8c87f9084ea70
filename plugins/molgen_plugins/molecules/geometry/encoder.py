"""Molecules in space as typed fields: atoms of an element, their positions, and perhaps their bonds and charges.

Letters in shapes: N atoms of one molecule, its fake ones included.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from molgen.domain import Encoder, Invalid, Item, KnownPart, Sample
from molgen.space import Axis, Categorical, Field, Real, Space
from molgen_plugins.molecules.chemistry import rdkit_io as chem
from molgen_plugins.molecules.geometry import standard, stereo
from molgen_plugins.molecules.geometry.conformer import Conformer
from molgen_plugins.molecules.geometry.embedding import embedded
from molgen_plugins.molecules.geometry.fragment import fragment_of
from molgen_plugins.molecules.geometry.perception import orders_by_length
from molgen_plugins.molecules.geometry.xyz import NUMBERS, SYMBOLS

#: Elements of MOSES, ZINC, QM9 and GEOM, and what users' libraries commonly add. The order is frozen: it is what class
#: ids mean.
ELEMENTS: tuple[str, ...] = ("H", "C", "N", "O", "F", "S", "Cl", "Br", "I", "P", "B", "Si", "Se")
#: How many further elements a model can learn from its training set.
SPARE_ROWS = 3
#: Formal charges by class id.
CHARGES: tuple[int, ...] = (0, 1, -1, 2, -2, 3, -3)
BONDS: tuple[str, ...] = ("none", "single", "double", "triple")
#: The name of atoms that stand for nothing.
FAKE = "fake"

#: The most atoms of a molecule where neither the settings nor training items say it, and the most of all.
MOST_ATOMS, MAX_ATOMS = 64, 512
#: How far a fake atom is from the atom that it was put beside, in ångström, in each direction (a standard deviation).
FAKE_DISTANCE = 1.0

#: What a canonical SMILES has that no geometry can hold.
_FOREIGN = re.compile(r"\.|\*|\[\d")
_FOREIGN_CAUSE = {".": "not connected: several fragments", "*": "an attachment point is no atom", "[": "an isotope"}


@dataclass(frozen=True)
class GeometryConfig:
    """Settings of the geometry encoder.

    Attributes:
        bonds: bonds are a field of the model; otherwise they are found from the positions that it draws.
        charges: formal charges are a field of the model; otherwise they are found with the bonds.
        stereo: which stereoisomer it is is a field of pairs of atoms, beside bonds, to be given to a model that draws
            positions (`family.given`); positions of its mirror image are reflected. Otherwise it follows from the
            positions alone.
        elements: the only elements of the model, such as H, C, N, O and F; by default all usual ones.
        max_atoms: the largest number of atoms, hydrogens included; by default that of the largest training item.
        fake_atoms: up to so many atoms that stand for nothing are added in training, so that a model can decide late
            how many atoms a molecule has.
        perception: how bonds are found where they are no field: by RDKit, or by the table of lengths by which published
            models are compared, which knows neither charges nor aromatic rings.
        missing: what becomes of a molecule without positions: they are found by ETKDGv3 and MMFF94, or it is refused.
        seconds: that finding positions may take.
    """

    bonds: bool = False
    charges: bool = False
    stereo: bool = False
    elements: tuple[str, ...] | None = None
    max_atoms: int | None = None
    fake_atoms: int = 0
    perception: Literal["rdkit", "lengths"] = "rdkit"
    missing: Literal["embed", "refuse"] = "embed"
    seconds: int = 20

    def __post_init__(self) -> None:
        if self.max_atoms is not None and not 1 <= self.max_atoms <= MAX_ATOMS:
            raise ValueError(f"max_atoms must be from 1 to {MAX_ATOMS}, not {self.max_atoms}")
        if self.fake_atoms < 0 or self.fake_atoms > MAX_ATOMS:
            raise ValueError(f"fake_atoms must be from 0 to {MAX_ATOMS}, not {self.fake_atoms}")
        if self.stereo and not self.bonds:
            raise ValueError("stereo needs bonds=true: it is said of neighbours")
        if self.seconds < 1:
            raise ValueError(f"seconds must be at least 1, not {self.seconds}")
        if self.elements is not None:
            _require_elements(self.elements)


def _require_elements(symbols: Iterable[Any]) -> None:
    known = [symbol for symbol in symbols if symbol is not None]
    if unknown := [symbol for symbol in known if symbol not in NUMBERS]:
        raise ValueError(f"elements must be symbols such as H and C, and {unknown[0]!r} is none")
    if not known or len(set(known)) < len(known):
        raise ValueError("elements must name at least one element, and each once")


class Geometry(Encoder):
    """Conformers as `atoms`, class ids (N,), and `positions` in ångström (N, 3), along an axis without order.

    Positions are centred, and equivariant networks alone transform them. With `bonds=true` there is a symmetric field
    of bond orders (N, N), with `charges=true` one of formal charges (N,), and with `stereo=true` one of classes of
    ordered pairs (N, N), see `stereo`. Atoms stand in the order of the canonical
    SMILES, hydrogens behind all others, so that every heavy atom but the first is bonded to an earlier one.

    Without bonds as a field, what a sample stands for is found from its positions by the domain, in a worker that may
    be killed; so is whether it stands for a molecule at all.
    """

    Config: ClassVar[type] = GeometryConfig
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"max_atoms": 10, "elements": ["H", "C", "N", "O"], "bonds": True}
    usual_output: ClassVar[str | None] = "generated.sdf"
    config: GeometryConfig

    def __init__(self, config: GeometryConfig | None = None) -> None:
        super().__init__(config)
        given = self.config.elements
        self._use([*ELEMENTS, *[None] * SPARE_ROWS] if given is None else list(given), None)

    def _use(self, symbols: list[str | None], largest: int | None) -> None:
        self.symbols, self._largest = symbols, largest
        #: the atomic number of each class, 0 for a spare row and for fake atoms.
        numbers = [0 if symbol is None else NUMBERS[symbol] for symbol in symbols]
        self._numbers = np.array([*numbers, *([0] if self.config.fake_atoms else [])], np.uint8)
        self._classes = np.full(len(SYMBOLS), -1)
        self._classes[[number for number in numbers if number]] = [k for k, number in enumerate(numbers) if number]
        self._most = self.config.max_atoms or largest or MOST_ATOMS
        self._space = self._fields(Axis("atom", self._most + self.config.fake_atoms, ordered=False))

    def _fields(self, atom: Axis) -> dict[str, Field]:
        fields: dict[str, Field] = {"atoms": Categorical((atom,), classes=len(self._numbers))}
        if self.config.charges:
            fields["charges"] = Categorical((atom,), classes=len(CHARGES))
        if self.config.bonds:
            fields["bonds"] = Categorical((atom, atom), classes=len(BONDS), symmetric=True)
        if self.config.stereo:
            fields["stereo"] = Categorical((atom, atom), classes=len(stereo.CLASSES))
        return {**fields, "positions": Real((atom,), channels=(3,), centred=True, rotates=True)}

    @property
    def space(self) -> Space:
        """The fields `atoms`, perhaps `charges` and `bonds`, and `positions`, along the axis `atom`."""
        return self._space

    # --- encoding ---------------------------------------------------------------------------------

    def encode(self, item: Item) -> Sample | Invalid:
        """The fields of a conformer, of the text of a molecule file, or of SMILES, for which positions are found."""
        conformer = self._conformer(item)
        if isinstance(conformer, Invalid):
            return conformer
        if foreign := _FOREIGN.search(conformer):
            return Invalid(_FOREIGN_CAUSE[foreign[0][0]])
        return self._too_large() if len(conformer.elements) > self._most else self._sample(conformer)

    def encode_fields(self, item: Item, names: Collection[str]) -> Sample | Invalid:
        """Some fields of a molecule; where positions are none of them, none are looked for.

        Of a molecule that leaves its stereoisomer open, one that exists in space is found and said, if that is asked.
        """
        isomer = "stereo" in names and isinstance(item, str) and not standard.is_spatial(item) and stereo.is_open(item)
        if isomer or "positions" in names or standard.is_spatial(item) or not isinstance(item, str):
            return super().encode_fields(item, names)
        if foreign := _FOREIGN.search(item):
            return Invalid(_FOREIGN_CAUSE[foreign[0][0]])
        flat = standard.without_positions(item)
        if isinstance(flat, Invalid):
            return flat
        sample = self._too_large() if len(flat.elements) > self._most else self._sample(flat, fake=False)
        return sample if isinstance(sample, Invalid) else {name: sample[name] for name in names}

    def _too_large(self) -> Invalid:
        return Invalid(f"more than the {self._most} atoms that this model can write")

    @property
    def item_seconds(self) -> float | None:
        """The time that finding positions may take, on which RDKit keeps a loose eye itself."""
        return 5.0 + 4.0 * self.config.seconds if self.config.missing == "embed" else None

    def provenance(self, item: Item) -> str:
        """Where positions come from that are not those of the data."""
        if isinstance(item, Conformer):
            return f"positions by {item.origin}" if item.origin else ""
        return "" if standard.is_spatial(item) else "positions by ETKDGv3 and MMFF94"

    def _conformer(self, item: Item) -> Conformer | Invalid:
        if not isinstance(item, str):
            return Invalid(f"a molecule is a SMILES string or a conformer, not {type(item).__name__}")
        if isinstance(item, Conformer) and (item or not (self.config.bonds or self.config.charges)):
            return item if len(item.elements) else Invalid("there is no atom")
        if standard.is_spatial(item):
            found = standard.canonical(item)
            if isinstance(found, Invalid):
                return found
            if isinstance(found[0], Conformer):
                return found[0]
            item = found[0]
        return self._embedded(item)

    def _embedded(self, smiles: str) -> Conformer | Invalid:
        if self.config.missing == "refuse":
            return Invalid("it has no positions; encoder.missing=embed finds some by ETKDGv3 and MMFF94")
        if foreign := _FOREIGN.search(smiles):
            return Invalid(_FOREIGN_CAUSE[foreign[0][0]])
        if len(_elements_of(smiles)) > self._most:
            return self._too_large()
        written = chem.canonical(smiles)  # so that every spelling of a molecule is given the same positions
        found = written if isinstance(written, Invalid) else embedded(written, self.config.seconds)
        if isinstance(found, Invalid):
            return found
        conformer = standard.conformer_of(*found)
        if isinstance(conformer, Invalid) or self._comes_back(conformer):
            return conformer
        return Invalid(
            "its bonds are not found again from the positions that were found; encoder.bonds=true keeps them"
        )

    def _comes_back(self, conformer: Conformer) -> bool:
        """Whether the molecule can be told from what the model sees of it.

        Positions that a force field found are not worth to learn otherwise; measured and computed ones are.
        """
        if self.config.bonds:
            return True
        sample = self._sample(conformer)
        found = sample if isinstance(sample, Invalid) else standard.canonical(self._item(sample))
        return not isinstance(found, Invalid) and found[0] == conformer

    def _sample(self, conformer: Conformer, fake: bool = True) -> Sample | Invalid:
        atoms = self._classes[conformer.elements]
        if (atoms < 0).any():
            return Invalid(
                f"element {SYMBOLS[conformer.elements[atoms < 0][0]]} is not in the vocabulary of this model"
            )
        sample: dict[str, np.ndarray] = {"atoms": atoms.astype(np.uint8)}
        if self.config.charges:
            if np.abs(conformer.charges).max() > max(CHARGES):
                return Invalid(f"a charge beyond {max(CHARGES)} is not in the vocabulary of this model")
            sample["charges"] = np.array([CHARGES.index(charge) for charge in conformer.charges.tolist()], np.uint8)
        if self.config.bonds:
            if conformer.bonds is None or conformer.bonds.max() >= len(BONDS):
                return Invalid("a bond that is neither single, double nor triple")
            if conformer.charges.any() and not self.config.charges:
                return Invalid(
                    "formal charges, without which its bonds are no molecule; encoder.charges=true keeps them"
                )
            sample["bonds"] = np.array(conformer.bonds)
        if self.config.stereo:
            sample["stereo"] = self._stereo(conformer, sample["bonds"])
        positions = conformer.positions - conformer.positions.mean(axis=0)
        if not fake or not self.config.fake_atoms:
            return {**sample, "positions": positions.astype(np.float32)}
        return self._with_fake_atoms({**sample, "positions": positions})

    def _stereo(self, conformer: Conformer, bonds: np.ndarray) -> np.ndarray:
        found = stereo.pair_classes(str(conformer), bonds)
        spread = np.ptp(conformer.positions, axis=0).any()
        return stereo.as_positions_have_it(found, bonds, conformer.positions) if spread else found

    def _with_fake_atoms(self, sample: dict[str, np.ndarray]) -> Sample:
        """Put some atoms beside those of the molecule: how many and where, its content decides, as if by chance."""
        positions, count = sample["positions"], len(sample["atoms"])
        rng = np.random.default_rng(zlib.crc32(np.round(positions, 3).tobytes()))
        added = int(rng.integers(self.config.fake_atoms + 1))
        beside = positions[rng.integers(count, size=added)] + FAKE_DISTANCE * rng.standard_normal((added, 3))
        positions = np.concatenate([positions, beside])
        padded = {
            name: np.pad(
                array, [(0, added)] * array.ndim, constant_values=len(self._numbers) - 1 if name == "atoms" else 0
            )
            for name, array in sample.items()
            if name != "positions"
        }
        return {**padded, "positions": (positions - positions.mean(axis=0)).astype(np.float32)}

    # --- decoding ---------------------------------------------------------------------------------

    def decode(self, sample: Sample) -> Item | Invalid:
        """The conformer of a sample, whose molecule the domain finds; or why it is none, such as no real atom."""
        numbers = self._numbers[sample["atoms"]]
        spare = (numbers == 0) & (sample["atoms"] < len(self.symbols))
        if spare.any():
            number = int(sample["atoms"][spare][0])
            return Invalid(f"class {number} is a spare row of the vocabulary, to which no element belongs")
        if not numbers.any():
            return Invalid("it has no atom that is not fake")
        if not np.isfinite(sample["positions"]).all():
            return Invalid("positions that are no numbers")
        return self._isomer(sample) if self.config.stereo else self._item(sample)

    def _isomer(self, sample: Sample) -> Item | Invalid:
        """The conformer or its mirror image, whichever is the stereoisomer that the sample says; or that neither is.

        Both have the same energy. So a network that tells shapes but no hands is not wrong every other time. What it
        draws is then at least as likely as it rates it, by the density of the mirror image.
        """
        real = np.flatnonzero(self._numbers[sample["atoms"]])
        classes, bonds = (sample[name][np.ix_(real, real)] for name in ("stereo", "bonds"))
        faults = []
        for positions in (sample["positions"], -sample["positions"]):
            fault = stereo.contradiction(classes, bonds, positions[real].astype(np.float64))
            if not fault:
                return self._item({**sample, "positions": positions})
            faults.append(fault)
        return Invalid(faults[0], self._item(sample))

    def _item(self, sample: Sample) -> Conformer:
        real = np.flatnonzero(self._numbers[sample["atoms"]])
        elements = self._numbers[sample["atoms"]][real]
        positions = sample["positions"][real].astype(np.float64)
        bonds = charges = None
        if self.config.charges:
            charges = np.array(CHARGES)[sample["charges"][real]]
        if self.config.bonds:
            bonds = sample["bonds"][np.ix_(real, real)]
        elif self.config.perception == "lengths":
            bonds = orders_by_length(elements, positions)
        return Conformer("", elements, positions, charges, bonds, "model")

    # --- parts --------------------------------------------------------------------------------------

    def known_part(self, item: Item) -> KnownPart | Invalid:
        """A part in space that every molecule contains, up to a motion of the whole.

        It is the text of a molecule file, such as a `.sdf` with one part or several, or SMILES such as `c1ccccc1*`, for
        which positions are found. Where bonds are a field, new atoms are bonded to atoms at attachment points alone.
        """
        if not isinstance(item, str):
            return Invalid("a part is the text of a molecule file, or SMILES with attachment points")
        part = fragment_of(item, self.config.seconds)
        if isinstance(part, Invalid):
            return part
        count = len(part.atoms.elements)
        if count > self._most:
            return self._too_large()
        if self.config.bonds and part.atoms.bonds is None:
            return Invalid("the file names no bonds, which are a field of this model; .sdf and .mol2 files name them")
        sample = self._sample(part.atoms, fake=False)
        if isinstance(sample, Invalid):
            return sample
        points = int(part.open.sum())
        note = f"{points} of its {count} atoms may be grown" if points > 1 else ""
        return KnownPart(sample, {"bonds": ~part.open} if self.config.bonds else {}, note=note)

    # --- the vocabulary -----------------------------------------------------------------------------

    def prepare(self, items: Iterable[Item]) -> None:
        """Learn the largest number of atoms, if no items were seen before, and give spare rows to unknown elements."""
        largest, counts = 0, Counter[int]()
        for item in items:
            numbers = _elements_of(item)
            largest = max(largest, len(numbers))
            counts.update(np.unique(numbers[numbers > 0]).tolist())
        self._use(self._with_learned(counts), self._largest or min(largest, MAX_ATOMS) or None)

    def _with_learned(self, counts: Mapping[int, int]) -> list[str | None]:
        unknown = sorted((-count, number) for number, count in counts.items() if self._classes[number] < 0)
        symbols = list(self.symbols)
        free = [place for place, symbol in enumerate(symbols) if symbol is None]
        for place, (_, number) in zip(free, unknown, strict=False):
            symbols[place] = SYMBOLS[number]
        return symbols

    def state(self) -> dict[str, Any]:
        """The elements by their class ids, null for a free spare row, and the largest number of atoms."""
        return {"elements": list(self.symbols), "largest": self._largest}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over elements and a largest number of atoms.

        Raises:
            ValueError: the elements are not distinct symbols and nulls, or the largest number is no possible one.
        """
        symbols, largest = state.get("elements"), state.get("largest")
        if not isinstance(symbols, list) or len(symbols) > 119:
            raise ValueError("the elements must be a list of symbols such as 'C' and 'N', and nulls")
        _require_elements(symbols)
        if largest is not None and not (isinstance(largest, int) and 1 <= largest <= MAX_ATOMS):
            raise ValueError(f"the largest number of atoms must be from 1 to {MAX_ATOMS}, not {largest!r}")
        self._use(list(symbols), largest)


def _elements_of(item: Item) -> np.ndarray:
    """The atomic numbers of a training item, hydrogens included; none for what has several parts or is unreadable."""
    if isinstance(item, Conformer):
        return item.elements if "." not in item else np.zeros(0, np.uint8)
    if standard.is_spatial(item):
        atoms = standard.scattered(item)
        if atoms is not None and (atoms.elements == 1).any():  # so hydrogens are there, and nothing else is asked
            return atoms.elements
        found = standard.canonical(item)
        return np.zeros(0, np.uint8) if isinstance(found, Invalid) else _elements_of(found[0])
    molecule = chem.parse(item) if isinstance(item, str) and not _FOREIGN.search(item) else None
    if molecule is None or isinstance(molecule, Invalid):
        return np.zeros(0, np.uint8)
    heavy = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    return np.array([*heavy, *[1] * (molecule.GetNumAtoms(onlyExplicit=False) - len(heavy))], np.uint8)
