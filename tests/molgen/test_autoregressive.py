"""The autoregressive family: an exact distribution over every space of classes and levels."""

import math

import numpy as np
import pytest
import torch
from support.orderings import (
    CONDITION,
    GRAMMARS,
    SPACES,
    Brackets,
    a_model,
    asked,
    chi_square_p,
    every_sample,
    exact_probabilities,
    keys,
    words,
)
from support.toys import Choices, Graph, Grid, Tokens, samples_of

from molgen.batch import Batch, Partial, collate, field_mask, levels_to_values, separate
from molgen.data.statistics import measure
from molgen.errors import UnsupportedSpace
from molgen.families.parts import token_model
from molgen.families.parts.sampling_options import SamplingOptions
from molgen.family import Density
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Real, variable_axes

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
PIXELS = {"pixels": Real((Axis("row", 2, variable=False), Axis("column", 2, variable=False)), channels=(1,), levels=3)}


# --- the density ----------------------------------------------------------------------------------


def test_a_size_below_the_minimum_has_no_probability():
    family = a_model(words(2, 4))
    batch = Batch({"x": torch.zeros(1, 1, dtype=torch.long)}, {"n": torch.tensor([1])})
    assert family.log_density(batch).value.item() == -math.inf


def test_the_density_is_exact_and_counts_free_elements():
    batch = collate(Graph().space, samples_of(Graph))
    density = a_model(Graph().space).log_density(batch)
    assert density.kind is Density.EXACT
    assert density.dims.tolist() == [1, 3, 6, 6]


@pytest.mark.parametrize("name", SPACES)
def test_the_loss_is_the_negative_log_density_before_a_grammar_rules_anything_out(name):
    family = a_model(SPACES[name])
    for batch in every_sample(SPACES[name]):
        loss = family.loss(batch, None, Rng(0, range(len(batch)))).total
        density = family.log_density(batch).value
        if name in GRAMMARS:
            assert (-loss <= density + 1e-12)[density > -math.inf].all()
        else:
            torch.testing.assert_close(-loss, density)


@pytest.mark.parametrize("space", GRAMMARS.values(), ids=GRAMMARS)
def test_what_a_grammar_rules_out_is_not_drawn(space):
    family = a_model(space)
    drawn = family.sample(500, rng=Rng(0, range(500))).batch
    longest = drawn.fields["x"].shape[1] == 4
    for sample in separate(space, drawn):
        depth = np.cumsum((sample["x"] == 1).astype(int) - (sample["x"] == 2))
        assert (depth >= 0).all()
        assert len(sample["x"]) in (0, 4) or depth[-1] == 0
    assert longest
    density = torch.cat([family.log_density(batch).value for batch in every_sample(space)])
    assert (density == -math.inf).any()
    assert density.exp().sum().item() == pytest.approx(1)


def test_a_grammar_needs_an_ordered_axis():
    for axes in ((), (Axis("n", 3, ordered=False),), (Axis("n", 3), Axis("m", 2, variable=False))):
        with pytest.raises(ValueError, match="ordered axis"):
            Categorical(axes, classes=3, grammar=Brackets(3))


def test_an_option_that_the_density_lacks_is_named():
    with pytest.raises(ValueError, match="temperature"):
        a_model(Tokens().space).log_density(collate(Tokens().space, samples_of(Tokens)), temperature=2)


# --- the network ----------------------------------------------------------------------------------


def test_the_first_weights_give_the_frequencies_of_the_classes():
    space = Choices().space
    batch = collate(space, samples_of(Choices, [(0, 0)] * 60 + [(1, 1)] * 40))
    family = a_model(space)
    with torch.no_grad():
        for head in family.backbone.heads.values():
            head.weight.zero_()
    family.initialise(batch, measure(space, [batch]))
    values = [family.log_density(collate(space, samples_of(Choices, [(colour, 0)]))).value for colour in range(2)]
    assert (values[0] - values[1]).item() == pytest.approx(math.log(60.5 / 40.5))


