"""Reading molecules: bounded, quiet, with a reason in one line for whatever is none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem, rdBase
from support.molecules import SMILES as SAMPLE

from molgen.domain import Invalid
from molgen_plugins.molecules.chemistry.rdkit_io import MAX_CHARACTERS, canonical, parse
from molgen_plugins.molecules.domain import EXAMPLES
from molgen_plugins.molecules.smiles.vocabulary import TOKENS

REASONS = {
    "": "the string is empty",
    "C1CC": "unclosed ring 1",
    "C%12CC2": "unclosed ring 12, 2",
    "C(C": "unclosed branch",
    "C)C": "branch closed that was never opened",
    "C==C": "syntax error",
    "[Xx]": "syntax error",
    "CN(C)(C)(C)C": "valence of N atom 1: 5 > 3",
    "C[NH4+]": "valence of N atom 1: 5 > 4",
    "CC(C)(C)(C)C": "valence of C atom 1: 5 > 4",
    "c1cccc1": "cannot be kekulised: atoms 0 1 2 3 4",
    "cC": "atom 0 is aromatic but in no ring",
    "C11": "ring 1 closes on its own atom 0",
    "C1C1": "ring 1 repeats the bond 0-1",
    "[C+999999999]": "charge 999999999 of atom '[C+999999999]' is beyond 15",
    "[Fe-128]": "charge 128 of atom '[Fe-128]' is beyond 15",
    "[CH260]": "hydrogen count 260 of atom '[CH260]' is beyond 9",
    "[9999999C]": "isotope 9999999 of atom '[9999999C]' is beyond 999",
    "*": "attachment points only, no atom",
    "**": "attachment points only, no atom",
    "C C": "character ' ' at position 2 belongs to no SMILES string",
    "Cé": "character 'é' at position 2 belongs to no SMILES string",
    "C\0C": "character '\\x00' at position 2 belongs to no SMILES string",
    "C~C": "character '~' at position 2 belongs to no SMILES string",
    "*" * 50_000: f"50,000 characters are more than the {MAX_CHARACTERS:,} that are read of one molecule",
}

HOSTILE = [
    None,
    17,
    "C" * 10_000,
    "C" * 1_000_000,
    "C(" * 100_000,
    "C(" * 450 + ")" * 100,
    "C(C" * 300,
    "[" * 900,
    "]" * 900,
    "%" * 900,
    "C%(99999)",
    "C%(99999)" * 100,
    "C12" * 300,
    "[C:99999999999999999999]",
    "[C" + "-" * 500 + "]",
    "[" + "9" * 500 + "C]",
    "[C@TH3](F)(Cl)(Br)I",
    "C" * 500 + "." * 500,
    "\ud800",
    "1243124124",
]


@pytest.mark.parametrize(("smiles", "reason"), REASONS.items(), ids=lambda value: repr(value)[:30])
def test_reasons_name_the_cause(smiles, reason):
    found = parse(smiles)
    assert isinstance(found, Invalid)
    assert found.reason == reason or (found.reason.startswith(f"{reason} at position ") and "\n" not in found.reason)


def test_reasons_without_captured_messages(monkeypatch):
    """Older releases of RDKit cannot capture their messages."""
    monkeypatch.delattr(rdBase, "CaptureErrorLog", raising=False)
    assert parse("C1CC") == Invalid("unclosed ring 1")
    assert parse("C==C") == Invalid("not the syntax of SMILES")


@pytest.mark.parametrize("smiles", HOSTILE, ids=lambda value: repr(value)[:30])
def test_hostile_strings_are_invalid_or_canonical(smiles):
    found = canonical(smiles)
    if isinstance(found, Invalid):
        assert found.reason
        assert "\n" not in found.reason
        assert len(found.reason) < 200
    else:
        assert canonical(found) == found


def test_rdkit_is_quiet_only_here(capfd):
    for smiles in ("C1CC", "C(", "cC", "[C-128]", "[C@TH3](F)(Cl)(Br)I", "[H]"):
        canonical(smiles)
    assert capfd.readouterr().err == ""
    Chem.MolFromSmiles("C1CC")
    assert "unclosed ring" in capfd.readouterr().err


@pytest.mark.parametrize("smiles", [*EXAMPLES, *SAMPLE])
def test_canonical_forms_are_fixed_points(smiles):
    form = canonical(smiles)
    assert canonical(form) == form


@given(st.sampled_from([*EXAMPLES, *SAMPLE]), st.integers(0, 2**31 - 1))
@settings(max_examples=60, deadline=None)
def test_any_order_of_atoms_has_the_same_canonical_form(smiles, seed):
    (shuffled,) = Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(smiles), 1, randomSeed=seed)
    assert canonical(shuffled) == canonical(smiles)


@given(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=30).map("".join))
@settings(max_examples=100, deadline=None)
def test_whatever_a_model_writes_is_invalid_or_canonical(smiles):
    form = canonical(smiles)
    assert isinstance(form, Invalid) or not isinstance(canonical(form), Invalid)


def test_stereo_isotopes_and_charges_are_kept():
    assert canonical("OC(=O)[C@@H](N)C") != canonical("OC(=O)[C@H](N)C")
    assert canonical("[13CH4]") == "[13CH4]"
    assert canonical("C[N+](C)(C)C") == "C[N+](C)(C)C"
    assert canonical("C(*)C") == "*CC"


def test_high_coordination_numbers_are_no_hydrogen_counts():
    assert not isinstance(parse("C[Co@OH25](F)(Cl)(Br)(I)N"), Invalid)
