"""The Bloom filter: never forgets a key, and rarely takes another for one."""

import pytest

from molgen.data.bloom import BloomFilter

SEEN = [f"seen {k}" for k in range(5000)]


@pytest.fixture(scope="module")
def known():
    return BloomFilter.of(SEEN, expected=len(SEEN))


def test_a_seen_key_is_always_found(known):
    assert all(key in known for key in SEEN)


@pytest.mark.parametrize("bits", [6.0, 14.0])
def test_others_are_taken_for_members_as_often_as_stated(bits):
    known = BloomFilter.of(SEEN, expected=len(SEEN), bits_per_key=bits)
    others, wrong = 20000, sum(f"new {k}" in known for k in range(20000))
    stated = known.false_positive_rate
    assert abs(wrong / others - stated) < 4 * (stated / others) ** 0.5


def test_fourteen_bits_err_about_once_in_a_thousand(known):
    assert known.false_positive_rate < 1.5e-3


def test_repeated_keys_count_once():
    assert len(BloomFilter.of(["a", "b", "a", "a"], expected=2)) == 2


def test_the_bits_are_all_there_is(known):
    again = BloomFilter(known.bits.copy(), known.hashes, known.count)
    assert SEEN[17] in again
    assert again.false_positive_rate == known.false_positive_rate


def test_a_set_of_nothing_knows_nothing():
    empty = BloomFilter.of([], expected=0)
    assert "a" not in empty
    assert empty.false_positive_rate == 0


def test_more_keys_than_expected_raise_the_stated_rate():
    crowded = BloomFilter.of(SEEN, expected=500)
    wrong = sum(f"new {k}" in crowded for k in range(1000)) / 1000
    assert crowded.false_positive_rate == pytest.approx(wrong, abs=0.02)


def test_two_sets_of_the_same_keys_are_the_same():
    keys, others = [f"key {k}" for k in range(50)], [f"key {k}" for k in range(51)]
    assert BloomFilter.of(keys, 50).same_as(BloomFilter.of(reversed(keys), 50))
    assert not BloomFilter.of(keys, 50).same_as(BloomFilter.of(others, 50))
    assert not BloomFilter.of(keys, 50).same_as(BloomFilter.of(keys, 60))
