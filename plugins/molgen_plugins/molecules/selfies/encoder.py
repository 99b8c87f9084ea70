"""SMILES strings as sequences of SELFIES symbols (Krenn et al., Mach. Learn.: Sci. Technol. 1, 045024, 2020).

Any sequence of symbols stands for a molecule, by the grammar of the library `selfies`. Items stay SMILES strings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import ClassVar, Literal

import selfies as library

from molgen.domain import Invalid, Item
from molgen_plugins.molecules.merges import MOST_MERGES
from molgen_plugins.molecules.selfies.vocabulary import MOST_BONDS, SPARE_ROWS, SYMBOLS
from molgen_plugins.molecules.string_encoder import StringEncoder, require_length

#: The library numbers all rings of a molecule; it writes this one as "%100", which reads as the rings 10 and 0.
_UNREADABLE_RING = "%100"

_TOO_MANY_BONDS = re.compile(r"\[(\S+) with ([\d.]+) bond\(s\) - a max\. of (\d+)")
_bracket_atoms = re.compile(r"[=#/\\]?\[[^\]]*\]").findall


@dataclass(frozen=True)
class SelfiesConfig:
    """Settings of the SELFIES encoder.

    Attributes:
        max_length: the largest number of symbols in a string.
        constraints: how many bonds atoms may have, by the name of a preset of the library. Under `hypervalent` a
            string of symbols may stand for something that RDKit does not read.
        check: decode what was encoded, and refuse a molecule that does not come back.
        merges: how many frequent rows of symbols become symbols of their own (learned from the training data).
    """

    max_length: int = 120
    constraints: Literal["default", "octet_rule", "hypervalent"] = "default"
    check: bool = True
    merges: int = 0

    def __post_init__(self) -> None:
        require_length(self.max_length)
        if not 0 <= self.merges <= MOST_MERGES:
            raise ValueError(f"merges must be between 0 and {MOST_MERGES:,}, not {self.merges}")


_lock = RLock()


@contextmanager
def constraints(most_bonds: Mapping[str, int]) -> Iterator[None]:
    """Let the library work with these constraints for a while; they belong to its whole process.

    Nobody else's constraints change, and threads wait for each other.
    """
    with _lock:
        before = library.get_semantic_constraints()
        if before == most_bonds:
            yield
            return
        library.set_semantic_constraints(dict(most_bonds))
        try:
            yield
        finally:
            library.set_semantic_constraints(before)


class Selfies(StringEncoder):
    """SMILES strings as one field `tokens`, ids of SELFIES symbols of shape (N,), 1 <= N <= max_length.

    The symbols follow the order of the atoms in the string. What the library cannot write is tried once more in
    the form that RDKit gives it: rings with single and double bonds, nitro groups with charges, rings that close
    across a dot. What then has no SELFIES is refused with the reason: attachment points, atoms with more bonds
    than the constraints allow, bonds beyond triple, stereo centres that are not tetrahedral.
    """

    Config: ClassVar[type] = SelfiesConfig
    called = "SELFIES"
    known = SYMBOLS
    spare_rows = SPARE_ROWS
    config: SelfiesConfig

    def __init__(self, config: SelfiesConfig | None = None) -> None:
        super().__init__(config)
        self._most_bonds = {**MOST_BONDS, **library.get_preset_constraints(self.config.constraints)}

    def _tokens_of(self, item: str) -> list[str] | Invalid:
        with constraints(self._most_bonds):
            symbols = _written(item)
            if isinstance(symbols, list) and self._comes_back(symbols, item):
                return symbols
            whole = _rewritten(item)
            symbols = whole if isinstance(whole, Invalid) else _written(whole)
            if isinstance(symbols, Invalid) or self._comes_back(symbols, item):
                return symbols
        return Invalid("its SELFIES stand for another molecule")

    def _comes_back(self, symbols: Sequence[str], item: str) -> bool:
        if not self.config.check:
            return True
        decoded = self._item_of(symbols)
        found = None if isinstance(decoded, Invalid) else _canonical(decoded)
        # Most items are canonical already, and need not be read.
        return found is not None and (found == item or found == _canonical(item))

    def _item_of(self, tokens: Sequence[str]) -> Item | Invalid:
        drawn = "".join(tokens)
        with constraints(self._most_bonds):
            try:
                smiles: str = library.decoder(drawn)
            except (library.DecoderError, RecursionError) as error:
                return Invalid(f"not SELFIES: {_first_line(error)}", raw=drawn)
        if _UNREADABLE_RING in smiles:
            return Invalid("there are no numbers for more than 99 rings", raw=drawn)
        return smiles or Invalid("the symbols stand for no atom", raw=drawn)

    def _learnable(self, items: Iterable[Item]) -> Counter[str]:
        """Only molecules with a bracket atom that is not in the table are written: most of a set have none."""
        in_table: dict[str, bool] = {}
        counts: Counter[str] = Counter()
        for item in items:
            atoms = _bracket_atoms(item) if isinstance(item, str) else []
            for atom in atoms:
                if atom not in in_table:
                    in_table[atom] = _symbols_of_atom(atom) <= set(self._ids)
            if not all(in_table[atom] for atom in atoms):
                symbols = self._tokens_of(item)
                counts.update([] if isinstance(symbols, Invalid) else symbols)
        return counts


def _written(smiles: str) -> list[str] | Invalid:
    """The symbols of a SMILES string by the library, or why it has none."""
    try:
        return list(library.split_selfies(library.encoder(smiles)))
    except Exception as error:  # strings that are no SMILES meet the assertions of the library's parser
        return Invalid(f"it has no SELFIES: {_cause(error)}")


def _cause(error: Exception) -> str:
    text = str(error)
    if bonds := _TOO_MANY_BONDS.search(text):
        return "{} with {} bonds, where {} are allowed".format(*bonds.groups())
    if "kekulization" in text:
        return "its aromatic rings have no Kekulé form"
    return str(getattr(error.__cause__, "reason", "")) or _first_line(error)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _symbols_of_atom(atom: str) -> set[str]:
    """The symbols that a bracket atom with the bond before it can become."""
    bond, bare = (atom[0], atom[1:]) if atom[0] != "[" else ("", atom)
    aromatic = re.match(r"\[\d*[a-z]", bare) is not None
    symbols = _written(bare)
    names = symbols if isinstance(symbols, list) else [bare]
    return {f"[{kind}{name[1:]}" for name in names for kind in {bond, "=" if aromatic else bond}}


def _rewritten(smiles: str) -> str | Invalid:
    """The string as RDKit writes it in its own Kekulé form, the atoms as far as possible in their order."""
    from rdkit import Chem, rdBase

    from molgen_plugins.molecules.chemistry import rdkit_io as chem

    molecule = chem.parse(smiles)
    if isinstance(molecule, Invalid):
        return molecule
    with rdBase.BlockLogs():
        try:
            Chem.Kekulize(molecule, clearAromaticFlags=True)
            return Chem.MolToSmiles(molecule, canonical=False)
        except (ValueError, RuntimeError) as error:
            return Invalid(f"it has no Kekulé form: {_first_line(error)}")


def _canonical(smiles: str) -> str | None:
    """RDKit's canonical SMILES, None where there is none."""
    from rdkit import Chem, rdBase

    from molgen_plugins.molecules.chemistry import rdkit_io as chem

    molecule = chem.parse(smiles)
    if isinstance(molecule, Invalid):
        return None
    with rdBase.BlockLogs():
        try:
            return Chem.MolToSmiles(molecule)
        except RuntimeError:
            return None
