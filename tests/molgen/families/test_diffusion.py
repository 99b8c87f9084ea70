"""The diffusion family over spaces of every kind: losses, samples, known parts, guidance, densities."""

import pytest
import torch
from support.denoisers import AnyKind
from support.toys import Choices, Graph, Grid, Points, Record, Tokens, every_item, samples_of

from molgen.backbone import make_build
from molgen.batch import Batch, Partial, collate, field_mask, levels_to_values, pack
from molgen.data.standardise import standardise
from molgen.data.statistics import measure
from molgen.errors import UnsupportedSpace
from molgen.families.diffusion import Diffusion, DiffusionConfig, Sampling
from molgen.family import Density, Known
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Real, axes, variable_axes
from molgen.testing.batches import padded, require_kept, require_same_batch, scattered
from molgen.testing.containment import require_batch

CONDITION = {"height": Real(), "kind": Categorical(classes=2)}
LEVELS = {"pixels": Real((Axis("row", 2, variable=False), Axis("column", 3, variable=False)), (1,), levels=4)}
TOYS = {toy.__name__: toy().space for toy in (Tokens, Grid, Graph, Points, Record)}
SPACES = TOYS | {
    "Levels": LEVELS,
    "Choices": Choices().space,
    "Directed": {
        "arc": Categorical((Axis("node", 3, ordered=False),) * 2, classes=2),
        "wind": Real((Axis("node", 3, ordered=False), Axis("leg", 4, minimum=2))),
    },
}
SMALL = {"steps": 4, "samples": 4}
MASKING, RESAMPLING = DiffusionConfig(**SMALL), DiffusionConfig(categorical="marginal", **SMALL)

QUANTISED = DiffusionConfig(real="quantised", **SMALL)


def cases(spaces):
    """Every space with masks, those that have classes with resampling too, and levels as classes."""
    found = {name: (space, MASKING) for name, space in spaces.items()}
    found |= {f"{name}, quantised": (space, QUANTISED) for name, space in spaces.items() if space is LEVELS}
    for name, space in spaces.items():
        if any(isinstance(field, Categorical) for field in space.values()):
            found[f"{name}, resampling"] = (space, RESAMPLING)
    return pytest.mark.parametrize(("space", "config"), found.values(), ids=found.keys())


every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
every_toy = pytest.mark.parametrize("space", TOYS.values(), ids=TOYS.keys())
every_case, every_toy_case = cases(SPACES), cases(TOYS)


def a_batch(space, rows=5):
    """Samples of a space by a seed, as families are given them."""
    for toy in (Tokens, Grid, Graph, Points, Record, Choices):
        if toy().space == space:
            batch = collate(space, (samples_of(toy) * 5)[:rows])
            return standardise(space, measure(space, [batch]), batch)
    generator = torch.Generator().manual_seed(0)
    sizes = {
        name: torch.arange(rows) % (axis.maximum - axis.minimum + 1) + axis.minimum
        for name, axis in variable_axes(space).items()
    }
    longest = {name: int(sizes[name].max()) if name in sizes else axis.maximum for name, axis in axes(space).items()}
    batch = Batch({name: _random(field, longest, rows, generator) for name, field in space.items()}, sizes)
    masks = {name: field_mask(space, batch, name) for name in space}
    return batch.with_fields(
        {
            name: x * masks[name].reshape(*masks[name].shape, *(1 for _ in space[name].channels_shape))
            for name, x in batch.fields.items()
        }
    )


def _random(field, longest, rows, generator):
    shape = (rows, *(longest[axis.name] for axis in field.axes), *field.channels_shape)
    if isinstance(field, Categorical):
        return torch.randint(field.classes, shape, generator=generator)
    if field.levels:
        return levels_to_values(field, torch.randint(field.levels, shape, generator=generator))
    return torch.randn(shape, generator=generator)


