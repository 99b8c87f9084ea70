"""What a diffusion draws: seeds, sizes, options, known parts and conditions."""

import pytest
import torch
from support.diffusions import (
    CONDITION,
    LEVELS,
    SPACES,
    a_batch,
    a_family,
    asked,
    cases,
    every_case,
    every_space,
    every_toy,
    rng_of,
)
from support.toys import Choices, Points, Tokens, samples_of

from molgen.batch import Partial, collate, pack
from molgen.families.diffusion import DiffusionConfig, Sampling
from molgen.family import Known
from molgen.seeding import Rng
from molgen.space import Categorical, variable_axes
from molgen.testing.batches import require_kept, require_same_batch, scattered
from molgen.testing.containment import require_batch


@every_case
@pytest.mark.parametrize("options", [{}, {"steps": 1}, {"steps": 2, "churn": 0.7, "temperature": 0.5}], ids=str)
def test_samples_lie_in_the_space(space, config, options):
    drawn = a_family(space, config).sample(9, rng=Rng(0, range(9)), **options)
    require_batch(space, drawn.batch)
    assert drawn.log_density is None
    assert not any(tensor.is_inference() for tensor in drawn.batch.fields.values())


@every_case
@pytest.mark.parametrize("options", [{}, {"steps": 3, "churn": 1.0}, {"order": "confidence"}], ids=str)
def test_a_seed_gives_the_same_samples_in_batches_of_any_size(space, config, options):
    family = a_family(space, config)
    whole = family.sample(12, rng=Rng(5, range(12)), **options).batch
    for rows in (torch.arange(4), torch.arange(11, 3, -1)):
        part = family.sample(len(rows), rng=Rng(5, rows.tolist()), **options).batch
        require_same_batch(space, whole.take(rows), part, "in other batches", 1e-6)


@every_toy
@pytest.mark.parametrize("order", ["random", "confidence"])
def test_masks_are_opened_one_at_a_time_whatever_the_largest_sample_is(space, order):
    classes = {name: field for name, field in space.items() if isinstance(field, Categorical)}
    family = a_family(classes, DiffusionConfig())
    whole = family.sample(30, rng=Rng(1, range(30)), order=order).batch
    calls = []
    family.denoiser.backbone.register_forward_hook(lambda module, inputs, outputs: calls.append(len(inputs[0])))
    for rows in torch.arange(30).split(7):
        part = family.sample(len(rows), rng=Rng(1, rows.tolist()), order=order).batch
        require_same_batch(classes, whole.take(rows), part, "alone")
    # As many rows are read as there are elements: none is read when nothing of it changes.
    assert sum(calls) == sum(int(packed.mask.sum()) for packed in pack(classes, whole).values())


@every_space
def test_sizes_that_are_asked_for_come_out(space):
    batch = a_batch(space)
    drawn = a_family(space).sample(len(batch), rng=rng_of(batch), sizes=dict(batch.sizes) or None).batch
    assert all(torch.equal(drawn.sizes[name], size) for name, size in batch.sizes.items())


def test_a_size_outside_the_space_is_refused():
    with pytest.raises(ValueError, match="length from 1 to 3"):
        a_family(Tokens().space).sample(1, sizes={"length": torch.tensor([4])})


def test_cold_samples_are_the_likeliest_and_numbers_do_not_mind():
    family = a_family(Choices().space)
    drawn = family.sample(40, rng=Rng(0, range(40)), steps=1, temperature=1e-6).batch
    assert all(len(tensor.unique()) == 1 for tensor in drawn.fields.values())
    numbers = a_family(LEVELS)
    pair = [numbers.sample(4, rng=Rng(0, range(4)), temperature=t).batch for t in (1.0, 0.1)]
    require_same_batch(LEVELS, *pair, "at other temperatures")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heat": 2}, "no option heat; known: steps, guidance, churn, temperature, solver, order"),
        ({"steps": -1}, "steps must be"),
        ({"temperature": 0}, "temperature must be above 0"),
        ({"churn": -1}, "churn must be"),
        ({"guidance": float("nan")}, "guidance must be finite"),
        ({"solver": "euler"}, "solver must be one of heun, exponential"),
        ({"order": "last"}, "order must be one of random, confidence"),
    ],
)
def test_options_without_meaning_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        a_family(Choices().space).sample(1, **options)


@pytest.mark.parametrize("usual", [{"steps": 1}, {"order": "confidence"}], ids=str)
def test_what_the_configuration_asks_of_sampling_is_done_unless_an_option_asks_otherwise(usual):
    space = Tokens().space
    plain, set_up = (a_family(space, DiffusionConfig(**own)) for own in ({}, usual))

    def draw(family, **options):
        return family.sample(30, rng=Rng(0, range(30)), **options).batch

    require_same_batch(space, draw(plain, **usual), draw(set_up), "of the configuration")
    require_same_batch(space, draw(plain), draw(set_up, **{name: getattr(Sampling(), name) for name in usual}), "asked")
    assert not torch.equal(draw(plain).fields["letters"], draw(set_up).fields["letters"])


