"""Byte-pair merges: learned and applied as the library does, with one segmentation for each string."""

import pickle
import random
from itertools import pairwise, product

import pytest

from molgen_plugins.molecules.merges import Merges


def learned(base, seed):
    chance = random.Random(seed)
    rows = [[chance.randrange(base) for _ in range(chance.randrange(1, 12))] for _ in range(60)]
    return Merges.learned(base, rows, chance.randrange(2, 14))


CASES = [learned(base, seed) for base in (1, 2, 3) for seed in range(3)]
every_case = pytest.mark.parametrize("merges", CASES, ids=lambda merges: str(merges.pairs))


def expanded(merges, row):
    return [token for number in row for token in merges.parts[number]]


def test_the_most_frequent_pair_is_merged_first():
    merges = Merges.learned(3, [[0, 1, 2], [0, 1], [0, 1, 2]], 2)
    assert merges.pairs == ((0, 1), (3, 2))
    assert merges.merged([2, 0, 1, 0, 1, 2]) == [2, 3, 4]
    assert merges.parts_of(4) == (0, 1, 2)
    assert merges.parts_of(5) == ()


def test_no_more_is_learned_than_the_rows_hold():
    assert Merges.learned(2, [[0, 1]], 5).pairs == ()
    assert Merges(2).merged([0, 1]) == [0, 1]


@every_case
def test_merged_tokens_are_the_same_tokens(merges):
    for row in product(range(merges.base), repeat=4):
        assert expanded(merges, merges.merged(row)) == list(row)


@every_case
def test_a_row_is_what_is_made_of_it_where_every_two_neighbours_are(merges):
    count = len(merges.parts)
    for first, second in product(range(count), repeat=2):
        alone = merges.merged(expanded(merges, [first, second])) == [first, second]
        assert merges.follows[first, second] == alone
    chance = random.Random(1)
    for _ in range(200):
        row = [chance.randrange(count) for _ in range(chance.randrange(2, 7))]
        made = merges.merged(expanded(merges, row)) == row
        assert made == all(merges.follows[pair] for pair in pairwise(row))


@every_case
def test_every_longer_row_begins_with_one_cover_of_its_beginning(merges):
    for before in product(range(merges.base), repeat=3):
        covers = merges.covers(before)
        assert covers[0] == merges.merged(before)
        for behind in product(range(merges.base), repeat=2):
            row = merges.merged([*before, *behind])
            assert sum(row[: len(cover)] == cover for cover in covers) == 1
        for cover in covers:
            assert tuple(expanded(merges, cover)[:3]) == before


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([(0, 5)], "two classes before it"),
        ([(0, -1)], "two classes before it"),
        ([(0, 1), (0, 1)], "the same tokens"),
        ([(1, 2), (0, 1), (4, 2)], "never makes"),
    ],
)
def test_merges_that_cannot_be_are_refused(pairs, message):
    with pytest.raises(ValueError, match=message):
        Merges(3, pairs)


def test_equal_merges_compare_and_hash_alike_and_can_be_pickled():
    one, other = Merges(3, [(0, 1)]), Merges(3, [(0, 1)])
    assert one == other == pickle.loads(pickle.dumps(one))
    assert hash(one) == hash(other)
    assert one != Merges(3, [(1, 0)])
