"""Rows of merged tokens: each string has one row with a probability, and nothing that its tokens allow is ruled out."""

import random
from collections import Counter
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
import torch
from support.molecules import SMILES as SAMPLE
from support.orderings import a_model, every_sample

from molgen.batch import Partial, collate, field_mask, separate
from molgen.config import Part
from molgen.model.generative_model import GenerativeModel
from molgen.space import Axis, Categorical
from molgen_plugins.molecules.bit_sets import bits
from molgen_plugins.molecules.merged_grammar import MergedGrammar, TokenGrammar, TokenState
from molgen_plugins.molecules.merges import Merges
from molgen_plugins.molecules.smiles.encoder import Smiles, SmilesConfig
from molgen_plugins.molecules.smiles.grammar import SmilesGrammar


@dataclass(frozen=True)
class Brackets(TokenGrammar):
    """Token 1 opens what token 2 closes, and all is closed in the end."""

    def start(self):
        return Depth(0)

    def toward_end(self):
        return [2]


@dataclass(frozen=True)
class Depth(TokenState):
    depth: int

    def possible(self):
        return np.array([True, True, self.depth > 0, self.depth == 0])

    def toward_end(self):
        return np.array([False, False, self.depth > 0, False])

    def after(self, choice):
        return Depth(self.depth + (0, 1, -1)[choice])


#: Merges of "()", "(x", "()x" and "xx"; the last class stands for nothing.
MERGES = Merges(3, [(1, 2), (1, 0), (3, 0), (0, 0)])
GRAMMARS = {"brackets": Brackets(), "nothing ruled out": None}


def strings_of(family, space, merges):
    """The probability of each string of tokens, and how many rows of classes have a share of it."""
    mass, rows = Counter(), Counter()
    for batch in every_sample(space):
        for sample, log_p in zip(separate(space, batch), family.log_density(batch).value.tolist(), strict=True):
            if log_p > -np.inf:
                string = tuple(token for number in sample["x"].tolist() for token in merges.parts_of(number))
                mass[string] += np.exp(log_p)
                rows[string] += 1
    return mass, rows


def space_of(grammar, longest=3):
    merged = MergedGrammar(grammar, MERGES, classes=8)
    return {"x": Categorical((Axis("n", longest, minimum=1),), classes=8, grammar=merged)}


@pytest.mark.parametrize("grammar", GRAMMARS.values(), ids=GRAMMARS)
def test_the_probabilities_of_strings_sum_to_one_and_each_has_one_row(grammar):
    space = space_of(grammar)
    mass, rows = strings_of(a_model(space), space, MERGES)
    assert sum(mass.values()) == pytest.approx(1)
    assert set(rows.values()) == {1}
    for string in product(range(3), repeat=2):
        depth = np.cumsum([(0, 1, -1)[token] for token in string])
        closed = grammar is None or (min(depth) >= 0 and depth[-1] == 0)
        assert (mass[string] > 0) or not closed


@pytest.mark.parametrize("beginning", [(0,), (1,), (0, 1), (1, 2)])
def test_a_beginning_is_as_likely_as_all_that_goes_on_from_it(beginning):
    space = space_of(Brackets())
    family = a_model(space)
    mass, _ = strings_of(family, space, MERGES)
    batch = collate(space, [{"x": np.array(cover)} for cover in MERGES.covers(beginning)])
    covers = family.log_known(Partial(batch, {"x": field_mask(space, batch, "x")}))
    expected = sum(share for string, share in mass.items() if string[: len(beginning)] == beginning)
    assert covers.exp().sum().item() == pytest.approx(expected)


def tiny(**settings):
    """A model of strings of C and O that writes CO, CC and COC as one token each."""
    encoder = Part("molecules.smiles", {"merges": 3, "max_length": 3, "grammar": False})
    model = GenerativeModel(encoder, Part("autoregressive"), Part("recurrent", {"width": 8, "embedding": 4}))
    model.encoder.load_state({"tokens": ["C", "O"], "merges": [[0, 1], [0, 0], [2, 0]]})
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.build().parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    model.family.eval()
    return model


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5}])
def test_draws_behind_a_beginning_are_those_of_all_draws_that_begin_so(options):
    model = tiny()
    every = [draw.item for draw in model.sample(6_000, seed=1, batch_size=8192, **options)]
    expected = Counter(item for item in every if item.startswith("C"))
    found = Counter(draw.item for draw in model.sample(3_000, seed=2, batch_size=8192, known="C", **options))
    assert all(item.startswith("C") for item in found)
    assert {len(item) for item in found if item.startswith("CO")} != {2}
    for item, count in expected.items():
        share = count / sum(expected.values())
        assert found[item] / 3_000 == pytest.approx(share, abs=5 * (share / 1_500) ** 0.5)


def test_a_beginning_does_not_depend_on_the_batch():
    model = tiny()
    draws = [[draw.item for draw in model.sample(50, seed=3, batch_size=size, known="C")] for size in (7, 50)]
    assert draws[0] == draws[1]


# --- with the grammar of SMILES -------------------------------------------------------------------

ENCODER = Smiles(SmilesConfig(merges=200))
ENCODER.prepare(SAMPLE)
GRAMMAR = ENCODER.space["tokens"].grammar
DEAD_ENDS = GRAMMAR._dead_ends()


