"""The generation order: a batch as tokens, and back."""

from math import prod

import pytest
import torch
from support.orderings import LEVELS, SPACES, every_sample
from support.toys import CATEGORICAL_TOYS, every_item, samples_of

from molgen.batch import Batch, Partial, collate, field_mask, separate, unpack
from molgen.errors import UnsupportedSpace
from molgen.ordering import (
    FREE,
    NOT_END,
    batch_from_tokens,
    batch_to_tokens,
    ending_fields,
    full_ordering,
    known_tokens,
    make_ordering,
    vocabulary_size,
)
from molgen.space import Axis, Categorical, Field, Real, axes, order

EMPTY_ALLOWED = {"x": Categorical((Axis("n", 2, minimum=0),), classes=2)}
DIRECTED = {"label": Categorical(classes=2), "x": Categorical((Axis("n", 2),) * 2, classes=2)}
PAIRS_FIRST = {
    "bonds": Categorical((Axis("n", 3),) * 2, classes=2, symmetric=True),
    "atoms": Categorical((Axis("n", 3),), classes=2),
}


def same(batch, other):
    assert {name: t.tolist() for name, t in batch.sizes.items()} == {n: t.tolist() for n, t in other.sizes.items()}
    for name, tensor in batch.fields.items():
        torch.testing.assert_close(tensor, other.fields[name])


@pytest.mark.parametrize("toy", CATEGORICAL_TOYS)
def test_tokens_lead_back_to_the_batch(toy):
    space = toy().space
    batch = collate(space, samples_of(toy, every_item(toy)))
    made = batch_to_tokens(space, batch)
    same(batch_from_tokens(space, made.ordering, torch.where(made.mask, made.ids, -1)), batch)


@pytest.mark.parametrize("space", [EMPTY_ALLOWED, DIRECTED, PAIRS_FIRST], ids=["empty", "directed", "pairs first"])
def test_tokens_lead_back_for_unusual_spaces(space):
    random = torch.Generator().manual_seed(0)
    axis = next(iter(axis for field in space.values() for axis in field.axes))
    samples = []
    for size in [n for n in range(axis.minimum, axis.maximum + 1) for _ in range(4)]:
        sample = {}
        for name, field in space.items():
            values = torch.randint(0, field.classes, [size] * len(field.axes), generator=random)
            sample[name] = ((values + values.T) % 2).fill_diagonal_(0).numpy() if field.symmetric else values.numpy()
        samples.append(sample)
    batch = collate(space, samples)
    made = batch_to_tokens(space, batch)
    same(batch_from_tokens(space, made.ordering, torch.where(made.mask, made.ids, -1)), batch)


@pytest.mark.parametrize("space", LEVELS.values(), ids=LEVELS.keys())
def test_tokens_lead_back_to_levels(space):
    batches = list(every_sample(space))
    for batch in batches:
        made = batch_to_tokens(space, batch)
        same(batch_from_tokens(space, made.ordering, torch.where(made.mask, made.ids, -1)), batch)
    together = collate(space, [sample for batch in batches for sample in separate(space, batch)])
    made = batch_to_tokens(space, together)
    same(batch_from_tokens(space, made.ordering, torch.where(made.mask, made.ids, -1)), together)


def test_the_tokens_of_a_picture_are_its_levels_row_by_row_and_channel_by_channel():
    rows, columns = Axis("row", 2, variable=False), Axis("column", 2, variable=False)
    space = {"x": Real((rows, columns), channels=(3,), levels=256)}
    levels = torch.randint(256, (4, 12))
    batch = unpack(space, {"x": (2 * levels + 1) / 256 - 1}, {}, {"row": 2, "column": 2})
    made = batch_to_tokens(space, batch)
    assert torch.equal(made.ids, levels)
    assert [step.index for step in made.ordering.slices[:4]] == [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 0)]


def test_an_axis_ends_at_the_first_channel_only():
    space = {"x": Real((Axis("n", 3, minimum=0),), channels=(2,), levels=2)}
    assert [step.ends for step in full_ordering(space).slices] == ["n", None] * 3
    batch = Batch({"x": torch.full((2, 1, 2), 0.5)}, {"n": torch.tensor([1, 0])})
    made = batch_to_tokens(space, batch)
    assert made.ids[:, :3].tolist() == [[1, 1, 2], [2, 1, 0]]
    assert made.mask.tolist() == [[True, True, True, False], [True, False, False, False]]


def test_fields_of_other_kinds_and_numbers_without_levels_have_no_tokens():
    assert [vocabulary_size(field) for field in (Categorical(classes=3), Real(levels=7))] == [3, 7]
    for field in (Real(), Field()):
        with pytest.raises(UnsupportedSpace, match="tokens are classes or levels"):
            vocabulary_size(field)


