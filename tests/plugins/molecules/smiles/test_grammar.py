"""The grammar of SMILES: no molecule is ruled out, and strings that can become none are, as early as they can be."""

import pickle
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem, rdBase
from support.molecules import SMILES as SAMPLE

from molgen_plugins.molecules.domain import EXAMPLES
from molgen_plugins.molecules.smiles.double_bonds import can_cover
from molgen_plugins.molecules.smiles.encoder import Smiles, tokenise
from molgen_plugins.molecules.smiles.grammar import SmilesGrammar
from molgen_plugins.molecules.smiles.radicals import unpaired

ENCODER = Smiles()
GRAMMAR = ENCODER.space["tokens"].grammar
IDS = {token: number for number, token in enumerate(GRAMMAR.tokens) if token is not None}
END = len(GRAMMAR.tokens)


def read(text, grammar=GRAMMAR):
    reading = grammar.start()
    for token in tokenise(text):
        reading = reading.after(IDS[token])
    return reading


def ruled_out(smiles, grammar=GRAMMAR):
    """The beginning of a string up to the first token that cannot come, or None where all of them can."""
    reading, tokens = grammar.start(), tokenise(smiles)
    for number, token in enumerate(tokens):
        if not reading.possible()[IDS[token]]:
            return "".join(tokens[: number + 1])
        reading = reading.after(IDS[token])
    return None if reading.possible()[END] else f"{smiles} END"


def parsed(smiles):
    with rdBase.BlockLogs():
        return Chem.MolFromSmiles(smiles)


@pytest.mark.parametrize("smiles", [*EXAMPLES, *SAMPLE])
def test_no_molecule_is_ruled_out_however_it_is_written(smiles):
    mol = parsed(smiles)
    written = Chem.MolToRandomSmilesVect(mol, 20, randomSeed=1)
    for text in [Chem.MolToSmiles(mol), *written, *Chem.MolToRandomSmilesVect(mol, 5, randomSeed=2, kekuleSmiles=True)]:
        assert all(token in IDS for token in tokenise(text))
        assert ruled_out(text) is None


def test_no_short_string_that_rdkit_writes_is_ruled_out():
    for length in range(1, 6):
        for tokens in product(["C", "c", "n", "[nH]", "1", "(", ")", "=", "O"], repeat=length):
            text = "".join(tokens)
            if ruled_out(text) is not None and (mol := parsed(text)) is not None:
                # What RDKit reads beyond what it writes, such as C1Cc1.
                assert (canonical := Chem.MolToSmiles(mol)) != text
                assert all(token in IDS for token in tokenise(canonical))
                assert ruled_out(canonical) is None


@given(st.sampled_from(SAMPLE), st.data())
@settings(max_examples=300, deadline=None)
def test_no_changed_molecule_is_ruled_out(smiles, data):
    tokens = tokenise(smiles)
    place = data.draw(st.integers(0, len(tokens) - 1))
    tokens[place] = data.draw(st.sampled_from(["C", "c", "n", "[nH]", "o", "s", "N", "O", "F", "[n+]", "=", "1", "2"]))
    mol = parsed("".join(tokens))
    # Of aromatic atoms outside of aromatic rings RDKit writes some strings that it cannot read.
    if mol is not None and mol.GetNumAtoms() and parsed(canonical := Chem.MolToSmiles(mol)):
        assert ruled_out(canonical) is None


@pytest.mark.parametrize(
    ("smiles", "prefix"),
    [
        ("C)", "C)"),
        ("C(C", "C(C END"),
        ("C()C", "C()"),
        ("C11", "C11"),
        ("C1C1", "C1C1"),
        ("C(C1C)1", "C(C1C)1"),
        ("C(CC1C)1", None),
        ("C=", "C= END"),
        ("C==C", "C=="),
        ("CFC", "CFC"),
        ("CC(C)(C)(C)C", "CC(C)(C)(C)C"),
        ("C=O=C", "C=O="),
        ("C1CF", "C1CF"),
        ("C1CC.C1", "C1CC."),
        ("c1cccc1", "c1cccc1 END"),
        ("c1cccc1C", "c1cccc1C"),
        ("c1ccccn1C", "c1ccccn1C"),
        ("c1cc[nH]cc1", "c1cc[nH]cc1"),
        ("c1ccoc1", None),
        ("c1ccc2[nH]ccc2c1", None),
        ("O=c1cc[nH]cc1", None),
    ],
)
def test_what_can_come_to_nothing_is_ruled_out_at_once(smiles, prefix):
    assert ruled_out(smiles) == prefix