def a_family(space, config=MASKING, *, condition=None, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    family = Diffusion(space, make_build(AnyKind, None, condition), config, condition)
    statistics = measure(space, [a_batch(space)])
    family.initialise(a_batch(space), statistics)
    family.set_statistics(statistics)
    with torch.no_grad():
        for parameter in family.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return family.to(dtype).eval()


def rng_of(batch, seed=0):
    return Rng(seed, range(len(batch)))


def asked(rows, height=1.5, kind=1, given=True):
    batch = Batch({"height": torch.full((rows,), height), "kind": torch.full((rows,), kind)}, {})
    return Partial(batch, {name: torch.full((rows,), given) for name in CONDITION})


# --- training -------------------------------------------------------------------------------------


@every_case
def test_the_loss_of_an_item_knows_nothing_of_its_batch(space, config):
    family, batch = a_family(space, config), a_batch(space)
    together = family.loss(batch, None, rng_of(batch)).total
    assert torch.isfinite(together).all()
    for rows in (torch.tensor([2]), torch.tensor([4, 0])):
        alone = family.loss(batch.take(rows), None, rng_of(batch).take(rows)).total
        torch.testing.assert_close(alone, together[rows])
    longer = family.loss(padded(space, batch), None, rng_of(batch)).total
    torch.testing.assert_close(longer, together)


@every_toy_case
def test_every_toy_is_learned(space, config):
    family = a_family(space, config, dtype=torch.float32).train()
    batch = a_batch(space).take(torch.arange(100) % 5)
    optimiser = torch.optim.Adam(family.parameters(), 1e-2)

    def loss(seed):
        parts = family.loss(batch, None, rng_of(batch, seed)).parts
        return torch.stack([part.mean() for name, part in parts.items() if name != "size"]).sum()

    before = sum(float(loss(1000 + seed).detach()) for seed in range(5))
    for step in range(40):
        optimiser.zero_grad()
        loss(step).backward()
        optimiser.step()
    assert sum(float(loss(1000 + seed).detach()) for seed in range(5)) < 0.9 * before


def test_the_loss_is_the_weighted_sum_of_its_parts_and_of_the_size():
    space, batch = Points().space, a_batch(Points().space)
    family = a_family(space, DiffusionConfig(weights={"places": 3.0}))
    loss = family.loss(batch, None, rng_of(batch))
    assert set(loss.parts) == {"types", "places", "size"}
    expected = loss.parts["types"] + 3 * loss.parts["places"] + loss.parts["size"]
    torch.testing.assert_close(loss.total, expected)
    torch.testing.assert_close(loss.parts["size"], -family.sizes.log_probability(batch.sizes))
    with pytest.raises(ValueError, match="weights name the fields bonds"):
        a_family(space, DiffusionConfig(weights={"bonds": 2.0}))


def test_the_loss_of_numbers_is_a_mean_over_elements():
    space = {"x": Real((Axis("n", 200, minimum=1),))}
    family, count = a_family(space, DiffusionConfig()), torch.tensor([3, 200])
    batch = Batch({"x": torch.randn(2, 200) * (torch.arange(200) < count[:, None])}, {"n": count})
    losses = [family.loss(batch, None, rng_of(batch, seed)).parts["x"].detach() for seed in range(200)]
    few, many = torch.stack(losses).mean(0)
    assert 0.5 < few / many < 2


def test_the_first_weights_give_the_frequencies_of_the_classes():
    space = Choices().space
    batch = collate(space, samples_of(Choices, [(0, 0)] * 60 + [(1, 1)] * 40))
    family = a_family(space)
    with torch.no_grad():
        for head in family.denoiser.backbone.heads.values():
            head.weight.zero_()
    family.initialise(batch, measure(space, [batch]))
    drawn = family.sample(2000, rng=Rng(0, range(2000))).batch.fields["colour"]
    assert float((drawn == 0).double().mean()) == pytest.approx(0.6, abs=0.04)
    assert (drawn == 2).double().mean() < 0.02


# --- samples --------------------------------------------------------------------------------------


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


# --- known parts ----------------------------------------------------------------------------------


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


# --- conditions -----------------------------------------------------------------------------------


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


# --- densities ------------------------------------------------------------------------------------


def test_the_bounds_of_all_samples_sum_to_one_at_most():
    space = Tokens().space
    batch = collate(space, samples_of(Tokens, every_item(Tokens)))
    rows = 60
    family, repeated = a_family(space), batch.take(torch.arange(len(batch)).repeat_interleave(rows))
    for steps in (0, 2):
        values = family.log_density(repeated, rng=rng_of(repeated), samples=16, steps=steps).value.view(-1, rows)
        mean, error = values.mean(1), values.std(1) / rows**0.5
        total, spread = mean.exp().sum(), ((mean.exp() * error) ** 2).sum().sqrt()
        assert total < 1 + 3 * spread
        assert total > 0.5


def test_the_size_is_charged_once():
    space = Tokens().space
    family, batch = a_family(space), a_batch(space)
    found = family.log_density(batch, rng=rng_of(batch), samples=2, steps=1).value
    with torch.no_grad():
        masked = {"letters": torch.full((5, 3), 3)}
        predictions = family.denoiser(masked, torch.ones(5).double(), family._elements(batch), None)["letters"]
    letters = predictions.gather(-1, batch.fields["letters"][..., None]).squeeze(-1)
    expected = (letters * field_mask(space, batch, "letters")).sum(1) + family.sizes.log_probability(batch.sizes)
    torch.testing.assert_close(found, expected.detach())


@every_case
def test_densities_are_bounds_that_know_nothing_of_their_batch(space, config):
    family, batch = a_family(space, config), a_batch(space)
    for options in ({}, {"steps": 3, "samples": 6}):
        density = family.log_density(batch, rng=rng_of(batch), **options)
        assert density.kind is Density.LOWER_BOUND
        assert torch.isfinite(density.value).all()
        rows = torch.tensor([3, 1])
        alone = family.log_density(batch.take(rows), rng=rng_of(batch).take(rows), **options)
        torch.testing.assert_close(alone.value, density.value[rows])
        torch.testing.assert_close(alone.standard_error, density.standard_error[rows])


def test_the_probability_flow_is_for_numbers_without_levels():
    batch = a_batch(Points().space)
    with pytest.raises(UnsupportedSpace, match="not for 'types'"):
        a_family(Points().space).log_density(batch, method="ode")
    with pytest.raises(UnsupportedSpace, match="not for 'pixels'"):
        a_family(LEVELS).log_density(a_batch(LEVELS), method="ode")
    space = {"places": Points().space["places"]}
    family = a_family(space)
    numbers = Batch({"places": batch.fields["places"]}, batch.sizes)
    density = family.log_density(numbers, method="ode", steps=8)
    assert density.kind is Density.EXACT
    assert density.dims.tolist() == [0, 3, 6, 0, 3]
    # Without elements all that is drawn is the size.
    torch.testing.assert_close(density.value[:1], family.sizes.log_probability(numbers.sizes)[:1])
    alone = family.log_density(numbers.take(torch.tensor([2])), method="ode", steps=8).value
    torch.testing.assert_close(alone, density.value[2:3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 2}, "no option temperature; known: method, samples, steps"),
        ({"samples": 3}, "samples must be an even number"),
        ({"method": "exact"}, "method must be one of bound, ode"),
    ],
)
def test_options_of_the_density_without_meaning_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        a_family(Choices().space).log_density(a_batch(Choices().space), **options)


def test_what_was_measured_travels_with_the_weights():
    family = a_family(LEVELS)
    other = Diffusion(LEVELS, make_build(AnyKind, None, None), MASKING).double()
    other.load_state_dict(family.state_dict())
    assert family.denoiser.of("pixels").scale != 1
    batch = a_batch(LEVELS)
    values = [one.log_density(batch, rng=rng_of(batch)).value for one in (family, other)]
    assert torch.equal(*values)