def test_the_first_weights_give_the_frequencies_of_the_levels():
    family = a_model(PIXELS)
    levels = torch.tensor([0] * 3 + [1] * 13)
    batch = Batch({"pixels": levels_to_values(PIXELS["pixels"], levels).view(4, 2, 2, 1)}, {})
    family.initialise(batch, measure(PIXELS, [batch]))
    p = torch.softmax(family.backbone.heads["pixels"].bias, -1)
    torch.testing.assert_close(p, torch.tensor([3.5, 13.5, 0.5], dtype=torch.float64) / 17.5)


def test_vectors_without_a_common_centre_are_refused_by_name():
    axis = Axis("atom", 4, ordered=False)
    with pytest.raises(UnsupportedSpace, match="'force' rotate or have a common centre"):
        a_model({"force": Real((axis,), channels=(3,), rotates=True)})


# --- sampling -------------------------------------------------------------------------------------


@every_space
def test_samples_come_with_their_exact_probabilities(space):
    family, count = a_model(space), 4000
    expected = exact_probabilities(family, space)
    found = keys(space, family.sample(count, rng=Rng(1, range(count))).batch)
    assert set(found) <= set(expected)
    assert chi_square_p(found, expected, count) > 1e-3


@every_space
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_seed_gives_the_same_samples_in_batches_of_any_size(space, dtype):
    family = a_model(space, dtype=dtype)
    whole = keys(space, family.sample(120, rng=Rng(5, range(120))).batch)
    parts = [family.sample(40, rng=Rng(5, range(k, k + 40))).batch for k in range(0, 120, 40)]
    assert [key for part in parts for key in keys(space, part)] == whole
    assert whole != keys(space, family.sample(120, rng=Rng(6, range(120))).batch)


@pytest.mark.parametrize("network", ["gru", "lstm", "transformer"])
def test_rows_are_computed_alike_in_batches_of_any_size(network):
    """To the last bit: a sample may not depend on how matrix products of few rows round."""
    space = words(0, 12)
    family = a_model(space, network, dtype=torch.float32)
    whole = family.sample(50, rng=Rng(3, range(50)))
    for start, size in [(0, 1), (7, 1), (20, 2), (30, 3), (13, 7), (0, 40)]:
        part = family.sample(size, rng=Rng(3, range(start, start + size)))
        assert keys(space, part.batch) == keys(space, whole.batch)[start : start + size]
        assert torch.equal(part.log_density.value, whole.log_density.value[start : start + size])
        again = family.log_density(part.batch).value
        assert torch.equal(again, family.log_density(whole.batch.take(slice(start, start + size))).value)
        torch.testing.assert_close(again, part.log_density.value, rtol=0, atol=1e-5)


def test_finished_rows_leave_the_batch_and_change_nothing(monkeypatch):
    space = words(0, 12)
    family = a_model(space)
    rows = []
    step = family.backbone.step
    monkeypatch.setattr(
        family.backbone, "step", lambda s, state, p: rows.append(state.hidden[0].shape[1]) or step(s, state, p)
    )
    shrinking = family.sample(100, rng=Rng(0, range(100)))
    assert rows[0] == 4 * token_model.ROW_MULTIPLE
    assert rows[-1] == token_model.ROW_MULTIPLE
    monkeypatch.setattr(token_model, "SHRINK_BELOW", 0)
    rows.clear()
    staying = family.sample(100, rng=Rng(0, range(100)))
    assert set(rows) == {4 * token_model.ROW_MULTIPLE}
    assert keys(space, shrinking.batch) == keys(space, staying.batch)
    torch.testing.assert_close(shrinking.log_density.value, staying.log_density.value, rtol=0, atol=1e-10)


def test_samples_follow_their_condition():
    family = a_model(Choices().space, condition=CONDITION)
    drawn = family.sample(50, condition=asked(50), rng=Rng(0, range(50)))
    expected = family.log_density(drawn.batch, asked(50)).value
    torch.testing.assert_close(drawn.log_density.value, expected, rtol=0, atol=1e-10)


