"""Statistics of the training data: counted over free elements, whatever the batches."""

import json
from functools import reduce

import numpy as np
import pytest
import torch
from support.toys import TOYS, Graph, Points, Tokens, samples_of

from molgen.batch import Packed, collate
from molgen.data.statistics import Moments, Statistics, count_field, measure
from molgen.space import Field


@pytest.mark.parametrize("toy", TOYS)
def test_batches_do_not_matter(toy):
    space, samples = toy().space, samples_of(toy)
    whole = measure(space, [collate(space, samples)]).to_json()
    parts = measure(space, [collate(space, [sample]) for sample in samples]).to_json()
    moments = [found.pop("moments") for found in (whole, parts)]
    assert whole == parts
    for name, values in moments[0].items():
        for key, value in values.items():
            assert value == pytest.approx(moments[1][name][key])


def test_letters_and_sizes_are_counted():
    found = measure(Tokens().space, [collate(Tokens().space, samples_of(Tokens, ["ab", "a", "aac"]))])
    assert found.count == 3
    assert dict(found.sizes) == {(1,): 1, (2,): 1, (3,): 1}
    assert found.marginals == {"letters": [4, 1, 1]}


def test_a_bond_counts_once():
    found = measure(Graph().space, [collate(Graph().space, samples_of(Graph, [("xxy", ((1, 0),))]))])
    assert found.marginals["bonds"] == [2, 1]


def test_centred_numbers_have_the_scale_of_their_free_coordinates():
    items = [(("H", "H"), ((1.0, 0.0, 0.0), (-1.0, 0.0, 0.0)))]
    found = measure(Points().space, [collate(Points().space, samples_of(Points, items))]).moments["places"]
    assert found.count == 3
    assert found.root_mean_square**2 == pytest.approx(2 / 3)


WAYS = {
    "whole": lambda values: Moments.of(values[:, None]),
    "merged": lambda values: reduce(Moments.merge, (Moments.of(part[:, None]) for part in np.array_split(values, 3))),
    "sums": lambda values: Moments.from_sums(len(values), float(np.sum(values)), float(np.sum(np.square(values)))),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_the_scale_is_the_standard_deviation_at_any_size(size, way):
    values = size * np.array([0.5, 1.0, 2.0, 4.0])
    assert WAYS[way](values).mean == pytest.approx(values.mean())
    assert WAYS[way](values).scale == pytest.approx(values.std())


@pytest.mark.parametrize("way", ["whole", "merged"])
@pytest.mark.parametrize(("mean", "deviation"), [(101_300, 500), (1e9, 100), (-3e12, 1)])
def test_numbers_far_from_zero_keep_their_spread(mean, deviation, way):
    values = mean + deviation * np.random.default_rng(0).normal(size=10_000)
    assert WAYS[way](values).scale == pytest.approx((values - mean).std(), rel=1e-4)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("values", [[], [3.0], [0.1] * 7, [1e9] * 7, [0.0] * 3])
def test_equal_numbers_have_the_scale_one(values, way):
    assert WAYS[way](np.array(values)).scale == 1


def test_channels_have_moments_of_their_own():
    values = np.array([[1.0, 100.0], [3.0, 500.0]])
    found = Moments.of(values)
    assert (found.means, found.scales) == ((2.0, 300.0), (1.0, 200.0))
    assert found.mean == pytest.approx(values.mean())
    assert found.scale == pytest.approx(values.std())
    assert found.root_mean_square == pytest.approx((values**2).mean() ** 0.5)
    assert found.total == values.sum()


def test_checkpoints_that_hold_sums_are_read():
    old = {"count": 2, "sizes": [], "marginals": {}, "moments": {"x": [4.0, 12.0, 40.0]}}
    assert Statistics.from_json(old).moments["x"] == Moments(4.0, (3.0,), (4.0,))


@pytest.mark.parametrize("toy", TOYS)
def test_statistics_survive_json(toy):
    found = measure(toy().space, [collate(toy().space, samples_of(toy))])
    assert Statistics.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_nothing_is_counted_of_another_kind_of_field():
    statistics = Statistics()
    count_field(Field(), "x", Packed(torch.zeros(1, 1), torch.ones(1, 1)), statistics)
    assert statistics == Statistics()