def test_only_an_open_branch_takes_the_probability_of_the_end():
    ends = {}
    for text in ("CC", "CC(C", "C1CC", "C1CC(C"):
        reading = read(text)
        closing = np.flatnonzero(reading.toward_end()).tolist()
        ends[text] = bool(reading.possible()[END]), [GRAMMAR.tokens[number] for number in closing]
    assert ends == {"CC": (True, []), "CC(C": (False, [")"]), "C1CC": (True, []), "C1CC(C": (True, [")"])}


def test_after_something_impossible_nothing_is_ruled_out():
    assert read("C)(1").possible().all()


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("CCC", "OCC", True),  # what lies behind is forgotten
        ("CCN", "CCC", False),  # fewer bonds to spare
        ("c1ccc", "c1nnnnc", True),  # two atoms that wait for each other stand for none
        ("c1ccc", "c1cccc", False),
        ("c1ccc2ccccc2", "c1c(C)cc2ccccc2", True),  # a branch that is closed is forgotten
        ("c1ccc2ccccc2", "c1ccc2ncccc2", True),
        ("C1C(", "C1CC(", False),  # no ring bond goes back to a neighbour
        ("C1CC(", "C1CCC(", True),
        ("n1ccc", "c1(C)ccc", True),  # of both as much is left
        ("n1ccc", "c1ccc", False),
    ],
)
def test_beginnings_that_the_same_can_follow_are_one(one, other, alike):
    assert (read(one) is read(other)) is alike


@given(st.sampled_from(SAMPLE), st.sampled_from(SAMPLE), st.data())
@settings(max_examples=200, deadline=None)
def test_what_is_forgotten_makes_no_difference(one, other, data):
    tokens = tokenise(one)
    place = data.draw(st.integers(1, len(tokens)))
    before = "".join(tokens[:place])
    # The same beginning behind a whole molecule and a dot, with all of its atoms anew.
    assert (read(f"{other}.{before}").possible() == read(f"C.{before}").possible()).all()


def test_no_more_than_a_fixed_number_of_beginnings_is_remembered(monkeypatch):
    monkeypatch.setattr("molgen_plugins.molecules.smiles.grammar.REMEMBERED", 20)
    grammar = SmilesGrammar(GRAMMAR.tokens)
    for smiles in SAMPLE[:50]:
        assert (read(smiles, grammar).possible() == read(smiles).possible()).all()
        assert len(grammar._readings) <= 20


def test_what_is_remembered_is_not_copied():
    read(SAMPLE[0])
    copied = pickle.loads(pickle.dumps(GRAMMAR))
    assert copied == GRAMMAR
    assert "_readings" not in vars(copied)


@given(st.integers(1, 6), st.data())
@settings(deadline=None)
def test_pairs_cover_what_needs_one_where_any_choice_of_pairs_does(count, data):
    edges = data.draw(st.sets(st.sampled_from([(a, b) for a in range(count) for b in range(a)] or [(0, 0)])))
    edges = {(a, b) for a, b in edges if a != b}
    needing = data.draw(st.sets(st.integers(0, count - 1)))
    neighbours = {a: {b for edge in edges if a in edge for b in edge if b != a} for a in range(count)}

    def covered(left, used):
        if not left:
            return True
        first, *rest = left
        if first in used:
            return covered(rest, used)
        return any(covered(rest, used | {first, other}) for other in neighbours[first] - used)

    masks = [sum(1 << b for b in neighbours[a]) for a in range(count)]
    assert can_cover(sum(1 << a for a in needing), masks) is covered(sorted(needing), frozenset())


# --- unpaired electrons ---------------------------------------------------------------------------

CLOSED = SmilesGrammar(GRAMMAR.tokens, frozenset())


