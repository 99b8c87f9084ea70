"""Random numbers: the published generator, keyed by what they are for."""

import numpy as np
import pytest
import torch

from molgen.seeding import Rng, content_key, inverse_cdf, philox


def chi_square_p(counts, expected):
    """The probability of a larger chi-square statistic, for counts in at least two cells."""
    statistic = ((counts - expected) ** 2 / expected).sum()
    return float(torch.special.gammaincc(torch.tensor((len(counts) - 1) / 2), torch.tensor(float(statistic) / 2)))


# From the file kat_vectors of the Random123 distribution: counter, key, output, for philox4x32 with 10 rounds.
@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_the_generator_gives_the_published_vectors(counter, key, expected):
    words = np.array([int(word, 16) for word in counter.split()], dtype=np.uint64)[:, None]
    low, high = (int(word, 16) for word in key.split())
    assert [f"{word:08x}" for word in philox(words, low | high << 32)[:, 0].tolist()] == expected.split()


def test_numbers_do_not_depend_on_the_batch():
    whole = Rng(7, range(100)).uniform("x", (3,), step=2)
    parts = [Rng(7, range(start, start + 10)).uniform("x", (3,), step=2) for start in range(0, 100, 10)]
    assert torch.equal(torch.cat(parts), whole)


def test_rows_that_are_taken_keep_their_numbers():
    rng = Rng(7, range(10))
    for rows in (torch.tensor([8, 1]), np.array([8, 1])):
        assert torch.equal(rng.take(rows).normal("x"), rng.normal("x")[[8, 1]])


def test_fewer_numbers_are_the_first_of_more():
    rng = Rng(7, range(4))
    assert torch.equal(rng.uniform("x", (5,)), rng.uniform("x", (8,))[:, :5])


@pytest.mark.parametrize(
    "other",
    [
        lambda: Rng(8, range(1000)).uniform("x"),
        lambda: Rng(7, range(1000, 2000)).uniform("x"),
        lambda: Rng(7, range(1 << 32, (1 << 32) + 1000)).uniform("x"),
        lambda: Rng(7, range(1000)).uniform("y"),
        lambda: Rng(7, range(1000)).uniform("x", step=1),
        lambda: Rng(7, range(1000)).fold("z").uniform("x"),
        lambda: Rng(7, range(1000)).uniform("x", (2,))[:, 1],
    ],
    ids=["seed", "item", "large item", "field", "step", "fold", "element"],
)
def test_every_part_of_the_key_gives_independent_numbers(other):
    numbers, others = Rng(7, range(1000)).uniform("x"), other()
    assert not (numbers == others).any()
    assert abs(torch.corrcoef(torch.stack([numbers, others]))[0, 1]) < 0.1


def test_uniform_numbers_are_uniform_and_inside():
    numbers = Rng(0, range(2000)).uniform("x", (10,)).flatten()
    assert 0 < numbers.min() < numbers.max() < 1
    counts = torch.histc(numbers, 50, 0, 1)
    assert chi_square_p(counts, torch.full((50,), len(numbers) / 50)) > 1e-3


def test_normal_numbers_are_normal():
    numbers = Rng(0, range(2000)).normal("x", (10,)).flatten()
    assert torch.isfinite(numbers).all()
    moments = [(numbers**k).mean().item() for k in (1, 2, 3, 4)]
    assert moments == pytest.approx([0, 1, 0, 3], abs=0.1)


def test_classes_come_with_their_probabilities():
    probabilities = torch.tensor([0.5, 0.0, 0.2, 0.3])
    drawn = Rng(0, range(20000)).categorical(probabilities.expand(20000, -1), "x")
    counts = torch.bincount(drawn, minlength=4)
    assert counts[1] == 0
    assert chi_square_p(counts[[0, 2, 3]], 20000 * probabilities[[0, 2, 3]]) > 1e-3


def test_the_inverse_cdf_has_exact_borders():
    uniform = torch.tensor([0.0, 0.2499, 0.25, 0.7499, 0.75, 1 - 2.0**-53], dtype=torch.float64)
    chosen = inverse_cdf(torch.tensor([[1.0, 2.0, 1.0]]).expand(6, -1), uniform)
    assert chosen.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("total", [1.0, 0.3, 1 + 2.0**-52, 7.0])
def test_a_class_of_probability_zero_is_never_chosen(total):
    probabilities = torch.tensor([[0.0, total / 2, 0.0, total / 2, 0.0]], dtype=torch.float64).expand(4, -1)
    uniform = torch.tensor([2.0**-53, 0.5 - 2.0**-53, 0.5, 1 - 2.0**-53], dtype=torch.float64)
    assert set(inverse_cdf(probabilities, uniform).tolist()) == {1, 3}


def test_yes_and_no_come_with_their_probability():
    yes = Rng(0, range(20000)).bernoulli(0.3, "x")
    assert yes.dtype == torch.bool
    assert yes.double().mean().item() == pytest.approx(0.3, abs=0.015)


def test_no_item_needs_no_number():
    assert Rng(0, range(0)).uniform("x", (3,)).shape == (0, 3)


def test_a_sample_is_known_by_what_it_holds():
    letters, place = np.array([1, 2]), np.array([[0.5, 1.0]])
    key = content_key({"letters": letters, "place": place})
    assert key == content_key({"place": place.astype(np.float32), "letters": letters.astype(np.int32)})
    others = [
        {"letters": letters},
        {"letters": letters[::-1], "place": place},
        {"letters": letters, "place": place.T},
        {"letters": letters, "where": place},
    ]
    assert len({key, *map(content_key, others)}) == 5
