"""Encoders that break one guarantee each."""

from dataclasses import dataclass, replace

import numpy as np
from support.toys import Tokens, Toy

from molgen.domain import Invalid
from molgen.space import Grammar, GrammarState, Real


class OldApi(Tokens):
    molgen_api = 0


class UnspeakableField(Tokens):
    space = {"the letters": Tokens.space["letters"]}  # noqa: RUF012

    def encode(self, item):
        sample = super().encode(item)
        return sample if isinstance(sample, Invalid) else {"the letters": sample["letters"]}

    def decode(self, sample):
        return super().decode({"letters": sample["the letters"]})


class FloatIds(Tokens):
    def encode(self, item):
        sample = super().encode(item)
        return sample if isinstance(sample, Invalid) else {"letters": sample["letters"].astype(float)}

    def decode(self, sample):
        return super().decode({"letters": sample["letters"].astype(int)})


class ClassOutside(Tokens):
    """Counts its classes from 1."""

    def encode(self, item):
        sample = super().encode(item)
        return sample if isinstance(sample, Invalid) else {"letters": sample["letters"] + 1}

    def decode(self, sample):
        return super().decode({"letters": np.maximum(sample["letters"] - 1, 0)})


@dataclass(frozen=True)
class OnlyFirst(Grammar):
    """Rules out every class but the first."""

    def start(self):
        return Only()


class Only(GrammarState):
    def possible(self):
        return np.array([True, False, False, True])

    def toward_end(self):
        return np.zeros(4, bool)

    def after(self, choice):
        return self


class RulesItselfOut(Tokens):
    space = {"letters": replace(Tokens.space["letters"], grammar=OnlyFirst())}  # noqa: RUF012


class TooLong(Tokens):
    def examples(self):
        return ["ab", "abca"]

    def encode(self, item):
        return {"letters": np.array(["abc".index(letter) for letter in item])}


class Backwards(Tokens):
    def decode(self, sample):
        return super().decode(sample)[::-1]


class LossyBackwards(Backwards):
    """Loses more than a lossy encoder may: what it decodes is encoded as something else."""

    lossless = False


class RaisesOnOne(Tokens):
    def decode(self, sample):
        if sample["letters"].tolist() == [2, 2, 2]:
            raise KeyError("ccc")
        return super().decode(sample)


class GivesNoReason(Tokens):
    def decode(self, sample):
        return super().decode(sample) if sample["letters"].tolist() != [2, 2, 2] else Invalid(" ")


class NoJudgement(Tokens):
    def canonical(self, item):
        if item == "ccc":
            raise RuntimeError("no canonical form")
        return item


class RestlessForm(Tokens):
    """The canonical form of `ccc` has another canonical form."""

    def canonical(self, item):
        return {"ccc": "ccb", "ccb": "cca"}.get(item, item)


class MakesUpNoWord(Tokens):
    def canonical(self, item):
        return Invalid("no word") if set(item) - set("abc") else item

    def canary(self, rng, items):
        return items[0] + "dabc"[int(rng.integers(4))]


class MakesUpOnlyOne(Tokens):
    def canary(self, rng, items):
        return {0: "abc"}[int(rng.integers(3))]


class RefusesByRaising(Tokens):
    def encode(self, item):
        if item[0] == "c" and item != "cba" and item != "cc":
            raise ValueError("no words with c")
        return super().encode(item)


class TooLargeForFloats(Toy):
    space = {"height": Real()}  # noqa: RUF012

    def examples(self):
        return [1.0, 1e300]

    def encode(self, item):
        return {"height": np.array(item)}

    def decode(self, sample):
        return float(sample["height"])


class CountsPreparations(Tokens):
    prepared = 0

    def prepare(self, items):
        self.prepared += 1

    def state(self):
        return {"prepared": self.prepared}

    def load_state(self, state):
        self.prepared = state["prepared"]


class ForgetsItsState(Tokens):
    letters = "abc"

    def prepare(self, items):
        self.letters = "cba"

    def encode(self, item):
        return {"letters": np.array([self.letters.index(letter) for letter in item])}

    def decode(self, sample):
        return "".join(self.letters[k] for k in sample["letters"])


class StateIsNoJson(Tokens):
    """The state cannot be compared either, so two checks see it."""

    def state(self):
        return {"letters": {"a", "b", "c"}}


class CannotTravel(Tokens):
    def __init__(self, config=None):
        super().__init__(config)
        self.helper = lambda item: item


BROKEN = {
    OldApi: {"speaks_the_plugin_api"},
    UnspeakableField: {"space_is_declared"},
    FloatIds: {"examples_encode_into_the_space"},
    ClassOutside: {"examples_encode_into_the_space"},
    RulesItselfOut: {"examples_encode_into_the_space"},
    TooLong: {"examples_encode_into_the_space"},
    Backwards: {"decode_inverts_encode"},
    LossyBackwards: {"decode_inverts_encode"},
    RaisesOnOne: {"decode_never_raises"},
    GivesNoReason: {"decode_never_raises"},
    NoJudgement: {"decoded_items_can_be_judged"},
    RestlessForm: {"decoded_items_can_be_judged"},
    MakesUpNoWord: {"made_up_items_are_items"},
    MakesUpOnlyOne: {"made_up_items_are_items"},
    RefusesByRaising: {"decoded_items_encode_again"},
    TooLargeForFloats: {"batches_come_back"},
    CountsPreparations: {"preparing_twice_changes_nothing"},
    ForgetsItsState: {"state_survives_json"},
    StateIsNoJson: {"state_survives_json", "preparing_twice_changes_nothing"},
    CannotTravel: {"can_be_pickled"},
}