def test_sampling_without_a_generator_follows_the_seed_of_torch():
    family = a_model(Tokens().space)
    torch.manual_seed(3)
    once = keys(family.space, family.sample(20).batch)
    torch.manual_seed(3)
    assert keys(family.space, family.sample(20).batch) == once


# --- sharpening -----------------------------------------------------------------------------------

HAND_MADE = torch.tensor([[0.5, 0.3, 0.15, 0.05]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.5, 0.3, 0.15, 0.05]),
        ({"temperature": 0.5}, [0.25, 0.09, 0.0225, 0.0025]),
        ({"temperature": 1e-300}, [1, 0, 0, 0]),
        ({"top_k": 1}, [1, 0, 0, 0]),
        ({"top_k": 2}, [0.5, 0.3, 0, 0]),
        ({"top_k": 9}, [0.5, 0.3, 0.15, 0.05]),
        ({"top_p": 0.5}, [1, 0, 0, 0]),
        ({"top_p": 0.6}, [0.5, 0.3, 0, 0]),
        ({"top_p": 0.81}, [0.5, 0.3, 0.15, 0]),
        ({"top_k": 3, "top_p": 0.6}, [0.5, 0.3, 0, 0]),
        ({"top_p": 1e-9}, [1, 0, 0, 0]),
    ],
)
def test_sharpening_keeps_the_likely_tokens(options, expected):
    p = SamplingOptions(**options).probabilities(HAND_MADE.log())[0]
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(p / p.sum(), expected / expected.sum())


def test_a_forbidden_choice_stays_forbidden_at_any_temperature():
    logits = torch.tensor([[0.0, 1.0, -torch.inf]])
    for temperature in (1e-9, 1.0, 1e9):
        assert SamplingOptions(temperature=temperature).probabilities(logits)[0, 2] == 0


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_k": -1},
        {"top_p": 0},
        {"top_p": 1.1},
    ],
)
def test_sharpening_without_meaning_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        a_model(Tokens().space).sample(2, **options)


def test_an_unknown_option_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no option heat; known: temperature, top_k, top_p"):
        a_model(Tokens().space).sample(2, heat=2)


def test_the_coldest_samples_are_all_the_same():
    family = a_model(Tokens().space)
    assert len(set(keys(family.space, family.sample(50, rng=Rng(0, range(50)), temperature=1e-6).batch))) == 1


def test_the_density_of_a_sharpened_sample_is_that_of_the_model():
    family = a_model(Tokens().space)
    drawn = family.sample(50, rng=Rng(0, range(50)), temperature=0.5, top_k=2)
    torch.testing.assert_close(drawn.log_density.value, family.log_density(drawn.batch).value, rtol=0, atol=1e-10)


# --- what is known and how large ------------------------------------------------------------------


@pytest.mark.parametrize(("toy", "prefix"), [(Tokens, "ba"), (Graph, ("xy", ((1, 0),))), (Tokens, "abc")])
def test_a_known_beginning_is_kept_and_the_rest_follows_the_model(toy, prefix):
    space, family, count = toy().space, a_model(toy().space), 2000
    part = collate(space, samples_of(toy, [prefix])).take(torch.zeros(count, dtype=torch.long))
    known = Partial(part, {name: field_mask(space, part, name) for name in space})
    drawn = family.sample(count, rng=Rng(0, range(count)), known=known)
    found = keys(space, drawn.batch)
    expected = {key: p for key, p in exact_probabilities(family, space).items() if key in set(found)}
    for sample in separate(space, drawn.batch):
        for name, array in samples_of(toy, [prefix])[0].items():
            assert (sample[name][tuple(slice(n) for n in array.shape)] == array).all()
    total = sum(expected.values())
    assert len(expected) == 1 or chi_square_p(found, {k: p / total for k, p in expected.items()}, count) > 1e-3


