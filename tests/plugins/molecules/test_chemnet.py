"""ChemNet gives what the package `fcd` computes with the same weights, position by position."""

import fcd
import numpy as np
import pytest
import torch
from support.molecules import ROWS

from molgen.errors import MolgenError
from molgen_plugins.molecules import chemnet
from molgen_plugins.molecules.domain import EXAMPLES

SMILES = [*(smiles for smiles, _ in ROWS[:: len(ROWS) // 48]), *EXAMPLES]
#: In number of tokens around every border: the first positions, and the last, where the padding ends.
LENGTHS = [1, 2, 3, 4, 5, 80, 81, 82, 83, 84, 339, 340, 341, 342, 343, 344, 345, 346, 347, 348, 349]


@pytest.fixture(scope="module")
def network():
    return chemnet.network("cpu")


def original(smiles):
    return fcd.get_predictions(fcd.load_ref_model(), smiles, n_jobs=0, device="cpu")


def test_activations_are_those_of_the_original(network):
    found = network(SMILES)
    assert found.shape == (len(SMILES), 512)
    assert found.dtype == np.float32
    assert np.abs(found - original(SMILES)).max() < 2e-5


def test_strings_of_every_length_are_as_in_the_original(network):
    strings = ["C" * length for length in LENGTHS]
    assert np.abs(network(strings) - original(strings)).max() < 2e-5


def test_unknown_tokens_and_several_fragments_are_as_in_the_original(network):
    strings = ["[Na+].[Cl-]", "[AlH3]", "C1=[Te]C=C1", "C%10CCCCC%10", "F/C=C\\Br", "[SiH4]", "p1ccccc1", "*CC*"]
    assert np.abs(network(strings) - original(strings)).max() < 2e-5


def test_a_string_alone_gives_what_it_gives_among_others(network, monkeypatch):
    strings = SMILES[:9]
    together = network(strings)
    assert np.abs(network(strings[:1]) - together[:1]).max() < 2e-5
    assert np.abs(network(strings[::-1])[::-1] - together).max() < 2e-5
    monkeypatch.setattr(chemnet, "BLOCK", 4)
    assert np.abs(network(strings) - together).max() < 2e-5


def test_a_string_beyond_the_last_place_is_cut_and_changes_no_other(network):
    found = network(["CCO", "C" * 349, "C" * 500])
    assert np.abs(found[0] - original(["CCO"])[0]).max() < 2e-5
    assert np.array_equal(found[1], found[2])


def test_no_strings_have_no_activations(network):
    assert network([]).shape == (0, 512)


def test_characters_that_no_token_has_are_unknown(network):
    found = network(["C\x01C", "C\x80C", "CéC", "C\u4e2dC", "CXC"])
    assert np.abs(found - found[-1]).max() < 1e-6


def test_tokens_of_two_letters_are_one():
    channels = [chemnet.VOCABULARY[number] for number in chemnet._tokens("ClCBr[Si]")]
    assert channels == ["Cl", "C", "Br", "[", "Si", "]", "."]


def test_missing_weights_are_named(monkeypatch):
    monkeypatch.setattr(chemnet, "WEIGHTS", "nothing.pt")
    with pytest.raises(MolgenError, match=r"nothing\.pt of the package fcd; type: pip install"):
        chemnet.network()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_the_same(network):
    assert np.abs(chemnet.network("cuda")(SMILES) - network(SMILES)).max() < 1e-4
