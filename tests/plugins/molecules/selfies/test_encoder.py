"""The SELFIES encoder: a frozen vocabulary, molecules that come back, reasons for those that have no SELFIES."""

import hashlib
import json
import subprocess
import sys
from threading import Thread

import numpy as np
import pytest
import selfies as library
from hypothesis import given, settings
from hypothesis import strategies as st
from support.molecules import SMILES as SAMPLE

from molgen.config import make_settings
from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen.space import Layout, layout
from molgen_plugins.molecules.chemistry import rdkit_io as chem
from molgen_plugins.molecules.domain import EXAMPLES
from molgen_plugins.molecules.selfies.encoder import Selfies, SelfiesConfig, constraints
from molgen_plugins.molecules.selfies.vocabulary import MOST_BONDS, SPARE_ROWS, SYMBOLS

PRESETS = ("default", "octet_rule", "hypervalent")


def ids(*symbols):
    return {"tokens": np.array([SYMBOLS.index(symbol) for symbol in symbols])}


def test_the_vocabulary_is_frozen():
    """Trained models store class ids: symbols may only ever be appended, with a new format of checkpoints."""
    assert (len(SYMBOLS), SPARE_ROWS) == (526, 32)
    digest = hashlib.sha256(" ".join(SYMBOLS).encode()).hexdigest()
    assert digest == "11f1043c1084e9e49048e9a84c89ce8670c89a1d8d263cbd231ef400c47cec42"
    assert len(set(SYMBOLS)) == len(SYMBOLS)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_vocabulary_holds_the_robust_alphabet_of_the_library(preset):
    with constraints(library.get_preset_constraints(preset)):
        assert library.get_semantic_robust_alphabet() <= set(SYMBOLS)


def test_the_space_is_a_sequence_of_classes():
    space = Selfies(SelfiesConfig(max_length=50)).space
    (axis,) = space["tokens"].axes
    assert (axis.minimum, axis.maximum) == (1, 50)
    assert space["tokens"].classes == len(SYMBOLS) + SPARE_ROWS
    assert layout(space) is Layout.SEQUENCE


# --- molecules come back ----------------------------------------------------------------------------


def test_the_same_molecule_comes_back():
    encoder = Selfies()
    for smiles in [*EXAMPLES, *SAMPLE]:
        sample = encoder.encode(smiles)
        assert sample["tokens"].dtype == np.int64
        assert chem.canonical(encoder.decode(sample)) == chem.canonical(smiles)


def test_symbols_follow_the_order_of_the_atoms():
    assert (
        Selfies().encode("OC(F)C")["tokens"].tolist()
        == ids("[O]", "[C]", "[Branch1]", "[C]", "[F]", "[C]")["tokens"].tolist()
    )


@pytest.mark.parametrize(
    "smiles",
    [
        "CN(=O)=O",  # a nitro group without charges
        "O=Cl(=O)(=O)O",  # perchloric acid, which RDKit reads with charges
        "c1cc([O-].[Na+])ccc1",  # a ring across a dot
        "c:1:c:c:c:c:c:1",  # aromatic bonds spelled out
        "c1ccc(-c2ccccc2)cc1",
        "C%(11)CCCC%(11)",  # a ring number in parentheses
        "[Na+].[Cl-]",
        "[CH2]C",
        "[13cH]1ccccc1",
        "C/C=C\\1/CCC/C1=C/F",
        "FS(F)(F)(F)(F)F",
    ],
)
def test_what_the_library_writes_only_after_rdkit_comes_back_too(smiles):
    encoder = Selfies()
    assert chem.canonical(encoder.decode(encoder.encode(smiles))) == chem.canonical(smiles)


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("*CC", "it has no SELFIES: unrecognized symbol '*'"),
        ("[*:1]CC", "it has no SELFIES: invalid atom symbol '[*:1]'"),
        ("CI(=O)=O", "it has no SELFIES: I with 5 bonds, where 1 are allowed"),
        ("[Fe]<-N", "it has no SELFIES: unrecognized symbol '<'"),
        ("C[P@TB1](F)(F)(Cl)Br", "it has no SELFIES: invalid atom symbol '[P@TB1]'"),
        ("CC[Xe]", "token '[Xe]' at position 7 is not in the vocabulary of this model"),
        ("c1cccc1", "cannot be kekulised: atoms 0 1 2 3 4"),
        ("CF(C)C", "valence of F atom 1: 3 > 1"),
        ("C((", "syntax error at position 3"),
        ("", "the string is empty"),
        (None, "a molecule is written as a SMILES string, not as NoneType"),
        ("C" * 121, "the string is longer than the 120 tokens that this model can write"),
        ("(" * 10**6, "the string is longer than the 120 tokens that this model can write"),
    ],
)
def test_what_has_no_selfies_has_a_reason(smiles, reason):
    assert Selfies().encode(smiles) == Invalid(reason)