def test_a_known_beginning_of_a_picture_is_forced_in_all_channels():
    space = LEVELS["picture"]
    batch = Batch({"pixels": torch.full((1, 2, 2, 2), 0.5)}, {})
    known = Partial(batch, {"pixels": torch.tensor([[[True, False], [False, False]]])})
    assert known_tokens(space, full_ordering(space), known, None, 1).tolist() == [[1, 1, *[FREE] * 6]]


def test_a_sample_ends_by_a_token_below_the_maximum_and_without_one_at_it():
    space = EMPTY_ALLOWED
    batch = collate(space, [{"x": torch.zeros(size, dtype=torch.long).numpy()} for size in (0, 1, 2)])
    made = batch_to_tokens(space, batch)
    end = space["x"].classes
    assert made.ids.tolist() == [[end, 0], [0, end], [0, 0]]
    assert made.mask.tolist() == [[True, False], [True, True], [True, True]]


def test_end_may_not_come_below_the_minimum():
    space = {"x": Categorical((Axis("n", 4, minimum=2),))}
    assert full_ordering(space).may_end["x"].tolist() == [False, False, True, True]


def test_end_is_a_choice_of_every_field_that_can_come_first_at_an_index():
    assert ending_fields(PAIRS_FIRST) == {"atoms", "bonds"}


def test_two_groups_of_variable_size_are_refused():
    with pytest.raises(ValueError, match="one variable leading axis"):
        full_ordering({"a": Categorical((Axis("n", 2),)), "b": Categorical((Axis("m", 2),))})


def letters(*words):
    space = {"x": Categorical((Axis("n", 4),), classes=2)}
    return space, collate(space, [{"x": torch.tensor(word).numpy()} for word in words])


def test_what_is_known_is_forced_and_the_rest_is_free():
    space, batch = letters([1, 0], [1])
    known = Partial(batch, {"x": torch.ones(2, 2, dtype=torch.bool)})
    assert known_tokens(space, full_ordering(space), known, None, 2).tolist() == [
        [1, 0, FREE, FREE],
        [1, FREE, FREE, FREE],
    ]


def test_sizes_force_the_end_and_forbid_it_before():
    space, _ = letters([1])
    forced = known_tokens(space, full_ordering(space), None, {"n": torch.tensor([2, 4])}, 2)
    assert forced.tolist() == [[NOT_END, NOT_END, 2, NOT_END], [NOT_END] * 4]


def test_a_known_part_behind_a_gap_is_refused():
    space, batch = letters([1, 0, 1])
    known = Partial(batch, {"x": torch.tensor([[True, False, True]])})
    with pytest.raises(ValueError, match="behind a gap"):
        known_tokens(space, full_ordering(space), known, None, 1)


def test_a_known_part_larger_than_the_size_is_refused():
    space, batch = letters([1, 0, 1])
    known = Partial(batch, {"x": field_mask(space, batch, "x")})
    with pytest.raises(ValueError, match="larger than the size"):
        known_tokens(space, full_ordering(space), known, {"n": torch.tensor([2])}, 1)


@pytest.mark.parametrize(
    ("axis", "size", "message"), [("n", 5, "between 1 and 4"), ("n", 0, "between"), ("m", 2, "'m'")]
)
def test_sizes_outside_the_space_are_refused(axis, size, message):
    space, _ = letters([1])
    with pytest.raises(ValueError, match=message):
        known_tokens(space, full_ordering(space), None, {axis: torch.tensor([size])}, 1)


def test_samples_separate_again_in_the_generation_order():
    space, batch = letters([1, 0, 1], [0])
    made = batch_to_tokens(space, batch)
    again = separate(space, batch_from_tokens(space, made.ordering, torch.where(made.mask, made.ids, -1)))
    assert [sample["x"].tolist() for sample in again] == [[1, 0, 1], [0]]


@pytest.mark.parametrize("name", SPACES)
def test_an_ordering_cut_from_a_longer_one_is_that_of_its_lengths(name):
    """Written out anew, not cut: the order of `space.order` with the channels of each element."""
    space = SPACES[name]
    found = axes(space)
    for shortest in range(3):
        lengths = {n: min(a.maximum, a.minimum + shortest) if a.variable else a.maximum for n, a in found.items()}
        made = make_ordering(space, lengths)
        steps = [step for step in order(space, lengths) for _ in range(prod(space[step.field].channels_shape))]
        assert [(s.field, s.index[: len(space[s.field].axes)]) for s in made.slices] == [s[:2] for s in steps]
        for field, numbers in made.steps.items():
            own = [(t, step) for t, step in enumerate(made.slices) if step.field == field]
            assert numbers.tolist() == [t for t, _ in own]
            for place, index in enumerate(made.indices[field]):
                assert index.tolist() == [step.index[place] for _, step in own]
            assert len(made.may_end[field]) == len(own)
