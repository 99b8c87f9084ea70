"""Packing: free elements only, and back without loss, for every kind of field."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.toys import TOYS, samples_of

from molgen.batch import (
    Batch,
    Partial,
    collate,
    field_mask,
    helmert,
    lengths,
    levels_to_values,
    pack,
    separate,
    unpack,
    values_to_levels,
)
from molgen.space import Axis, Categorical, Field, Real, axes, is_symmetric, variable_axes

N, M = Axis("n", 5, minimum=0), Axis("m", 3, variable=False)

KINDS = {
    "free categorical": Categorical(classes=3),
    "categorical": Categorical((N,), classes=4),
    "categorical pairs": Categorical((N, N), classes=4),
    "symmetric": Categorical((N, N), classes=4, symmetric=True),
    "fixed grid": Categorical((M, M), classes=4),
    "free real": Real(channels=(2,)),
    "real": Real((N,)),
    "real with channels": Real((N, M), channels=(2, 3)),
    "quantised": Real((N,), channels=(2,), levels=256),
    "numbers of pairs": Real((N, N), symmetric=True),
    "levels of pairs": Real((N, N), channels=(2,), levels=4, symmetric=True),
    "vectors of pairs": Real((N, N), channels=(2, 2), symmetric=True),
    "centred": Real((N,), channels=(3,), centred=True, rotates=True),
    "centred numbers": Real((N,), centred=True),
}

every_kind = pytest.mark.parametrize("field", KINDS.values(), ids=KINDS.keys())
some_sizes = st.lists(st.integers(0, 5), min_size=1, max_size=4)
modestly = settings(deadline=None, max_examples=25, derandomize=True)


def a_batch(field, sizes, seed, padding=0):
    """Random samples of one field, in float64 so that equality can be asked for closely."""
    random = np.random.default_rng(seed)
    length = max(sizes) + padding
    shape = [length if axis.variable else axis.maximum for axis in field.axes]
    if isinstance(field, Categorical):
        full = torch.from_numpy(random.integers(0, field.classes, (len(sizes), *shape)))
    elif field.levels:
        full = levels_to_values(
            field, torch.from_numpy(random.integers(0, field.levels, (len(sizes), *shape, *field.channels)))
        )
    else:
        full = torch.from_numpy(random.normal(size=(len(sizes), *shape, *field.channels)))
    full = torch.maximum(full, full.transpose(1, 2)) if is_symmetric(field) else full
    space = {"x": field}
    batch = Batch({"x": full}, {name: torch.tensor(sizes) for name in variable_axes(space)})
    exists = field_mask(space, batch, "x")
    exists = exists.reshape(*exists.shape, *(1 for _ in field.channels_shape))
    full = torch.where(exists, full, 0)
    if isinstance(field, Real) and field.centred:
        mean = full.sum(1, keepdim=True) / torch.tensor(sizes).clamp(min=1).reshape(-1, 1, *(1 for _ in field.channels))
        full = torch.where(exists, full - mean, 0)
    return space, batch.with_fields({"x": full})


@every_kind
@modestly
@given(sizes=some_sizes, seed=st.integers(0, 2**32 - 1))
def test_unpacking_gives_back_what_was_packed(field, sizes, seed):
    space, batch = a_batch(field, sizes, seed)
    packed = {name: values for name, (values, _) in pack(space, batch).items()}
    again = unpack(space, packed, batch.sizes, lengths(space, batch))
    torch.testing.assert_close(again.fields["x"], batch.fields["x"], rtol=0, atol=1e-12)
    assert again.sizes == batch.sizes


@every_kind
@modestly
@given(sizes=some_sizes, seed=st.integers(0, 2**32 - 1))
def test_packing_gives_back_what_was_unpacked(field, sizes, seed):
    space, batch = a_batch(field, sizes, seed)
    values, mask = pack(space, batch)["x"]
    random = torch.Generator().manual_seed(seed % 2**31)
    chosen = (
        torch.randint(0, field.classes, values.shape, generator=random)
        if isinstance(field, Categorical)
        else torch.randn(values.shape, generator=random, dtype=torch.float64)
    )
    chosen = torch.where(mask, chosen, 0)
    again = pack(space, unpack(space, {"x": chosen}, batch.sizes, lengths(space, batch)))["x"]
    torch.testing.assert_close(again.values, chosen, rtol=0, atol=1e-12)
    assert torch.equal(again.mask, mask)


@every_kind
@modestly
@given(sizes=some_sizes, seed=st.integers(0, 2**32 - 1))
def test_more_padding_adds_no_element(field, sizes, seed):
    space, batch = a_batch(field, sizes, seed)
    longer = {axis.name: length + 2 if axis.variable else length for axis, length in _lengths(space, batch)}
    widened = unpack(space, _widened(space, batch, longer), batch.sizes, longer)
    values, mask = pack(space, batch)["x"]
    wide_values, wide_mask = pack(space, widened)["x"]
    assert torch.equal(wide_mask.sum(1), mask.sum(1))
    for row in range(len(sizes)):
        torch.testing.assert_close(wide_values[row][wide_mask[row]], values[row][mask[row]], rtol=0, atol=1e-12)


def _lengths(space, batch):
    return [(axes(space)[name], length) for name, length in lengths(space, batch).items()]


def _widened(space, batch, longer):
    """The packed values of the same samples in longer tensors."""
    tensor = batch.fields["x"]
    for position, axis in enumerate(space["x"].axes):
        extra = longer[axis.name] - tensor.shape[1 + position]
        shape = [*tensor.shape]
        shape[1 + position] = extra
        tensor = torch.cat([tensor, tensor.new_zeros(shape)], 1 + position)
    return {name: values for name, (values, _) in pack(space, batch.with_fields({"x": tensor})).items()}


@modestly
@given(sizes=some_sizes, seed=st.integers(0, 2**32 - 1))
def test_centred_coordinates_keep_lengths_and_lose_one_dimension(sizes, seed):
    space, batch = a_batch(KINDS["centred"], sizes, seed)
    values, mask = pack(space, batch)["x"]
    torch.testing.assert_close((values**2).sum(1), (batch.fields["x"] ** 2).flatten(1).sum(1))
    assert mask.sum(1).tolist() == [3 * max(0, size - 1) for size in sizes]


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_the_centred_basis_is_orthonormal_and_sums_to_zero(n):
    basis = helmert(n)
    torch.testing.assert_close(basis @ basis.T, torch.eye(max(0, n - 1), dtype=torch.float64))
    torch.testing.assert_close(basis.sum(1), torch.zeros(max(0, n - 1), dtype=torch.float64))


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [("symmetric", 1), ("numbers of pairs", 1), ("levels of pairs", 2), ("vectors of pairs", 4)],
)
def test_a_symmetric_field_counts_each_pair_once(kind, numbers):
    space, batch = a_batch(KINDS[kind], [0, 1, 4], seed=0)
    assert pack(space, batch)["x"].mask.sum(1).tolist() == [0, 0, 6 * numbers]
    assert not field_mask(space, batch, "x").diagonal(dim1=1, dim2=2).any()


def test_one_hot_classes_are_packed_like_ids():
    space, batch = a_batch(KINDS["symmetric"], [2, 4], seed=0)
    hot = torch.nn.functional.one_hot(batch.fields["x"], 4)
    ids, mask = pack(space, batch)["x"]
    values, _ = pack(space, batch.with_fields({"x": hot}))["x"]
    assert torch.equal(values.argmax(-1)[mask], ids[mask])


@pytest.mark.parametrize("toy", TOYS)
def test_samples_survive_a_batch(toy):
    samples = samples_of(toy)
    for sample, again in zip(samples, separate(toy().space, collate(toy().space, samples)), strict=True):
        for name in toy().space:
            np.testing.assert_array_equal(again[name], sample[name])


def test_levels_survive_a_batch_as_numbers():
    space = {"x": Real((N,), levels=4)}
    batch = collate(space, [{"x": np.array([0, 3], dtype=np.uint8)}, {"x": np.array([1], dtype=np.uint8)}])
    assert batch.fields["x"].tolist() == [[-0.75, 0.75], [-0.25, 0.0]]
    assert [sample["x"].tolist() for sample in separate(space, batch)] == [[0, 3], [1]]


@pytest.mark.parametrize("levels", [2, 256, 65536])
def test_every_level_is_found_again_from_its_value(levels):
    field, all_levels = Real(levels=levels), torch.arange(levels)
    assert torch.equal(values_to_levels(field, levels_to_values(field, all_levels)), all_levels)


def test_rows_are_taken_in_the_order_that_is_asked_for():
    space, batch = a_batch(KINDS["categorical"], [1, 2, 3], seed=0)
    known = Partial(batch, {"x": field_mask(space, batch, "x")}).take(torch.tensor([2, 0]))
    assert known.batch.sizes["n"].tolist() == [3, 1]
    assert known.given["x"].sum(1).tolist() == [3, 1]


def test_another_kind_of_field_has_a_number_for_each_place():
    class Colour(Field):
        pass

    space = {"x": Colour((Axis("n", 3),))}
    batch = Batch({"x": torch.tensor([[1.0, 2.0, 0.0], [3.0, 0.0, 0.0]])}, {"n": torch.tensor([2, 1])})
    packed = pack(space, batch)["x"]
    assert packed.values.tolist() == [[1, 2, 0], [3, 0, 0]]
    assert packed.mask.tolist() == [[True, True, False], [True, False, False]]
    again = unpack(space, {"x": packed.values}, batch.sizes, {"n": 3})
    assert torch.equal(again.fields["x"], batch.fields["x"])
