"""What the report gathers of a file: little, the same whatever the chunks, and by hand where it can be."""

import numpy as np
import pytest
from support.reporting import Plain

from molgen.domain import Descriptors
from molgen.metric import Chunk
from molgen_cli.report.collect import (
    BitVectors,
    Gathering,
    Groups,
    Portrait,
    RandomItems,
    Values,
    nearest,
    portrayed,
    shared_bits,
)


class Words(Plain):
    """Words whose length is a property, their first letter a scaffold, and their letters a fingerprint."""

    group_feature = "scaffold"
    bits_feature = "fingerprint"

    def descriptors(self):
        return Descriptors(
            properties={"length": len, "weight": len},
            features={"length": len, "scaffold": lambda item: item[0], "fingerprint": _letters},
        )


def _letters(word):
    return np.packbits([letter in word for letter in "abcdefghijklmnop"])


def chunks(words, size):
    """Words in chunks of a size; an empty one is invalid."""
    features = Words().descriptors().features
    for first in range(0, len(words), size):
        rows = words[first : first + size]
        items = [word for word in rows if word]
        found = {name: [feature(word) for word in items] for name, feature in features.items()} if items else {}
        found = {name: values if name == "scaffold" else np.array(values) for name, values in found.items()}
        yield Chunk(first, np.array([bool(word) for word in rows]), items, items, found)


def random_words(count, seed=0):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("abcdefghijklmnop"), rng.integers(0, 7))) for _ in range(count)]


def gathered(words, size, seed=0):
    found = Gathering(Words(), seed)
    for chunk in chunks(words, size):
        found(chunk)
    return found


def test_what_is_gathered_does_not_depend_on_chunks():
    words = random_words(500)
    one, other = gathered(words, 7), gathered(words, 500)
    assert one.sample.items == other.sample.items
    assert np.array_equal(one.values.values["length"], other.values.values["length"])
    assert one.groups.counts == other.groups.counts
    assert np.array_equal(one.sample.features["fingerprint"], [_letters(word) for word in one.sample.items])


def test_a_sample_is_random_and_seeded():
    words = [f"word {k}" for k in range(1000)]
    one, other = gathered(words, 64, seed=1).sample.items, gathered(words, 64, seed=2).sample.items
    assert one == gathered(words, 64, seed=1).sample.items
    assert one != other
    assert len(set(one)) == 60
    assert 300 < np.mean([int(word.split()[1]) for word in one]) < 700
    assert one != sorted(one, key=words.index)


def test_every_row_is_drawn_as_often():
    times = np.zeros(40)
    for seed in range(400):
        sample = RandomItems(10, seed)
        for chunk in chunks([f"w{k}" for k in range(40)], 16):
            sample(chunk)
        times[[int(word[1:]) for word in sample.items]] += 1
    assert times.sum() == 4000
    assert abs(times - 100).max() < 45  # five standard deviations


def test_gathering_asks_only_for_what_the_domain_has():
    assert set(Gathering(Words()).needs) == {"fingerprint", "length", "scaffold"}
    bare = Gathering(Plain())
    assert bare.needs == ()
    bare(Chunk(0, np.array([True, False]), ["a"], ["a"]))
    assert bare.sample.items == ["a"]


def test_values_are_all_or_many():
    words = random_words(300)
    valid = [word for word in words if word]
    few, all_of_them = Values(("length",), count=50), Values(("length",))
    for chunk in chunks(words, 32):
        few(chunk)
        all_of_them(chunk)
    assert len(few.values["length"]) == 50
    assert sorted(all_of_them.values["length"]) == sorted(map(len, valid))


def test_rare_scaffolds_are_forgotten_when_there_are_too_many():
    counted = Groups("scaffold", most=3)
    for chunk in chunks(["a", "a", "b", "c", "d", "a"], 3):
        counted(chunk)
    assert counted.counts == [("a", 3)]


def test_items_without_a_scaffold_are_not_counted():
    counted = Groups("scaffold")
    counted(Chunk(0, np.array([True, True]), ["x", "y"], ["x", "y"], {"scaffold": ["", "r"]}))
    assert counted.counts == [("r", 1)]


def test_a_portrait_comes_back_from_its_arrays():
    made, config = Portrait(portrayed(Words())), portrayed(Words())
    assert Portrait.needed(config) == ("length", "scaffold")
    for chunk in chunks(["abc", "", "a", "bc"], 2):
        made.add(chunk)
    back = Portrait(config)
    back.load(made.arrays())
    assert sorted(back.values["length"]) == [1, 2, 3]
    assert back.groups == [("a", 2), ("b", 1)]
    assert all(isinstance(array, np.ndarray) for array in made.arrays().values())


def test_a_portrait_of_nothing():
    back = Portrait(portrayed(Plain()))
    back.load(Portrait(portrayed(Plain())).arrays())
    assert back.values == {}
    assert back.groups == []


def test_similarity_by_hand():
    one, others = _letters("abc"), np.array([_letters(word) for word in ("abc", "ab", "cdef", "xyz")])
    assert shared_bits(one, others).tolist() == [1.0, 2 / 3, 1 / 6, 0.0]
    assert shared_bits(np.zeros(2, np.uint8), np.zeros((1, 2), np.uint8)).tolist() == [1.0]


@pytest.mark.parametrize("size", [1, 4])
def test_the_nearest_training_item(size, monkeypatch):
    monkeypatch.setattr("molgen_cli.report.collect._ROWS", 2)
    training = ["", "ab", "abcd", "", "nop", "ba"]
    known = BitVectors("fingerprint")
    for chunk in chunks(training, size):
        known.add(chunk)
    back = BitVectors("fingerprint")
    back.load(known.arrays())
    sample = RandomItems(5, needs=("fingerprint",))
    for chunk in chunks(["ab", "nopa"], 2):
        sample(chunk)
    found = nearest(sample, back, training)
    assert sorted(found) == [("ab", "ab", 1.0), ("nopa", "nop", 0.75)]
    assert len(nearest(sample, back, training, most=1)) == 1


def test_no_training_item_is_near_where_there_is_none():
    empty = BitVectors("fingerprint")
    empty.load(BitVectors("fingerprint").arrays())
    assert nearest(RandomItems(needs=("fingerprint",)), empty, []) == []
