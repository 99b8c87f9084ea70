"""One molecule as the text of an XYZ file. This module imports no RDKit.

The second line is a comment; `key=value` pairs in it, as extended XYZ has them, are columns, of which `charge` is that
of the whole molecule. What stands behind the three coordinates is not read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from molgen.domain import Invalid

_PAIR = re.compile(r"([A-Za-z_][\w.-]*)=(\"[^\"]*\"|\S+)")
#: Symbols by atomic number, from 0.
_COUNT = re.compile(r"\s*[0-9]{1,9}\s*")
_TABLE = """
* H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr
Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb
Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf
Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
"""
SYMBOLS: tuple[str, ...] = tuple(_TABLE.split())
NUMBERS: Mapping[str, int] = {symbol: number for number, symbol in enumerate(SYMBOLS) if number}


def parsed(text: str) -> tuple[np.ndarray, np.ndarray, dict[str, str]] | Invalid:
    """The atomic numbers uint8 (N,), positions in ångström float64 (N, 3), and columns of an entry; or its fault."""
    lines = text.splitlines()
    count = atom_count(lines[0]) if lines else None
    if not count:
        return Invalid("an XYZ entry begins with its number of atoms")
    if len(lines) < count + 2:
        return Invalid(f"{count} atoms are announced and {max(0, len(lines) - 2)} follow")
    elements, positions = [], []
    for line in lines[2 : count + 2]:
        found = _atom(line.split())
        if found is None:
            return Invalid(f"{line.strip()[:60]!r} is not an element and three coordinates")
        elements.append(found[0])
        positions.append(found[1:])
    return np.array(elements, np.uint8), np.array(positions), columns(lines[1])


def atom_count(line: str) -> int | None:
    """The number of atoms that a line says, or None for any other line."""
    return int(line) if _COUNT.fullmatch(line) else None


def columns(comment: str) -> dict[str, str]:
    """The `key=value` pairs of a comment; without any, the comment as `name`."""
    pairs = {name: value.strip('"') for name, value in _PAIR.findall(comment)}
    return pairs or ({"name": " ".join(comment.split())} if comment.strip() else {})


def _atom(words: Sequence[str]) -> tuple[int, float, float, float] | None:
    if len(words) < 4:
        return None
    symbol = words[0].capitalize()
    number = atom_count(symbol) or NUMBERS.get(symbol, 0)
    try:
        x, y, z = map(float, words[1:4])
    except ValueError:
        return None
    good = 0 < number < len(SYMBOLS) and all(map(math.isfinite, (x, y, z)))
    return (number, x, y, z) if good else None


def written(elements: np.ndarray, positions: np.ndarray, columns: Mapping[str, str]) -> str:
    """The entry of a molecule, with coordinates to 10^-8 Å."""
    comment = " ".join(f"{name}={_value(value)}" for name, value in columns.items())
    rows = (
        f"{SYMBOLS[number]:<2} {x:15.8f} {y:15.8f} {z:15.8f}"
        for number, (x, y, z) in zip(elements.tolist(), positions.tolist(), strict=True)
    )
    return "\n".join([str(len(elements)), comment, *rows, ""])


def _value(value: str) -> str:
    clean = " ".join(value.replace('"', "'").split())
    return clean if clean and " " not in clean else f'"{clean}"'
