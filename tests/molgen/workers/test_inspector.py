"""What is sought in items, found here and in workers alike, and how items lie in a column."""

import numpy as np
import pytest

from molgen.domain import Domain, Invalid
from molgen.errors import UsageError
from molgen.workers.inspector import Inspector
from molgen_plugins.audio.domain import Audio
from molgen_plugins.images.domain import Images
from molgen_plugins.molecules.domain import Molecules

SMILES = ["CCO", "c1ccccc1C(=O)O", "no molecule"]
PATTERNS = ("[OX2H]", "c1ccccc1")


class Words(Domain):
    """A domain that says no more than it must."""

    def examples(self):
        return ["a"]


@pytest.mark.parametrize("where", ["here", "in workers"])
def test_patterns_are_found_in_each_item(where, monkeypatch):
    if where == "here":
        monkeypatch.setattr(Molecules, "inspector", None)
    with Inspector(Molecules(), processes=1, patterns=PATTERNS) as inspector:
        found = inspector.submit(SMILES).result()
    assert [one.matches for one in found] == [
        {"[OX2H]": True, "c1ccccc1": False},
        {"[OX2H]": True, "c1ccccc1": True},
        {},
    ]


@pytest.mark.parametrize(
    ("domain", "text", "message"),
    [
        (Molecules(), "[C", "'\\[C': not the syntax of SMARTS"),
        (Molecules(), "", "SMARTS"),
        (Words(), "a", "no language"),
    ],
)
def test_a_pattern_that_is_none_is_said_before_the_work(domain, text, message):
    with pytest.raises(UsageError, match=message):
        Inspector(domain, patterns=[text])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("CC(=O)O", "CC(=O)[O-].[Na+]", True),  # a salt
        ("C[C@H](N)O", "C[C@@H](N)O", True),  # stereochemistry
        ("[2H]C(Cl)Br", "CC(Cl)Br", False),
        ("[2H]C(F)(Cl)Br", "FC(Cl)Br", True),  # an isotope
        ("Oc1ccccn1", "O=c1cccc[nH]1", True),  # a tautomer
        ("CCO", "CCN", False),
    ],
)
def test_forms_of_one_substance_share_its_key(one, other, same):
    key = Molecules().descriptors().features["substance"]
    assert (key(one) == key(other)) == same
    assert len(key(one)) == 14


def test_items_come_back_from_a_column():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    stored = Images().stored(image)
    assert stored.startswith(b"\x89PNG")
    assert np.array_equal(Images().from_stored(stored), image)
    assert Molecules().from_stored(Molecules().stored("CCO")) == "CCO"
    sound = Audio().canonical(Audio().examples()[0])
    assert Audio().stored(sound).startswith(b"RIFF")
    assert Audio().key(Audio().from_stored(Audio().stored(sound))) == Audio().key(sound)
    assert isinstance(Molecules().from_stored(b"CCO"), Invalid)
    water = "\n\n\n  3  0  0  0  0  0  0  0  0  0999 V2000\n"
    for place, element in (
        ("   0.0000    0.0000    0.1170", "O"),
        ("   0.0000    0.7570   -0.4680", "H"),
        ("   0.0000   -0.7570   -0.4680", "H"),
    ):
        water += f" {place} {element}   0  0\n"
    conformer = Molecules().canonical(water + "M  END\n")
    again = Molecules().from_stored(Molecules().stored(conformer))
    assert again == conformer == "O"
    assert np.allclose(again.positions, conformer.positions, atol=1e-4)
    assert isinstance(Images().from_stored(b"no picture"), Invalid)
