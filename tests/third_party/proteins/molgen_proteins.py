"""Proteins as sequences of amino acids, read from FASTA files, tables or lists."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from molgen import Axis, Categorical, Descriptors, Domain, Encoder, Invalid, Record
from molgen.data.content import opened
from molgen.data.kmers import kmers
from molgen.data.tables import name_of, opened_to_write

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


@dataclass(frozen=True)
class Length:
    """`length`: the most residues of a chain."""

    length: int = 300


class Proteins(Domain, Encoder):
    """Sequences in one-letter code."""

    molgen_api: ClassVar[int] = 1
    Config = Length
    column = "sequence"
    usual_properties = ("length", "charge")
    distance_feature = bits_feature = "kmers"
    molgen_tiny: ClassVar = {"length": 25}

    def examples(self):
        return ["GIGKFLHSAKKFGKAFVGEIMNS", "KWKLFKKIGAVLKVL", "GLFDIVKKVVGALGSL", "FLPLIGRVLSGIL"]

    def canonical(self, item):
        found = "".join(item.split()).upper().removesuffix("*")
        unknown = sorted(set(found) - set(LETTERS))
        return Invalid(f"{unknown[0]!r} is no amino acid") if unknown else found or Invalid("there is no residue")

    def descriptors(self):
        charge = {"K": 1, "R": 1, "D": -1, "E": -1}
        numbers = {"length": len, "charge": lambda item: sum(charge.get(letter, 0) for letter in item)}
        return Descriptors(numbers, features={"kmers": kmers})

    def canary(self, rng, items):
        """A chain as long as another, of random residues."""
        return "".join(rng.choice(list(LETTERS), len(items[int(rng.integers(len(items)))])))

    @property
    def space(self):
        return {"residues": Categorical((Axis("residue", self.config.length),), classes=len(LETTERS))}

    def encode(self, item):
        if not 1 <= len(item) <= self.config.length:
            return Invalid(f"the chain has {len(item)} residues, not 1 to {self.config.length}")
        return {"residues": np.array([LETTERS.index(letter) for letter in item])}

    def decode(self, sample):
        return "".join(LETTERS[number] for number in sample["residues"])

    def read(self, source, *, format=None, column=None):
        fasta = (format or name_of(source)).endswith((".fasta", ".fa", "fasta"))
        return chains(source) if fasta else super().read(source, format=format, column=column)

    def write(self, rows, target, *, format=None):
        if not (format or name_of(target)).endswith((".fasta", ".fa", "fasta")):
            return super().write(rows, target, format=format)
        with opened_to_write(target) as stream:
            kept = ((n, row["sequence"]) for n, row in enumerate(rows) if row["sequence"])
            return sum(stream.write(f">{n}\n{sequence}\n".encode()) > 0 for n, sequence in kept)


def chains(source):
    """The records of a FASTA file."""
    with opened(source) as (_, stream):
        entries = stream.read().decode().split(">")[1:]
    for row, entry in enumerate(entries):
        name, _, sequence = entry.partition("\n")
        yield Record(row, "".join(sequence.split()), {"name": name.strip()}, entry)
