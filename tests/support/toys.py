"""Small worlds, each one short class that is domain and encoder at once: what a third party writes."""

from __future__ import annotations

from itertools import combinations, product
from typing import ClassVar

import numpy as np

from molgen.domain import Domain, Encoder, Invalid, KnownPart
from molgen.space import Axis, Categorical, Real


class Toy(Domain, Encoder):
    """No toy has settings."""

    def __init__(self, config=None):
        self.config = config


class Tokens(Toy):
    """Words of the letters a, b and c; the order of letters carries meaning."""

    space: ClassVar = {"letters": Categorical((Axis("length", 3, minimum=1),), classes=3)}

    def examples(self):
        return ["a", "ab", "cba", "bb", "cc", "abc"]

    def encode(self, item):
        if not 1 <= len(item) <= 3 or set(item) - set("abc"):
            return Invalid("not a word of one to three letters a, b, c")
        return {"letters": np.array(["abc".index(letter) for letter in item])}

    def decode(self, sample):
        return "".join("abc"[k] for k in sample["letters"])


class Grid(Toy):
    """Pictures of two rows and three columns in black and white, as rows of text."""

    space: ClassVar = {
        "pixels": Categorical((Axis("row", 2, variable=False), Axis("column", 3, variable=False)), classes=2)
    }

    def examples(self):
        return ["000/111", "010/101", "111/111", "000/000"]

    def encode(self, item):
        rows = item.split("/")
        if [len(row) for row in rows] != [3, 3] or set(item) - set("01/"):
            return Invalid("not two rows of three pixels")
        return {"pixels": np.array([[int(pixel) for pixel in row] for row in rows])}

    def decode(self, sample):
        return "/".join("".join(map(str, row)) for row in sample["pixels"])


class Graph(Toy):
    """Coloured graphs: letters for the atoms in a canonical order, and pairs of bonded atoms."""

    space: ClassVar = {
        "atoms": Categorical((Axis("atom", 3, ordered=False),), classes=2),
        "bonds": Categorical((Axis("atom", 3, ordered=False),) * 2, classes=2, symmetric=True),
    }

    def examples(self):
        return [("x", ()), ("xy", ((1, 0),)), ("xxy", ((1, 0), (2, 1))), ("yyy", ())]

    def encode(self, item):
        atoms, bonds = item
        if not 1 <= len(atoms) <= 3 or set(atoms) - set("xy"):
            return Invalid("not a graph of one to three atoms x, y")
        adjacency = np.zeros((len(atoms), len(atoms)), dtype=np.int64)
        for i, j in bonds:
            adjacency[i, j] = adjacency[j, i] = 1
        return {"atoms": np.array(["xy".index(atom) for atom in atoms]), "bonds": adjacency}

    def decode(self, sample):
        pairs = zip(*np.nonzero(np.tril(sample["bonds"], -1)), strict=True)
        return "".join("xy"[k] for k in sample["atoms"]), tuple((int(i), int(j)) for i, j in pairs)


class Scaffolds(Graph):
    """Graphs of which a part can be known: its upper-case letters are atoms that take no further bonds."""

    def known_part(self, item):
        atoms, bonds = item
        sample = self.encode((atoms.lower(), bonds))
        closed = np.array([letter.isupper() for letter in atoms])
        return sample if isinstance(sample, Invalid) else KnownPart(sample, {"bonds": closed})


class Points(Toy):
    """Atoms in space around their common centre: a type and three coordinates each."""

    space: ClassVar = {
        "types": Categorical((Axis("atom", 4, ordered=False),), classes=3),
        "places": Real((Axis("atom", 4, ordered=False),), channels=(3,), centred=True, rotates=True),
    }

    def examples(self):
        return [
            (("H",), ((0.0, 0.0, 0.0),)),
            (("H", "C"), ((1.0, 0.5, -2.0), (-1.0, -0.5, 2.0))),
            (("O", "H", "H"), ((0.0, 0.0, 0.5), (1.0, 0.0, -0.25), (-1.0, 0.0, -0.25))),
        ]

    def encode(self, item):
        types, places = item
        if not 1 <= len(types) <= 4 or set(types) - set("HCO"):
            return Invalid("not one to four atoms H, C, O")
        points = np.array(places, dtype=np.float32)
        return {"types": np.array(["HCO".index(kind) for kind in types]), "places": points - points.mean(0)}

    def decode(self, sample):
        return tuple("HCO"[k] for k in sample["types"]), tuple(map(tuple, sample["places"].tolist()))


class Record(Toy):
    """People in a table: colour, whether they are members, and a height."""

    space: ClassVar = {"colour": Categorical(classes=3), "member": Categorical(classes=2), "height": Real()}

    def examples(self):
        return [(0, 1, 1.5), (2, 0, 1.75), (1, 1, 2.0)]

    def encode(self, item):
        colour, member, height = item
        if colour not in range(3) or member not in range(2):
            return Invalid("unknown colour or membership")
        return {"colour": np.array(colour), "member": np.array(member), "height": np.array(height, dtype=np.float32)}

    def decode(self, sample):
        return int(sample["colour"]), int(sample["member"]), float(sample["height"])


class Choices(Toy):
    """A record of classes alone, so that a family of classes can learn it."""

    space: ClassVar = {"colour": Categorical(classes=3), "member": Categorical(classes=2)}

    def examples(self):
        return [(0, 1), (2, 0), (1, 1)]

    def encode(self, item):
        return {"colour": np.array(item[0]), "member": np.array(item[1])}

    def decode(self, sample):
        return int(sample["colour"]), int(sample["member"])


class Picture(Toy):
    """Pictures of two rows and two columns in four shades, as rows of digits: quantised numbers."""

    space: ClassVar = {
        "shades": Real((Axis("row", 2, variable=False), Axis("column", 2, variable=False)), channels=(1,), levels=4)
    }

    def examples(self):
        return ["00/33", "01/23", "11/11"]

    def encode(self, item):
        rows = item.split("/")
        if [len(row) for row in rows] != [2, 2] or set(item) - set("0123/"):
            return Invalid("not two rows of two shades")
        return {"shades": np.array([[[int(shade)] for shade in row] for row in rows])}

    def decode(self, sample):
        return "/".join("".join(map(str, row)) for row in sample["shades"][..., 0])


TOYS = [Tokens, Grid, Graph, Points, Record, Choices, Picture]
CATEGORICAL_TOYS = [Tokens, Grid, Graph, Choices]


def every_item(toy):
    """All items of a categorical toy."""
    if toy is Tokens:
        return ["".join(word) for n in (1, 2, 3) for word in product("abc", repeat=n)]
    if toy is Grid:
        return ["".join(p[:3]) + "/" + "".join(p[3:]) for p in product("01", repeat=6)]
    if toy is Choices:
        return list(product(range(3), range(2)))
    return [("".join(atoms), bonds) for n in (1, 2, 3) for atoms in product("xy", repeat=n) for bonds in _bondings(n)]


def _bondings(n):
    pairs = [(i, j) for i in range(n) for j in range(i)]
    return [chosen for count in range(len(pairs) + 1) for chosen in combinations(pairs, count)]


def samples_of(toy, items=None):
    encoder = toy()
    return [encoder.encode(item) for item in (encoder.examples() if items is None else items)]


def register(install):
    """Make the toys known to molgen as a third party's distribution; `install` is the fixture `fake_distribution`."""
    install(
        "toys", plugins={"domain": {toy.__name__.lower(): f"support.toys:{toy.__name__}" for toy in (*TOYS, Scaffolds)}}
    )