@every_case
@pytest.mark.parametrize("options", [{}, {"steps": 2, "churn": 1.0}, {"order": "confidence"}], ids=str)
def test_known_elements_are_kept_exactly(space, config, options):
    family, batch = a_family(space, config, dtype=torch.float32), a_batch(space)
    assert family.capability.known is Known.REPLACEMENT
    known = Partial(batch, scattered(space, batch))
    for sizes in (None, dict(batch.sizes)):
        drawn = family.sample(len(batch), rng=rng_of(batch), known=known, sizes=sizes, **options).batch
        require_batch(space, drawn)
        require_kept(space, known, drawn)
        for name, given in known.given.items():
            if getattr(space[name], "centred", False):
                continue
            inside = tuple(map(slice, given.shape[1:]))
            found = drawn.fields[name][(slice(None), *inside)]
            cut = tuple(map(slice, found.shape[1 : given.ndim]))
            mask = given[(slice(None), *cut)]
            assert torch.equal(found[mask], batch.fields[name][(slice(None), *cut)][mask])


def test_known_points_of_a_centred_field_are_kept_about_their_mean_and_the_centre_too():
    space, family = Points().space, a_family(Points().space)
    batch = collate(space, samples_of(Points)[1:2]).take(torch.zeros(6, dtype=torch.long))
    wanted = batch.fields["places"].double()
    for kept, size in (([True, True], 4), ([False, True], 3), ([True, True], 2)):
        mask = torch.tensor(kept).expand(6, -1)
        known, sizes = Partial(batch, {"places": mask}), {"atom": torch.full((6,), size)}
        drawn = family.sample(6, rng=Rng(0, range(6)), known=known, sizes=sizes).batch.fields["places"]
        shift = (drawn[:, :2] - wanted)[mask].view(6, -1, drawn.shape[-1])
        torch.testing.assert_close(shift, shift[:, :1].expand_as(shift))
        assert drawn.mean(1).abs().max() < 1e-6
        if size > 2:
            assert drawn[:, 2:].std() > 0.1
            # The fragment as a whole is where the others leave it.
            assert shift.std() > 0.1


def test_a_known_part_that_is_larger_than_the_size_is_refused():
    space = Tokens().space
    batch = collate(space, samples_of(Tokens, ["abc"]))
    known = Partial(batch, {"letters": torch.ones(1, 3, dtype=torch.bool)})
    with pytest.raises(ValueError, match="length from 1 to 3"):
        a_family(space).sample(1, known=known, sizes={"length": torch.tensor([2])})


@cases({name: SPACES[name] for name in ("Tokens", "Points", "Levels")})
def test_guidance_of_one_is_the_condition_and_of_zero_is_none(space, config):
    family, rng = a_family(space, config, condition=CONDITION), Rng(0, range(8))
    sizes = {name: torch.full((8,), axis.maximum) for name, axis in variable_axes(space).items()} or None

    def draw(condition, **options):
        return family.sample(8, condition=condition, rng=rng, sizes=sizes, **options).batch

    without, given = draw(None), draw(asked(8))
    require_same_batch(space, draw(asked(8), guidance=0), without, "guidance 0")
    require_same_batch(space, draw(asked(8), guidance=1), given, "guidance 1")
    require_same_batch(space, draw(asked(8, given=False)), without, "nothing given")
    require_batch(space, draw(asked(8), guidance=3.0))
    # Predictions lie on one line.
    elements = family._elements(without)
    x = {
        name: own.corrupt(x0, rng.uniform("t"), torch.rand(x0.shape).double())
        for (name, own), x0 in zip(family.denoiser.each(), family._states(elements, without).values(), strict=True)
    }
    predictions = [family.denoiser(x, rng.uniform("t"), elements, asked(8), w) for w in (0, 1, 3)]
    for name, field in space.items():
        low, middle, high = (one[name] for one in predictions)
        expected = low + 3 * (middle - low)
        torch.testing.assert_close(high, expected.log_softmax(-1) if isinstance(field, Categorical) else expected)
        assert not torch.allclose(low, middle)


def test_the_size_follows_the_condition_and_is_learned():
    family = a_family(Tokens().space, condition=CONDITION)
    batch = a_batch(Tokens().space)
    loss = family.loss(batch, asked(len(batch)), rng_of(batch))
    loss.parts["size"].sum().backward()
    assert all(layer.weight.grad.abs().sum() > 0 for layer in family.sizes.tilt.values())