@pytest.mark.parametrize("network", ["gru", "transformer", "unet"])
def test_the_lower_half_of_a_picture_is_completed_as_the_model_says_under_its_condition(network):
    family, count = a_model(PIXELS, network, condition=CONDITION), 2000
    upper = torch.tensor([[[0], [2]], [[0], [0]]])
    part = Batch({"pixels": levels_to_values(PIXELS["pixels"], upper).expand(count, -1, -1, -1)}, {})
    given = torch.tensor([[True, True], [False, False]]).expand(count, -1, -1)
    drawn = family.sample(count, asked(count), Rng(0, range(count)), known=Partial(part, {"pixels": given}))
    found = keys(PIXELS, drawn.batch)
    expected = {key: p for key, p in exact_probabilities(family, PIXELS, asked).items() if "[[[0], [2]]," in key}
    total = sum(expected.values())
    assert len(expected) == 9
    assert chi_square_p(found, {key: p / total for key, p in expected.items()}, count) > 1e-3
    torch.testing.assert_close(
        drawn.log_density.value, family.log_density(drawn.batch, asked(count)).value, rtol=0, atol=1e-10
    )


def test_a_known_part_behind_a_gap_is_refused():
    space = Grid().space
    batch = collate(space, samples_of(Grid, ["000/111"]))
    known = Partial(batch, {"pixels": torch.tensor([[[False, True, True], [True, True, True]]])})
    with pytest.raises(ValueError, match="behind a gap"):
        a_model(space).sample(1, known=known)


@pytest.mark.parametrize("options", [{}, {"top_k": 1}, {"temperature": 1e-3}, {"top_p": 0.01}])
def test_sizes_that_are_asked_for_come_out_even_when_the_model_would_end(options):
    space = Graph().space
    family = a_model(space)
    with torch.no_grad():
        family.backbone.heads["atoms"].bias[-1] += 50
    sizes = torch.tensor([1, 2, 3] * 20)
    drawn = family.sample(60, rng=Rng(0, range(60)), sizes={"atom": sizes}, **options)
    assert torch.equal(drawn.batch.sizes["atom"], sizes)
    torch.testing.assert_close(drawn.log_density.value, family.log_density(drawn.batch).value, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "space", [Graph().space, words(0, 4), SPACES["growing picture"]], ids=["graph", "word", "picture"]
)
def test_sizes_are_those_of_a_condition_over_the_axis_of_the_sample(space):
    axis = next(iter(variable_axes(space).values()))
    field = Real((axis,))
    family, count = a_model(space, condition={"low": field, **CONDITION}), 40
    sizes = axis.minimum + torch.arange(count) % (axis.maximum - axis.minimum + 1)
    given = torch.arange(axis.maximum) < sizes[:, None]
    given[::4] = False  # of these rows nothing is known
    parts = asked(count)
    low = torch.linspace(-1, 1, axis.maximum, dtype=torch.float64).repeat(count, 1)
    batch = Batch({"low": low, **parts.batch.fields}, {axis.name: sizes})
    condition = Partial(batch, {"low": given, **parts.given})
    drawn = family.sample(count, condition, Rng(0, range(count)))
    known = given.any(1)
    assert torch.equal(drawn.batch.sizes[axis.name][known], sizes[known])
    assert not torch.equal(drawn.batch.sizes[axis.name][~known], sizes[~known])
    found = family.log_density(drawn.batch, condition).value
    torch.testing.assert_close(drawn.log_density.value, found, rtol=0, atol=1e-8)
    row = int(known.nonzero()[0])
    total = 0.0
    for every in every_sample(space):
        rows = torch.full((len(every),), row)
        density = family.log_density(every, condition.take(rows)).value.exp()
        total += float(density.sum())
        if int(every.sizes[axis.name][0]) != int(sizes[row]):
            assert not density.any()
    assert total == pytest.approx(1)
    loss = family.loss(drawn.batch, condition, Rng(0, range(count))).total
    torch.testing.assert_close(-loss, found)
    other = {axis.name: torch.where(sizes == axis.maximum, axis.minimum, sizes + 1)}
    with pytest.raises(ValueError, match="not those of the condition"):
        family.sample(count, condition, Rng(0, range(count)), sizes=other)


def test_a_size_outside_the_space_is_refused():
    with pytest.raises(ValueError, match="between 1 and 3"):
        a_model(Tokens().space).sample(1, sizes={"length": torch.tensor([4])})