def test_rings_that_the_library_cannot_kekulise_have_the_form_of_rdkit(monkeypatch):
    encoder, write = Selfies(), library.encoder

    def without_aromatic_rings(smiles):
        if "c" in smiles:
            raise library.EncoderError("kekulization failed\n\tSMILES: c1ccccc1")
        return write(smiles)

    monkeypatch.setattr(library, "encoder", without_aromatic_rings)
    assert encoder.decode(encoder.encode("c1ccccc1")) == "C1=CC=CC=C1"
    assert encoder.encode("c1cccc1") == Invalid("cannot be kekulised: atoms 0 1 2 3 4")
    monkeypatch.setattr(library, "encoder", lambda smiles: without_aromatic_rings("c"))
    assert encoder.encode("CC") == Invalid("it has no SELFIES: its aromatic rings have no Kekulé form")


def test_a_molecule_that_changes_is_refused_unless_unchecked(monkeypatch):
    encoder, trusting = Selfies(), Selfies(SelfiesConfig(check=False))
    monkeypatch.setattr(library, "encoder", lambda smiles: "[C][O]")
    assert encoder.encode("CN") == Invalid("its SELFIES stand for another molecule")
    assert trusting.decode(trusting.encode("CN")) == "CO"
    assert encoder.decode(encoder.encode("OC")) == "CO"


@given(st.text(alphabet="CNOSFIPBcnos[]H+()=#:12%.@/\\*$-", max_size=40) | st.text(max_size=20))
@settings(max_examples=200, deadline=None)
def test_encoding_never_raises(text):
    encoder = Selfies()
    sample = encoder.encode(text)
    assert isinstance(sample, Invalid) or chem.canonical(encoder.decode(sample)) == chem.canonical(text)


# --- every sequence of symbols is a molecule --------------------------------------------------------


@given(st.lists(st.sampled_from(range(len(SYMBOLS))), min_size=1, max_size=120))
@settings(max_examples=300, deadline=None)
def test_every_sequence_of_symbols_is_a_molecule(numbers):
    sample = {"tokens": np.array(numbers)}
    for preset in ("default", "octet_rule"):
        decoded = Selfies(SelfiesConfig(constraints=preset)).decode(sample)
        if isinstance(decoded, Invalid):
            # Without an atom that can be first there is nothing.
            assert decoded.reason == "the symbols stand for no atom"
            assert all("Ring" in SYMBOLS[k] or "Branch" in SYMBOLS[k] or SYMBOLS[k] == "." for k in numbers)
        else:
            molecule = chem.parse(decoded)
            assert not isinstance(molecule, Invalid), molecule.reason


@given(st.lists(st.sampled_from(range(len(SYMBOLS))), min_size=1, max_size=60))
@settings(max_examples=100, deadline=None)
def test_decoding_never_raises_where_atoms_may_have_more_bonds(numbers):
    encoder = Selfies(SelfiesConfig(constraints="hypervalent"))
    assert isinstance(encoder.decode({"tokens": np.array(numbers)}), str | Invalid)


def test_more_bonds_than_rdkit_accepts_are_not_allowed():
    """The table is as large as it can be: one more bond, and RDKit refuses the atom."""
    for atom, most in MOST_BONDS.items():
        assert not isinstance(chem.parse(f"[{atom}]" + "(C)" * most), Invalid), atom
        assert isinstance(chem.parse(f"[{atom}]" + "(C)" * (most + 1)), Invalid), atom


def test_more_rings_than_have_numbers_are_refused():
    ring = ["[C]", "[C]", "[C]", "[Ring1]", "[Ring1]"]
    encoder = Selfies(SelfiesConfig(max_length=1000))
    assert "%99" in encoder.decode(ids(*ring * 99))
    assert encoder.decode(ids(*ring * 100)) == Invalid("there are no numbers for more than 99 rings")


def test_branches_too_deep_for_the_library_are_refused():
    encoder = Selfies(SelfiesConfig(max_length=10_000))
    assert isinstance(encoder.decode(ids(*["[C]", "[Branch3]", "[P]", "[P]", "[P]"] * 2000)), Invalid)
    assert isinstance(encoder.encode("C(" * 450 + "C" + ")" * 450), Invalid | dict)