@pytest.mark.parametrize(
    ("smiles", "prefix"),
    [
        ("C[C@H]N", "C[C@H]N"),
        ("C[C@H](N)O", None),
        ("C[C@H](N)", "C[C@H](N) END"),
        ("C[C@@H]1CO1", None),
        ("C[CH2]", "C[CH2] END"),
        ("C[CH]C", "C[CH]C"),
        ("C[CH](C)C", None),
        ("C[CH]=C", None),
        ("[CH2]", "[CH2] END"),
        ("[CH3]", "[CH3] END"),
        ("C[N+](=O)[O-]", None),
        ("C[N+](=O)O", None),
        ("C[N+]=O", "C[N+]=O"),
        ("C[N+]C", "C[N+]C"),
        ("C[N+](C)(C)C", None),
        ("C[NH3+].[Cl-]", None),
        ("C[NH2+]", "C[NH2+] END"),
        ("[O]C", "[O]C"),
        ("[O-]C", None),
        ("CC[O-]", None),
        ("C(=O)([O-])C", None),
        ("c1cc[nH]c1", None),
        ("c1ccc[n+](C)c1", None),
        ("C[n+]1ccccc1", None),
        ("c1cc[nH+]cc1", None),
        ("c1cc[o+]cc1", None),
        ("[13CH3]C", None),
        ("[13CH2]C", "[13CH2]C"),
        ("[13CH2](C)C", None),
        ("CS(=O)(=O)[N-]C", None),
        ("C[S+](C)C", None),
        ("C[S@](=O)CC", None),
        ("C[Si](C)(C)C", None),
        ("C[Si](C)C", "C[Si](C)C"),
        ("[Na+].[Cl-]", None),
        ("C[Mg]Br", None),
        ("C[Pt]", None),
        ("[2H]C", None),
        ("B([O-])(O)O", None),
        ("C[B-](C)(C)C", None),
    ],
)
def test_bracket_atoms_get_the_bonds_that_pair_their_electrons(smiles, prefix):
    assert ruled_out(smiles, CLOSED) == prefix
    mol = parsed(smiles)
    radical = mol is None or any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
    assert radical == (prefix is not None)


def test_no_molecule_of_paired_electrons_is_ruled_out():
    for smiles in [*EXAMPLES, *SAMPLE]:
        mol = parsed(smiles)
        for text in [Chem.MolToSmiles(mol), *Chem.MolToRandomSmilesVect(mol, 5, randomSeed=3)]:
            if not any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()):
                assert ruled_out(text, CLOSED) is None
                assert not unpaired(tokenise(text))


@pytest.mark.parametrize(
    ("smiles", "atoms"),
    [
        ("C[CH]C", {"[CH]"}),
        ("CC(C)(C)N([O])C", {"[O]"}),
        ("C1C[CH]1", {"[CH]"}),
        ("C[CH]1CC1", set()),
        ("[CH2].[CH]=CC", {"[CH2]", "[CH]"}),
        ("c1ccc(cc1)[C](C)C", {"[C]"}),
        ("C)(1", set()),
    ],
)
def test_atoms_with_unpaired_electrons_are_found(smiles, atoms):
    assert unpaired(tokenise(smiles)) == atoms


def test_radicals_come_where_the_training_data_have_them():
    encoder, older = Smiles(), Smiles()
    encoder.prepare(["CC(C)(C)N([O])C", "C[C@H](N)O", "not SMILES", None])
    grammar = encoder.space["tokens"].grammar
    assert ruled_out("CN([O])C", grammar) is None
    assert ruled_out("C[C@H]N", grammar) == "C[C@H]N"
    encoder.prepare(["C[CH]C"])
    assert encoder.state()["radicals"] == ["[CH]", "[O]"]
    older.load_state({"tokens": encoder.state()["tokens"]})
    assert ruled_out("C[C@H]N", older.space["tokens"].grammar) is None
    older.load_state(encoder.state())
    assert older.space == encoder.space
    with pytest.raises(ValueError, match="unpaired"):
        older.load_state({**encoder.state(), "radicals": "[O]"})
