"""The SMILES encoder: a frozen vocabulary, exact round trips, and reasons for what it does not know."""

import hashlib
import json
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.molecules import SMILES as SAMPLE

from molgen.domain import Invalid
from molgen.space import Layout, layout
from molgen_plugins.molecules.domain import EXAMPLES
from molgen_plugins.molecules.smiles.encoder import Smiles, SmilesConfig
from molgen_plugins.molecules.smiles.vocabulary import SPARE_ROWS, TOKENS


def test_the_vocabulary_is_frozen():
    """Trained models store class ids: tokens may only ever be appended, with a new format of checkpoints."""
    digest = hashlib.sha256(" ".join(TOKENS).encode()).hexdigest()
    assert (len(TOKENS), SPARE_ROWS) == (288, 32)
    assert digest == "3751746d334b75ca2d6a4dcf364ae87201a27e64f36a4aaacafdcf2c5f05e4fe"
    assert len(set(TOKENS)) == len(TOKENS)


def test_the_space_is_a_sequence_of_classes():
    space = Smiles(SmilesConfig(max_length=50)).space
    (axis,) = space["tokens"].axes
    assert (axis.minimum, axis.maximum) == (1, 50)
    assert space["tokens"].classes == len(TOKENS) + SPARE_ROWS
    assert layout(space) is Layout.SEQUENCE


@pytest.mark.parametrize("smiles", [*EXAMPLES, *SAMPLE])
def test_strings_come_back(smiles):
    encoder = Smiles()
    sample = encoder.encode(smiles)
    assert sample["tokens"].dtype == np.int64
    assert encoder.decode(sample) == smiles


@given(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=120))
@settings(max_examples=50, deadline=None)
def test_decoded_tokens_come_back(tokens):
    """Joining tokens never makes other tokens, so every sample of the space has one string."""
    encoder = Smiles()
    ids = np.array([TOKENS.index(token) for token in tokens])
    assert encoder.encode(encoder.decode({"tokens": ids}))["tokens"].tolist() == ids.tolist()


@given(st.text(max_size=40))
@settings(deadline=None)
def test_encoding_never_raises(text):
    encoder = Smiles()
    sample = encoder.encode(text)
    assert isinstance(sample, Invalid) or encoder.decode(sample) == text


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("", "the string is empty"),
        (None, "a molecule is written as a SMILES string, not as NoneType"),
        ("CC[Xx]C", "token '[Xx]' at position 3 is not in the vocabulary of this model"),
        ("C%(99999)C", "token '%(99999)' at position 2 is not in the vocabulary of this model"),
        ("C C", "token ' ' at position 2 is not in the vocabulary of this model"),
        ("[nH", "token '[' at position 1 is not in the vocabulary of this model"),
        ("C" * 121, "the string is longer than the 120 tokens that this model can write"),
        ("[" * 10**6, "the string is longer than the 120 tokens that this model can write"),
    ],
)
def test_what_it_cannot_write_has_a_reason(item, reason):
    assert Smiles().encode(item) == Invalid(reason)


def test_bracket_atoms_and_long_ring_closures_are_one_token():
    tokens = ["C", "Cl", "Br", "[C@@H]", "%12", "[13CH3]", "->"]
    assert len(Smiles().encode("".join(tokens))["tokens"]) == len(tokens)


def test_spare_rows_go_to_the_most_frequent_unknown_tokens():
    encoder = Smiles()
    encoder.prepare(["C[Yb]C[Xe]", "[Xe]", None, "C l", "[nH]"])
    first = len(TOKENS)
    assert encoder.encode("[Xe]")["tokens"].tolist() == [first]
    assert encoder.encode("[Yb]")["tokens"].tolist() == [first + 1]
    assert isinstance(encoder.encode("l"), Invalid)


