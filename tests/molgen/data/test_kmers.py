"""Runs of tokens as bits: what two sequences share, repeats counted."""

import numpy as np
import pytest

from molgen.data.kmers import kmers


def alike(first, second, **settings):
    first, second = kmers(first, **settings), kmers(second, **settings)
    return np.bitwise_count(first & second).sum() / np.bitwise_count(first | second).sum()


def test_the_similarity_is_the_share_of_runs_that_both_have():
    # of "abcd" and "abce": letters a b c, of 5; pairs ab bc, of 4; triples abc, of 3
    assert alike("abcd", "abce") == pytest.approx(6 / 12)
    assert alike("abcd", "abce", sizes=(2,)) == pytest.approx(2 / 4)
    assert alike("abc", "xyz") == 0


def test_repeats_count():
    assert alike("aaaa", "aa", sizes=(1,)) == pytest.approx(2 / 4)


def test_tokens_are_words_as_well_as_letters():
    assert alike(["to", "be"], ["to", "be"]) == 1
    assert alike(["ab", "c"], ["a", "bc"]) == 0


def test_bits_are_the_same_in_every_process():
    assert np.flatnonzero(np.unpackbits(kmers("ab", sizes=(2,)))).tolist() == [1784]
    assert kmers("", width=64).tolist() == [0] * 8


@pytest.mark.parametrize("settings", [{"width": 12}, {"width": 0}, {"sizes": (0,)}, {"sizes": ()}])
def test_widths_and_sizes_that_are_none_are_refused(settings):
    with pytest.raises(ValueError, match="width must be"):
        kmers("abc", **settings)
