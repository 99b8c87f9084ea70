"""The autoregressive walk: a batch as choices, and back."""

import pytest
import torch
from toys import CATEGORICAL_TOYS, every_item, samples_of

from molgen.batch import Partial, collate, field_mask, separate
from molgen.space import Axis, Categorical
from molgen.walk import FREE, GOES_ON, choices, ending_fields, from_choices, full_walk, known_choices

EMPTY_ALLOWED = {"x": Categorical((Axis("n", 2, minimum=0),), classes=2)}
DIRECTED = {"label": Categorical(classes=2), "x": Categorical((Axis("n", 2),) * 2, classes=2)}
PAIRS_FIRST = {
    "bonds": Categorical((Axis("n", 3),) * 2, classes=2, symmetric=True),
    "atoms": Categorical((Axis("n", 3),), classes=2),
}


def same(batch, other):
    assert {name: t.tolist() for name, t in batch.sizes.items()} == {n: t.tolist() for n, t in other.sizes.items()}
    for name, tensor in batch.fields.items():
        assert torch.equal(tensor, other.fields[name])


@pytest.mark.parametrize("toy", CATEGORICAL_TOYS)
def test_choices_lead_back_to_the_batch(toy):
    space = toy().space
    batch = collate(space, samples_of(toy, every_item(toy)))
    made = choices(space, batch)
    same(from_choices(space, made.walk, torch.where(made.mask, made.ids, -1)), batch)


@pytest.mark.parametrize("space", [EMPTY_ALLOWED, DIRECTED, PAIRS_FIRST], ids=["empty", "directed", "pairs first"])
def test_choices_lead_back_for_unusual_spaces(space):
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
    made = choices(space, batch)
    same(from_choices(space, made.walk, torch.where(made.mask, made.ids, -1)), batch)


def test_a_sample_ends_by_a_choice_below_the_maximum_and_without_one_at_it():
    space = EMPTY_ALLOWED
    batch = collate(space, [{"x": torch.zeros(size, dtype=torch.long).numpy()} for size in (0, 1, 2)])
    made = choices(space, batch)
    end = space["x"].classes
    assert made.ids.tolist() == [[end, 0], [0, end], [0, 0]]
    assert made.mask.tolist() == [[True, False], [True, True], [True, True]]


def test_end_may_not_come_below_the_minimum():
    space = {"x": Categorical((Axis("n", 4, minimum=2),))}
    assert full_walk(space).may_end["x"].tolist() == [False, False, True, True]


def test_end_is_a_choice_of_every_field_that_can_come_first_at_an_index():
    assert ending_fields(PAIRS_FIRST) == {"atoms", "bonds"}


def test_two_groups_of_variable_size_are_refused():
    with pytest.raises(ValueError, match="one variable leading axis"):
        full_walk({"a": Categorical((Axis("n", 2),)), "b": Categorical((Axis("m", 2),))})


def letters(*words):
    space = {"x": Categorical((Axis("n", 4),), classes=2)}
    return space, collate(space, [{"x": torch.tensor(word).numpy()} for word in words])


def test_what_is_known_is_forced_and_the_rest_is_free():
    space, batch = letters([1, 0], [1])
    known = Partial(batch, {"x": torch.ones(2, 2, dtype=torch.bool)})
    assert known_choices(space, full_walk(space), known, None, 2).tolist() == [
        [1, 0, FREE, FREE],
        [1, FREE, FREE, FREE],
    ]


def test_sizes_force_the_end_and_forbid_it_before():
    space, _ = letters([1])
    forced = known_choices(space, full_walk(space), None, {"n": torch.tensor([2, 4])}, 2)
    assert forced.tolist() == [[GOES_ON, GOES_ON, 2, GOES_ON], [GOES_ON] * 4]


def test_a_known_part_behind_a_gap_is_refused():
    space, batch = letters([1, 0, 1])
    known = Partial(batch, {"x": torch.tensor([[True, False, True]])})
    with pytest.raises(ValueError, match="behind a gap"):
        known_choices(space, full_walk(space), known, None, 1)


def test_a_known_part_larger_than_the_size_is_refused():
    space, batch = letters([1, 0, 1])
    known = Partial(batch, {"x": field_mask(space, batch, "x")})
    with pytest.raises(ValueError, match="larger than the size"):
        known_choices(space, full_walk(space), known, {"n": torch.tensor([2])}, 1)


@pytest.mark.parametrize(
    ("axis", "size", "message"), [("n", 5, "between 1 and 4"), ("n", 0, "between"), ("m", 2, "'m'")]
)
def test_sizes_outside_the_space_are_refused(axis, size, message):
    space, _ = letters([1])
    with pytest.raises(ValueError, match=message):
        known_choices(space, full_walk(space), None, {axis: torch.tensor([size])}, 1)


def test_samples_separate_again_after_the_walk():
    space, batch = letters([1, 0, 1], [0])
    made = choices(space, batch)
    again = separate(space, from_choices(space, made.walk, torch.where(made.mask, made.ids, -1)))
    assert [sample["x"].tolist() for sample in again] == [[1, 0, 1], [0]]