def test_a_free_spare_row_decodes_to_a_reason():
    decoded = Selfies().decode({"tokens": np.array([0, len(SYMBOLS)])})
    assert decoded == Invalid("class 526 is a spare row of the vocabulary, to which no token belongs")
    assert decoded.raw == f"{SYMBOLS[0]}*"


def test_a_learned_symbol_that_is_no_atom_decodes_to_a_reason():
    encoder = Selfies()
    encoder.load_state({"tokens": ["[C]", "[CH9]"]})
    decoded = encoder.decode({"tokens": np.array([0, 1])})
    assert decoded == Invalid("not SELFIES: invalid symbol '[CH9]'")
    assert decoded.raw.endswith("[CH9]")


# --- constraints belong to the process --------------------------------------------------------------


def test_constraints_are_those_of_the_encoder_and_nobody_elses_change():
    mine = {"?": 4, "C": 2}
    library.set_semantic_constraints(mine)
    try:
        default, hypervalent = (Selfies(SelfiesConfig(constraints=preset)) for preset in ("default", "hypervalent"))
        assert hypervalent.decode(hypervalent.encode("CI(=O)=O")) == "CI(=O)=O"
        assert default.decode(ids("[C]", "[I]", "[C]")) == "CI"
        assert hypervalent.decode(ids("[C]", "[I]", "[C]")) == "CIC"
        assert isinstance(default.encode("CI(=O)=O"), Invalid)
        assert library.get_semantic_constraints() == mine
    finally:
        library.set_semantic_constraints()


def test_threads_do_not_change_each_others_constraints():
    encoders = [Selfies(SelfiesConfig(constraints=preset)) for preset in ("default", "hypervalent")]
    expected = ["CI", "CIC"]
    found = {0: set(), 1: set()}

    def work(number):
        for _ in range(100):
            found[number].add(encoders[number].decode(ids("[C]", "[I]", "[C]")))

    threads = [Thread(target=work, args=(number,)) for number in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: {expected[number]} for number in found}


# --- the vocabulary of a model ----------------------------------------------------------------------


def test_spare_rows_go_to_the_most_frequent_unknown_symbols():
    encoder = Selfies()
    encoder.prepare(["C[Yb]C[Xe]", "[Xe]C", None, "C l", "c1cc[nH]c1", "C/[Xe]", "*[Rn]"])
    state = encoder.state()["tokens"]
    assert state[len(SYMBOLS) :][:3] == ["[Xe]", "[/Xe]", "[Yb]"]
    assert state[len(SYMBOLS) + 3] is None
    assert encoder.decode(encoder.encode("C[Xe]")) == "C[Xe]"


def test_the_training_set_is_written_only_where_it_may_teach_something(monkeypatch):
    encoder, written = Selfies(), []
    monkeypatch.setattr(Selfies, "_tokens_of", lambda self, item: written.append(item) or [])
    encoder.prepare(["CCO", "C[C@H](N)C(=O)[O-]", "c1cc[nH]c1", "C/C=C/[N+](C)(C)C", "C[Xe]"])
    assert written == ["C[Xe]"]


def test_the_state_is_json_and_comes_back():
    encoder, other = Selfies(), Selfies()
    encoder.prepare(["[Xe]C"])
    other.load_state(json.loads(json.dumps(encoder.state())))
    assert other.state() == encoder.state()
    assert other.encode("[Xe]C")["tokens"].tolist() == encoder.encode("[Xe]C")["tokens"].tolist()


@pytest.mark.parametrize("tokens", [None, "CO", [1], ["[C]", "[C]"], [None]])
def test_a_damaged_state_is_refused(tokens):
    with pytest.raises(ValueError, match="the vocabulary of SELFIES tokens"):
        Selfies().load_state({"tokens": tokens})


def test_settings_without_meaning_are_refused():
    with pytest.raises(ValueError, match="max_length"):
        SelfiesConfig(max_length=0)
    with pytest.raises(ValueError, match="max_length"):
        SelfiesConfig(max_length=10_001)
    with pytest.raises(UsageError, match="constraints must be one of 'default', 'octet_rule', 'hypervalent'"):
        make_settings(SelfiesConfig, {"constraints": "none"}, "encoder molecules.selfies")


def test_neither_rdkit_nor_torch_is_imported():
    code = "import sys, molgen_plugins.molecules.selfies.encoder; sys.exit(bool({'rdkit', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
