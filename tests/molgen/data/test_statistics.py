"""Statistics of the training data: counted over free elements, whatever the batches."""

import json

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
        assert values == pytest.approx(moments[1][name])


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
    assert found.squares == pytest.approx(2)


def moments_of(values):
    return Moments(len(values), float(np.sum(values)), float(np.sum(np.square(values))))


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_the_scale_is_the_standard_deviation_at_any_size(size):
    values = size * np.array([0.5, 1.0, 2.0, 4.0])
    assert moments_of(values).mean == pytest.approx(values.mean())
    assert moments_of(values).scale == pytest.approx(values.std())


@pytest.mark.parametrize("values", [[], [3.0], [0.1] * 7, [1e9] * 7, [0.0] * 3])
def test_equal_numbers_have_the_scale_one(values):
    assert moments_of(np.array(values)).scale == 1


@pytest.mark.parametrize("toy", TOYS)
def test_statistics_survive_json(toy):
    found = measure(toy().space, [collate(toy().space, samples_of(toy))])
    assert Statistics.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_an_unknown_kind_of_field_is_named():
    with pytest.raises(TypeError, match="of kind Field"):
        count_field(Field(), "x", Packed(torch.zeros(1, 1), torch.ones(1, 1)), Statistics())
