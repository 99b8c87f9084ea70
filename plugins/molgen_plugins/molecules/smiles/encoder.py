"""SMILES strings as sequences of tokens. This module imports no torch, and RDKit where it is needed only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from molgen.domain import Invalid, Item, KnownPart
from molgen_plugins.molecules.merged_grammar import TokenGrammar
from molgen_plugins.molecules.merges import MOST_MERGES
from molgen_plugins.molecules.smiles.grammar import SmilesGrammar
from molgen_plugins.molecules.smiles.radicals import unpaired
from molgen_plugins.molecules.smiles.vocabulary import SPARE_ROWS, TOKENS
from molgen_plugins.molecules.string_encoder import LONGEST_TOKEN, StringEncoder, require_length

#: A bracket atom is one token; its length is bounded so that a stray "[" costs no more than this.
_BRACKET = rf"\[[^\[\]\s]{{1,{LONGEST_TOKEN - 2}}}\]"
_RING_CLOSURE = r"%\d\d|%\(\d{1,5}\)"
_tokens = re.compile(rf"{_BRACKET}|Br|Cl|{_RING_CLOSURE}|->|<-|.", re.DOTALL).findall

#: Only these get a spare row: anything else that is unknown is a mistake, not a part of the language.
_spare_worthy = re.compile(rf"{_BRACKET}|{_RING_CLOSURE}").findall


def tokenise(smiles: str) -> list[str]:
    """The tokens of a string in their order; joined, they are the string again."""
    return _tokens(smiles)


@dataclass(frozen=True)
class SmilesConfig:
    """Settings of the SMILES encoder.

    Attributes:
        max_length: the largest number of tokens in a string.
        kekule: write aromatic rings with alternating single and double bonds, see `kekule.py`.
        grammar: tell families that decide token after token what cannot come next, see `grammar.py`.
        merges: how many frequent rows of tokens become tokens of their own (learned from the training data).
    """

    max_length: int = 120
    kekule: bool = False
    grammar: bool = True
    merges: int = 0

    def __post_init__(self) -> None:
        require_length(self.max_length)
        if not 0 <= self.merges <= MOST_MERGES:
            raise ValueError(f"merges must be between 0 and {MOST_MERGES:,}, not {self.merges}")


class Smiles(StringEncoder):
    """SMILES strings as one field `tokens`, class ids of shape (N,), 1 <= N <= max_length.

    Encoding checks the alphabet, not the chemistry. With `kekule` a string is encoded in its Kekulé form.
    """

    Config: ClassVar[type] = SmilesConfig
    called = "SMILES"
    known = TOKENS
    spare_rows = SPARE_ROWS
    config: SmilesConfig
    #: the bracket atoms that may have unpaired electrons, None for all: known once training data were seen.
    _radicals: frozenset[str] | None = None

    def __init__(self, config: SmilesConfig | None = None) -> None:
        super().__init__(config)

    def known_part(self, item: Item) -> KnownPart | Invalid:
        """What strings begin with; not what no molecule can begin with, such as an atom with too many bonds."""
        part = super().known_part(item)
        if isinstance(part, Invalid):
            return part
        from molgen_plugins.molecules.chemistry.beginnings import contradiction

        reason = contradiction(tokenise(item))
        return Invalid(f"no molecule begins so: {reason}") if reason else part

    def _tokens_of(self, item: str) -> Sequence[str] | Invalid:
        tokens = tokenise(item)
        if not self.config.kekule:
            return tokens
        from molgen_plugins.molecules.chemistry import kekule

        return kekule.rewritten(tokens)

    def _grammar_of(self, tokens: Sequence[str | None]) -> TokenGrammar | None:
        return SmilesGrammar(tuple(tokens), self._radicals) if self.config.grammar else None

    def _item_of(self, tokens: Sequence[str]) -> Item | Invalid:
        return "".join(tokens)

    def _learnable(self, items: Iterable[Item]) -> Counter[str]:
        counts: Counter[str] = Counter()
        radicals: set[str] = set()
        for item in items:
            if isinstance(item, str) and (brackets := _spare_worthy(item)):
                counts.update(brackets)
                tokens = self._tokens_of(item)
                radicals |= set() if isinstance(tokens, Invalid) else unpaired(tokens)
        self._radicals = frozenset(radicals | (self._radicals or set()))
        return _without_aromatic_atoms(counts) if self.config.kekule else counts

    def state(self) -> dict[str, Any]:
        """The vocabulary, and which bracket atoms of the training data have unpaired electrons."""
        radicals = {} if self._radicals is None else {"radicals": sorted(self._radicals)}
        return {**super().state(), **radicals}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a vocabulary; where nothing is said of unpaired electrons, every atom may have some.

        Raises:
            ValueError: it is none, see `StringEncoder.load_state`, or the atoms are no list of tokens.
        """
        radicals = state.get("radicals")
        if radicals is not None and not (isinstance(radicals, list) and all(type(token) is str for token in radicals)):
            raise ValueError("the vocabulary names atoms with unpaired electrons, which must be a list of tokens")
        self._radicals = None if radicals is None else frozenset(radicals)
        super().load_state(state)


def _without_aromatic_atoms(counts: Mapping[str, int]) -> Counter[str]:
    from molgen_plugins.molecules.chemistry import kekule

    result: Counter[str] = Counter()
    for token, count in counts.items():
        result[kekule.atom(token)] += count
    return result
