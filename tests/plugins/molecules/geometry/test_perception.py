"""Bonds from lengths, by the table of the published protocol, and by RDKit."""

import numpy as np
import pytest
from support.geometries import conformers

from molgen_plugins.molecules.geometry import perception
from molgen_plugins.molecules.geometry.xyz import NUMBERS


def order(first, second, length):
    found = perception.orders_by_length(
        np.array([NUMBERS[first], NUMBERS[second]]), np.array([[0.0, 0, 0], [0, 0, length]])
    )
    assert found[0, 1] == found[1, 0]
    assert not found.diagonal().any()
    return found[0, 1]


@pytest.mark.parametrize(
    ("first", "second", "length", "expected"),
    [
        ("C", "C", 1.22, 3),  # 120 + 3
        ("C", "C", 1.24, 2),
        ("C", "C", 1.38, 2),  # 134 + 5
        ("C", "C", 1.40, 1),
        ("C", "C", 1.63, 1),  # 154 + 10
        ("C", "C", 1.65, 0),
        ("C", "O", 1.15, 3),
        ("O", "C", 1.24, 2),
        ("N", "O", 1.0, 2),  # no triple bond
        ("C", "H", 1.0, 1),
        ("H", "H", 0.83, 1),
        ("H", "H", 0.85, 0),
        ("C", "Na", 1.0, 0),  # not in the table
    ],
)
def test_the_longest_bond_of_an_order_counts(first, second, length, expected):
    assert order(first, second, length) == expected


def test_atoms_with_as_many_bonds_as_their_element_has_are_stable():
    def stable(symbol, *orders):
        elements = np.array([NUMBERS[symbol], *[1] * len(orders)])
        bonds = np.zeros((len(elements),) * 2, np.uint8)
        bonds[0, 1:] = bonds[1:, 0] = orders
        return bool(perception.stable_atoms(elements, bonds)[0])

    assert stable("C", 2, 2)
    assert stable("C", 1, 1, 1, 1)
    assert not stable("C", 1, 1, 1)
    assert not stable("C", 3, 2)
    assert stable("P", 1, 1, 1)
    assert stable("P", 2, 1, 1, 1)
    assert not stable("P", 2, 2)
    assert not stable("Na", 1)
    assert not stable("C", 3, 3, 3, 3)


def test_real_molecules_are_stable():
    stable = [
        perception.stable_atoms(c.elements, perception.orders_by_length(c.elements, c.positions)) for c in conformers()
    ]
    # not those whose bonds lie between two orders: a diyne, an aromatic ring, a zwitterion
    unstable = [str(c) for c, atoms in zip(conformers(), stable, strict=True) if not atoms.all()]
    assert unstable == ["C#CC#CC", "c1cncnc1", "O=C([O-])C1=CC[NH2+]C1"]
    assert np.concatenate(stable).mean() > 0.9
