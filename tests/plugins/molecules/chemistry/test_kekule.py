"""Kekulé forms: the same molecule, the same order of atoms, no aromatic token, double bonds as early as can be."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.molecules import SMILES as SAMPLE

from molgen.domain import Invalid
from molgen_plugins.molecules.chemistry import kekule
from molgen_plugins.molecules.chemistry import rdkit_io as chem
from molgen_plugins.molecules.domain import EXAMPLES
from molgen_plugins.molecules.smiles.encoder import Smiles, SmilesConfig, tokenise

ENCODER = Smiles(SmilesConfig(kekule=True))


def rewritten(smiles):
    tokens = kekule.rewritten(tokenise(smiles))
    return tokens if isinstance(tokens, Invalid) else "".join(tokens)


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("c1ccccc1", "C1=CC=CC=C1"),
        ("c1ccccc1-c1ccccc1", "C1=CC=CC=C1C1=CC=CC=C1"),
        ("c1ccccc1c1ccccc1", "C1=CC=CC=C1C1=CC=CC=C1"),
        ("c:1:c:c:c:c:c1", "C1=CC=CC=C1"),
        ("c1cc[nH]c1", "C1C=CNC=1"),
        ("c1cc[se]c1", "C1C=C[Se]C=1"),
        ("C[n+]1ccccc1", "C[N+]1=CC=CC=C1"),
        ("c1c[13cH]ccc1", "C1=C[13CH]=CC=C1"),
        ("C1=CC=CC=C1c1ccccc1", "C1=CC=CC=C1C1=CC=CC=C1"),
        ("c%12ccccc%12", "C%12=CC=CC=C%12"),
        ("c%(12)ccccc%12", "C%(12)=CC=CC=C%12"),
        ("N[C@@H](C)c1ccc(/C=C/F)cc1", "N[C@@H](C)C1=CC=C(/C=C/F)C=C1"),
        ("*c1ccccc1", "*C1=CC=CC=C1"),
        ("C(((", "C((("),
    ],
)
def test_examples(smiles, expected):
    assert rewritten(smiles) == expected


@pytest.mark.parametrize("smiles", [*EXAMPLES, *SAMPLE])
def test_it_is_the_same_molecule_without_an_aromatic_token(smiles):
    written = rewritten(smiles)
    assert chem.canonical(written) == chem.canonical(smiles)
    assert not any(map(kekule.is_aromatic, tokenise(written)))
    assert rewritten(written) == written
    assert [token.upper() for token in _atoms(written)] == [kekule.atom(token).upper() for token in _atoms(smiles)]


def _atoms(smiles):
    return [token for token in tokenise(smiles) if token[0].isalpha() or token[0] in "[*"]


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("c1ccc(", kekule.UNREADABLE),
        ("c1cccc1", "the string has no Kekulé form"),
        ("cc", "the string has no Kekulé form"),
        ("c1*cccc1", "an attachment point in an aromatic ring has no Kekulé form"),
    ],
)
def test_what_has_none_has_a_reason(smiles, reason):
    assert rewritten(smiles) == Invalid(reason)
    assert ENCODER.encode(smiles) == Invalid(reason)


@given(st.text(alphabet="cnos[]H+()=-:12%*CN./\\@", max_size=30))
@settings(deadline=None)
def test_it_never_raises(text):
    written = rewritten(text)
    assert isinstance(written, Invalid | str)


def test_the_search_for_the_earliest_bonds_has_a_limit(monkeypatch):
    monkeypatch.setattr(kekule, "SEARCHED", 2)
    assert chem.canonical(rewritten("c1ccc2ccccc2c1")) == chem.canonical("c1ccc2ccccc2c1")


def test_the_encoder_writes_kekule_forms():
    sample = ENCODER.encode("c1cc[nH]c1")
    assert ENCODER.decode(sample) == "C1C=CNC=1"
    assert ENCODER.encode("C1C=CNC=1")["tokens"].tolist() == sample["tokens"].tolist()


def test_spare_rows_take_the_tokens_that_are_written():
    encoder = Smiles(SmilesConfig(kekule=True))
    encoder.prepare(["c1cc[77se]c1"] * 3 + ["[77Se]"])
    assert "[77Se]" in encoder.state()["tokens"]
    assert "[77se]" not in encoder.state()["tokens"]