def test_no_molecule_is_ruled_out():
    for smiles in SAMPLE[:100]:
        state = GRAMMAR.start()
        for number in ENCODER.encode(smiles)["tokens"].tolist():
            assert state.possible()[number]
            state = state.after(number)
        assert state.possible()[-1]


def walked(state, number):
    """Whether a class can come behind a state of the tokens, each of which is looked at by itself."""
    possible = True
    for part in GRAMMAR.merges.parts[number]:
        possible = possible and bool(state.possible()[part])
        state = state.after(part)
    only, dead_ends = state.walk().only(), DEAD_ENDS.get(number, 0)
    return possible and (only is None or not dead_ends >> only & 1)


def along(numbers):
    """The states of the tokens along a row of classes."""
    state = GRAMMAR.start()
    for number in numbers:
        yield state.tokens
        state = state.after(number)


def at_random(seed):
    """A row of classes that the grammar allows, of which a model would write few."""
    choice, state, numbers = random.Random(seed), GRAMMAR.start(), []
    while len(numbers) < 10 and (possible := np.flatnonzero(state.possible()[:-1])).size:
        numbers.append(int(choice.choice(possible)))
        state = state.after(numbers[-1])
    return numbers


@pytest.mark.parametrize("rows", ["molecules", "at random"])
def test_a_class_can_come_where_its_tokens_can_one_after_the_other(rows):
    """Rows are put together from what is known of like surroundings; here every class is walked along by itself."""
    molecules = [ENCODER.encode(smiles)["tokens"].tolist() for smiles in SAMPLE[::20]]
    checked = 0
    for numbers in molecules if rows == "molecules" else map(at_random, range(12)):
        for state in along(numbers):
            expected = [walked(state, number) for number in range(len(GRAMMAR.merges.parts))]
            row = GRAMMAR.as_row(GRAMMAR.row(state))
            assert row[: len(expected)].tolist() == expected
            assert row[-1] == state.possible()[-1]
            checked += sum(expected)
    assert checked > 1000


def test_rows_of_tokens_look_at_no_more_than_they_reach():
    """What a row may close that was open before, and every ring bond where no atom may come behind a bond."""
    found = {text: GRAMMAR.tokens.reaches([ENCODER._ids[token] for token in text])[-1] for text in REACHES}
    rings = {text: {GRAMMAR.tokens.tokens[number] for number in bits(reach[1])} for text, reach in found.items()}
    assert {text: reach[0] for text, reach in found.items()} == {text: back for text, (back, _) in REACHES.items()}
    every = {GRAMMAR.tokens.tokens[number] for number in bits(GRAMMAR.tokens.ring_numbers)}
    assert rings == {text: every if closed == "every" else set(closed) for text, (_, closed) in REACHES.items()}


REACHES = {
    "C": (0, ""),
    "(C)": (0, ""),
    "C)": (1, ""),
    "C))(": (2, ""),
    "c1cc2": (0, "12"),
    "2)cc1": (1, "12"),
    "=O": (0, ""),
    "C=": (0, "every"),
    "=1": (0, "every"),
}


def test_an_open_branch_is_closed_by_classes_that_begin_so():
    merges = Merges(320, [(ENCODER._ids[")"], ENCODER._ids["C"])])
    grammar = MergedGrammar(GRAMMAR.tokens, merges, classes=321)
    state = grammar.start()
    for token in "CC(C":
        state = state.after(ENCODER._ids[token])
    assert np.flatnonzero(state.toward_end()).tolist() == [ENCODER._ids[")"], 320]


def test_no_more_than_a_fixed_number_of_states_is_remembered(monkeypatch):
    for name in ("merged_grammar.REMEMBERED", "continuations.REMEMBERED", "smiles.grammar.REMEMBERED_VIEWS"):
        monkeypatch.setattr(f"molgen_plugins.molecules.{name}", 20)
    grammar = MergedGrammar(
        SmilesGrammar(GRAMMAR.tokens.tokens, GRAMMAR.tokens.radicals), GRAMMAR.merges, GRAMMAR.classes
    )
    for smiles in SAMPLE[:20]:
        state, other = grammar.start(), GRAMMAR.start()
        for number in ENCODER.encode(smiles)["tokens"].tolist():
            assert (state.possible() == other.possible()).all()
            state, other = state.after(number), other.after(number)
        remembered = grammar._states, grammar._continuations._found, grammar.tokens._views
        assert max(map(len, remembered)) <= 20


def test_no_class_comes_behind_which_nothing_could():
    """Behind F in a branch only ) can come, and byte-pair encoding would have made F) of the two."""
    merges = Merges(320, [(ENCODER._ids["F"], ENCODER._ids[")"])])
    grammar = MergedGrammar(GRAMMAR.tokens, merges, classes=321)
    found = {}
    for text in ("CC", "CC("):
        state = grammar.start()
        for token in text:
            state = state.after(ENCODER._ids[token])
        found[text] = [bool(state.possible()[number]) for number in (ENCODER._ids["F"], 320, ENCODER._ids["N"])]
    assert found == {"CC": [True, False, True], "CC(": [False, True, True]}
