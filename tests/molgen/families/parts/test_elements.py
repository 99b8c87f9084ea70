"""The packed elements of a batch: their count, the way to full tensors and back, noise, and the outputs of heads."""

import doctest

import pytest
import torch
from support.toys import Graph, Grid, Points, Record, Tokens, samples_of

from molgen.batch import collate, pack
from molgen.families.parts import elements
from molgen.families.parts.elements import ElementNoise, PackedElements, arrange, beside, fitted, of_own_place
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Real
from molgen.testing.batches import padded

TOYS = {toy.__name__: toy for toy in (Tokens, Grid, Graph, Points, Record)}
every_toy = pytest.mark.parametrize("toy", TOYS.values(), ids=TOYS)
NODE = Axis("node", 4, ordered=False)
PLACES = torch.tensor([[True, True, True], [True, True, False]])


def of_toy(toy, **other):
    batch = collate(toy().space, samples_of(toy))
    return batch, PackedElements.of_batch(toy().space, batch, **other)


def test_the_example_of_the_module_holds():
    found = doctest.testmod(elements)
    assert found.attempted > 10
    assert found.failed == 0


@every_toy
def test_packing_is_that_of_the_batch_and_has_an_inverse(toy):
    batch, found = of_toy(toy)
    values = found.pack_batch(batch)
    expected = pack(toy().space, batch)
    for name, packed in expected.items():
        assert torch.equal(values[name], packed.values)
        assert torch.equal(found.exists[name], packed.mask)
    assert torch.equal(found.counts(), sum(packed.mask.sum(1) for packed in expected.values()))
    again = found.unpack_batch(values)
    for name, tensor in batch.fields.items():
        torch.testing.assert_close(again.fields[name], tensor)
    assert {name: size.tolist() for name, size in again.sizes.items()} == {
        name: size.tolist() for name, size in batch.sizes.items()
    }


@every_toy
def test_all_fields_side_by_side_come_apart_again(toy):
    _, found = of_toy(toy)
    noise = ElementNoise(found, Rng(0, range(len(found)))).uniforms("any")
    joined = found.join(noise)
    assert joined.shape[1] == sum(exists.shape[1] for exists in found.exists.values())
    assert all(torch.equal(part, noise[name]) for name, part in found.split(joined).items())


@every_toy
def test_a_number_of_an_element_knows_nothing_of_padding_and_of_other_rows(toy):
    batch, whole = of_toy(toy)
    rows = torch.tensor([2, 0])
    rng = Rng(3, range(len(batch)))
    longer = PackedElements.of_batch(toy().space, padded(toy().space, batch))
    for name in whole.space:
        numbers = ElementNoise(whole, rng).uniform(name, "noise", 1)
        assert numbers.shape == whole.exists[name].shape
        assert numbers.dtype == torch.float64
        there = whole.exists[name]
        some = ElementNoise(whole.take(rows), rng.take(rows)).uniform(name, "noise", 1)
        assert torch.equal(some, numbers[rows])
        more = ElementNoise(longer, rng).uniform(name, "noise", 1)
        assert torch.equal(more[longer.exists[name]], numbers[there])
        assert len(numbers[there].unique()) == there.sum()
        assert not torch.equal(numbers, ElementNoise(whole, rng).uniform(name, "noise", 2))
        assert not torch.equal(numbers, ElementNoise(whole, rng).uniform(name, "start", 1))