def test_fine_tuning_adds_to_the_spare_rows():
    encoder = Smiles()
    encoder.prepare(["[Xe]"])
    encoder.prepare([f"[{number}Fe]" for number in range(50, 90)])
    state = encoder.state()["tokens"]
    assert state[len(TOKENS)] == "[Xe]"
    assert state[-1] == "[80Fe]"
    assert None not in state


def test_the_state_is_json_and_comes_back():
    encoder, other = Smiles(), Smiles()
    encoder.prepare(["[Xe]C"])
    other.load_state(json.loads(json.dumps(encoder.state())))
    assert other.state() == encoder.state()
    assert other.encode("[Xe]C")["tokens"].tolist() == encoder.encode("[Xe]C")["tokens"].tolist()


def test_a_state_of_another_size_decides_the_space():
    encoder = Smiles()
    encoder.load_state({"tokens": ["C", "O", None]})
    assert encoder.space["tokens"].classes == 3
    assert encoder.decode({"tokens": np.array([0, 1])}) == "CO"


@pytest.mark.parametrize("state", [{}, {"tokens": "CO"}, {"tokens": [1]}, {"tokens": ["C", "C"]}, {"tokens": [None]}])
def test_a_damaged_state_is_refused(state):
    with pytest.raises(ValueError, match="vocabulary"):
        Smiles().load_state(state)


def test_merges_are_learned_once_and_lie_in_the_state():
    encoder, other = Smiles(SmilesConfig(merges=30)), Smiles(SmilesConfig(merges=30))
    encoder.prepare(iter(SAMPLE))
    state = json.loads(json.dumps(encoder.state()))
    encoder.prepare(["CC[Xe]", "N#N"] * 10)
    assert encoder.state()["merges"] == state["merges"]
    assert encoder.state()["tokens"][len(TOKENS)] == "[Xe]"
    other.load_state(encoder.state())
    assert encoder.space["tokens"].classes == len(TOKENS) + SPARE_ROWS + 30
    for smiles in [*SAMPLE, "CC[Xe]"]:
        sample = other.encode(smiles)
        assert other.decode(sample) == smiles
    assert np.mean([len(other.encode(smiles)["tokens"]) for smiles in SAMPLE]) < 20


def test_classes_without_a_merge_stand_for_nothing():
    encoder = Smiles(SmilesConfig(merges=5))
    encoder.prepare(["CC", "CC"])
    assert encoder.encode("CCC")["tokens"].tolist() == [len(TOKENS) + SPARE_ROWS, 0]
    assert isinstance(encoder.decode({"tokens": np.array([len(TOKENS) + SPARE_ROWS + 1])}), Invalid)
    assert not encoder.space["tokens"].grammar.start().possible()[len(TOKENS) + SPARE_ROWS + 1 : -1].any()


@pytest.mark.parametrize("merges", ["CO", [[0]], [[0, "1"]], [[0, 1]] * 3, [[0, 9]], [[0, 1], [0, 1]]])
def test_damaged_merges_are_refused(merges):
    with pytest.raises(ValueError, match="merge"):
        Smiles(SmilesConfig(merges=2)).load_state({"tokens": ["C", "O"], "merges": merges})


def test_a_free_spare_row_decodes_to_a_reason():
    decoded = Smiles().decode({"tokens": np.array([0, len(TOKENS)])})
    assert decoded == Invalid("class 288 is a spare row of the vocabulary, to which no token belongs")
    assert decoded.raw == f"{TOKENS[0]}*"


@pytest.mark.parametrize("settings", [{"max_length": 0}, {"max_length": 10_001}, {"merges": -1}, {"merges": 10_000}])
def test_settings_have_limits(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        SmilesConfig(**settings)


def test_encoding_is_fast():
    encoder = Smiles()
    start = time.process_time()
    for _ in range(20):
        for smiles in SAMPLE:
            encoder.encode(smiles)
    assert (time.process_time() - start) / (20 * len(SAMPLE)) < 45e-6


def test_neither_rdkit_nor_torch_is_imported():
    code = "import sys, molgen_plugins.molecules.smiles.encoder; sys.exit(bool({'rdkit', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