def test_normal_noise_of_centred_points_is_centred_and_of_unit_scale():
    space = {"x": Real((NODE,), (3,), centred=True)}
    rows = 4000
    sizes = {"node": torch.tensor([4, 3]).repeat(rows // 2)}
    found = PackedElements.of(space, sizes, {"node": 4}, rows, torch.device("cpu"))
    full = found.unpack("x", ElementNoise(found, Rng(0, range(rows))).normal("x", "noise"))
    assert full.sum(1).abs().max() < 1e-12
    # Each of n centred points has the variance 1 - 1/n in every direction.
    for row, size in ((0, 4), (1, 3)):
        variance = full[row::2, :size].var(0)
        torch.testing.assert_close(variance, torch.full_like(variance, 1 - 1 / size), rtol=0.1, atol=0)
    assert (full[1::2, 3] == 0).all()


@every_toy
def test_the_rows_that_are_taken_are_those_of_a_batch_of_them(toy):
    batch, found = of_toy(toy)
    rows = torch.tensor([2, 1])
    taken, made = found.take(rows), PackedElements.of_batch(toy().space, batch.take(rows))
    assert len(taken) == 2
    for name in found.space:
        assert torch.equal(taken.places[name], made.places[name])
        assert torch.equal(taken.exists[name], made.exists[name])


# --- the outputs of heads -------------------------------------------------------------------------


def test_a_class_has_all_outputs_of_its_place_and_a_pair_those_of_one_of_its_orders():
    outputs = torch.randn(2, 3, 5)
    found = arrange(Categorical((NODE,), classes=5), outputs, PLACES)
    assert torch.equal(found, outputs * PLACES[..., None])
    pairs = PLACES[:, :, None] & PLACES[:, None, :] & ~torch.eye(3, dtype=torch.bool)
    outputs = torch.randn(2, 3, 3, 4)
    found = arrange(Categorical((NODE, NODE), classes=4, symmetric=True), outputs, pairs)
    assert torch.equal(found[0], torch.stack([outputs[0, 1, 0], outputs[0, 2, 0], outputs[0, 2, 1]]))


def test_each_channel_has_its_own_share_of_the_outputs():
    outputs = torch.randn(2, 3, 2 * 5)
    found = arrange(Real((NODE,), channels=(2,), levels=7), outputs, PLACES)
    assert found.shape == (2, 6, 5)
    assert torch.equal(found[0], outputs[0].reshape(6, 5))
    assert (found[1, 4:] == 0).all()


@pytest.mark.parametrize("count", [1, 2])
def test_parameters_of_centred_points_are_packed_as_the_points_are(count):
    field = Real((NODE,), (3,), centred=True)
    vectors = torch.randn(2, 3, 3, count, dtype=torch.float64)
    found = arrange(field, vectors.flatten(2), PLACES)
    elements = PackedElements.of({"x": field}, {"node": torch.tensor([3, 2])}, {"node": 3}, 2, torch.device("cpu"))
    for k in range(count):
        torch.testing.assert_close(found[..., k], elements.pack("x", vectors[..., k] * PLACES[..., None]))


def test_a_single_centred_point_has_no_elements():
    field = Real((NODE,), (3,), centred=True)
    assert arrange(field, torch.zeros(2, 1, 3), PLACES[:, :1]).shape == (2, 0, 1)


def test_what_belongs_to_a_place_goes_to_its_element_unmixed():
    field = Real((NODE,), (2,), centred=True)
    values = torch.arange(12.0).view(2, 3, 2)
    assert torch.equal(of_own_place(field, values), values[:, 1:].flatten(1))
    chosen = torch.tensor([[[False, True, False], [True, False, True], [False, True, False]]])
    assert of_own_place(Categorical((NODE, NODE), symmetric=True), chosen).tolist() == [[True, False, True]]


def test_tensors_are_cut_and_filled_up_to_the_places_of_samples():
    tensor = torch.arange(12.0).view(1, 2, 3, 2)
    found = fitted(tensor, (3, 2))
    assert found.shape == (1, 3, 2, 2)
    assert torch.equal(found[:, :2], tensor[:, :, :2])
    assert (found[:, 2] == 0).all()
    assert beside(PLACES, torch.zeros(2, 3, 4, 5)).shape == (2, 3, 1, 1)


def test_sizes_and_masks_lie_where_they_are_asked_for():
    batch, _ = of_toy(Points)
    found = PackedElements.of_batch(Points().space, batch, device=torch.device("meta"))
    parts = (found.sizes, found.places, found.exists)
    assert {tensor.device.type for part in parts for tensor in part.values()} == {"meta"}
