"""p(element | parameters): a distribution over what a field can hold, and draws, modes and sums that agree with it."""

import math

import pytest
import torch
from torch import distributions

from molgen.batch import Batch, collate, levels_to_values, mask, pack_field, values_to_levels
from molgen.data.statistics import measure
from molgen.errors import UnsupportedSpace
from molgen.families.parts.likelihood import LogisticMixture, likelihood
from molgen.space import Axis, Categorical, Field, Real

ROW, COLUMN, NODE = Axis("row", 3), Axis("column", 2, variable=False), Axis("node", 4, ordered=False)
CLASSES = {
    "classes": Categorical((ROW,), classes=5),
    "two classes": Categorical((ROW,), classes=2),
    "one class": Categorical((ROW,), classes=1),
    "bonds": Categorical((NODE, NODE), classes=3, symmetric=True),
    "a class": Categorical(classes=4),
}
LEVELS = {
    "two levels": Real((ROW, COLUMN), channels=(1,), levels=2),
    "three levels": Real((ROW,), levels=3),
    "bytes": Real((ROW, COLUMN), channels=(3,), levels=256),
    "a level": Real(levels=8),
}
NUMBERS = {
    "number": Real(),
    "channels": Real((ROW,), channels=(2,)),
    "centred": Real((NODE,), channels=(3,), centred=True),
    "vectors": Real((NODE,), channels=(3,), rotates=True),
    "places": Real((NODE,), channels=(3,), centred=True, rotates=True),
}
EVERY = CLASSES | LEVELS | NUMBERS


def over(fields):
    return pytest.mark.parametrize("field", fields.values(), ids=fields.keys())


def outputs_for(field, rows=3, shape=None, spread=2.0, seed=0):
    """Random outputs of a head in double precision, and which places of the field exist."""
    torch.manual_seed(seed)
    shape = [axis.maximum for axis in field.axes] if shape is None else shape
    sizes = {axis.name: torch.arange(rows) % shape[0] + 1 for axis in field.axes if axis.variable}
    part = likelihood(field, components=3).double()
    outputs = spread * torch.randn(rows, *shape, part.width, dtype=torch.float64)
    return part, outputs, mask(field, sizes, shape, rows)


def parameters_for(field, **options):
    part, outputs, exists = outputs_for(field, **options)
    return part, part.arrange(outputs, exists)


def support(field):
    """All elements that a field of classes or levels can hold."""
    if isinstance(field, Categorical):
        return torch.arange(field.classes)
    return levels_to_values(field, torch.arange(field.levels)).double()


def masses(part, field, parameters):
    """The probability of each possible element, (elements, B, E)."""
    return torch.stack([part.log_density(parameters, x.expand(parameters.shape[:2])).exp() for x in support(field)])


# --- distributions --------------------------------------------------------------------------------


@over(CLASSES | LEVELS)
@pytest.mark.parametrize("spread", [0.0, 2.0, 40.0])
def test_the_masses_of_all_elements_sum_to_one(field, spread):
    part, parameters = parameters_for(field, spread=spread)
    total = masses(part, field, parameters).sum(0)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-10)


@over(CLASSES)
def test_classes_are_as_torch_has_them(field):
    part, parameters = parameters_for(field)
    if parameters.shape[-1] == 1 and field.classes == 2:
        expected = distributions.Bernoulli(logits=parameters.squeeze(-1))
    else:
        expected = distributions.Categorical(logits=parameters)
    for element in support(field):
        values = element.expand(parameters.shape[:2])
        torch.testing.assert_close(part.log_density(parameters, values), expected.log_prob(values.double()))


def test_two_levels_are_a_bernoulli_variable():
    field = LEVELS["two levels"]
    part, parameters = parameters_for(field)
    expected = distributions.Bernoulli(logits=parameters.squeeze(-1))
    for level, value in enumerate(support(field)):
        found = part.log_density(parameters, value.expand(parameters.shape[:2]))
        torch.testing.assert_close(found, expected.log_prob(torch.full_like(found, level)))


@pytest.mark.parametrize("levels", [3, 16, 256])
def test_levels_are_the_cells_of_a_mixture_of_logistic_distributions(levels):
    field = Real((ROW,), levels=levels)
    part, parameters = parameters_for(field, spread=1.0)
    weights, means, log_scales = part._components(parameters)
    uniform = distributions.Uniform(torch.zeros_like(means), torch.ones_like(means))
    shift = distributions.AffineTransform(means, log_scales.exp())
    logistic = distributions.TransformedDistribution(uniform, [distributions.SigmoidTransform().inv, shift])

    def below(edge):
        return (weights.softmax(-1) * logistic.cdf(torch.full_like(means, edge))).sum(-1)

    for level, value in enumerate(support(field).tolist()):
        upper = below(value + 1 / levels) if level < levels - 1 else 1.0
        lower = below(value - 1 / levels) if level else 0.0
        found = part.log_density(parameters, torch.full(parameters.shape[:2], value, dtype=torch.float64))
        torch.testing.assert_close(found.exp(), upper - lower, rtol=1e-6, atol=1e-9)


def test_a_cell_far_from_every_component_has_a_finite_density_and_gradient():
    field = Real((ROW,), levels=256)
    part = LogisticMixture(field, 2)
    parameters = torch.zeros(1, 3, 6, dtype=torch.float32)
    parameters[..., 2:4], parameters[..., 4:] = 50.0, -20.0
    parameters.requires_grad_()
    found = part.log_density(parameters, torch.tensor([[-255 / 256, 1 / 256, 255 / 256]]))
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(parameters.grad).all()
    assert found[0, 0] < -1e4
    assert found[0, 2].item() == pytest.approx(0, abs=1e-6)


@over({name: field for name, field in NUMBERS.items() if not (field.centred or field.rotates)})
def test_numbers_are_normal_with_scales_of_their_own(field):
    part, parameters = parameters_for(field)
    scale = 1e-3 + torch.nn.functional.softplus(parameters[..., 1])
    values = torch.randn(parameters.shape[:2], dtype=torch.float64)
    expected = distributions.Normal(parameters[..., 0], scale).log_prob(values)
    torch.testing.assert_close(part.log_density(parameters, values), expected)


@over({name: field for name, field in NUMBERS.items() if field.centred or field.rotates})
def test_vectors_are_normal_with_one_scale_in_an_orthonormal_basis(field):
    part, outputs, exists = outputs_for(field)
    part.raw_scale.data.fill_(0.3)
    vectors = torch.randn(3, 4, 3, dtype=torch.float64)
    values = pack_field(field, vectors, exists)
    means = pack_field(field, outputs.view_as(vectors), exists).values
    expected = distributions.Normal(means, part.scale).log_prob(values.values)
    torch.testing.assert_close(part.log_density(part.arrange(outputs, exists), values.values), expected)


def test_turning_and_moving_everything_changes_no_density_of_places():
    field = NUMBERS["places"]
    part, outputs, exists = outputs_for(field)
    vectors = torch.randn(3, 4, 3, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q

    def total(mean, place):
        packed = pack_field(field, place, exists)
        found = part.log_density(part.arrange(mean, exists), packed.values)
        return torch.where(packed.mask, found, 0.0).sum(1)

    expected = total(outputs, vectors)
    torch.testing.assert_close(total(outputs @ turn, vectors @ turn), expected)
    torch.testing.assert_close(total(outputs + 5.0, vectors), expected)


@over(EVERY)
def test_free_elements_alone_have_parameters(field):
    part, outputs, exists = outputs_for(field)
    elements = torch.zeros(3, *exists.shape[1:], *field.channels_shape, dtype=torch.float64)
    values = elements.long() if isinstance(field, Categorical) else elements
    packed = pack_field(field, values, exists)
    found = part.log_density(part.arrange(outputs, exists), packed.values)
    assert found.shape == packed.values.shape
    assert torch.isfinite(found).all()


def test_a_pair_counts_once():
    part, outputs, exists = outputs_for(EVERY["bonds"])
    arranged = part.arrange(outputs, exists)
    assert arranged.shape == (3, 6, 3)
    torch.testing.assert_close(arranged[2, 0], outputs[2, 1, 0])


# --- draws ----------------------------------------------------------------------------------------


@over(CLASSES | LEVELS)
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_are_as_frequent_as_their_masses(field, temperature):
    """With evenly spread numbers for uniform ones the frequencies are the masses up to one part in their count."""
    part, parameters = parameters_for(field, spread=1.0)
    parameters, count = parameters[:1, :1].expand(1, 4000, -1), 4000
    even = (torch.arange(count, dtype=torch.float64) + 0.5)[None] / count
    drawn = part.sample(parameters, even, temperature)
    assert drawn.dtype == (torch.int64 if isinstance(field, Categorical) else torch.get_default_dtype())
    sharpened = _sharpened(part, parameters[:, :1], temperature)
    expected = masses(part, field, sharpened)[:, 0, 0]
    frequencies = torch.stack([(drawn == x.to(drawn.dtype)).double().mean() for x in support(field)])
    # A mixture is drawn component by component, so its elements may gain or lose one number for each.
    torch.testing.assert_close(frequencies, expected, rtol=0, atol=4 / count)


def _sharpened(part, parameters, temperature):
    if not isinstance(part, LogisticMixture):
        return parameters / temperature
    weights, means, log_scales = part._components(parameters)
    raw = torch.log(torch.expm1(log_scales + math.log(temperature) + 7.0)) - 7.0
    return torch.cat([weights / temperature, means, raw], -1)


@over(NUMBERS)
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_of_numbers_are_quantiles(field, temperature):
    part, parameters = parameters_for(field)
    parameters = parameters[:1, :1].expand(1, 5, -1)
    mode, scale = part.estimate(parameters), part.scale if hasattr(part, "scale") else part._moments(parameters)[1]
    levels = torch.tensor([[0.01, 0.2, 0.5, 0.8, 0.99]], dtype=torch.float64)
    expected = distributions.Normal(mode, temperature * scale).icdf(levels)
    torch.testing.assert_close(part.sample(parameters, levels, temperature), expected)


@over(CLASSES | LEVELS)
def test_the_estimate_is_the_likeliest_class_and_the_level_nearest_to_the_mean(field):
    part, parameters = parameters_for(field, spread=1.0)
    mass = masses(part, field, parameters)
    found = part.estimate(parameters)
    if getattr(field, "levels", None):
        means = torch.einsum("kbe,k->be", mass, torch.arange(float(field.levels), dtype=torch.float64))
        assert (values_to_levels(field, found) - means).abs().max() <= 0.5 + 1e-9
        return
    best = support(field)[mass.argmax(0)]
    torch.testing.assert_close(found.to(best.dtype), best)


# --- the start ------------------------------------------------------------------------------------


@over(CLASSES | LEVELS)
def test_the_first_outputs_give_the_frequencies_of_the_data(field):
    torch.manual_seed(0)
    places = [axis.maximum for axis in field.axes]
    space = {"x": field}
    sizes = {axis.name: torch.full((400,), axis.maximum) for axis in field.axes if axis.variable}
    chosen = torch.randint(len(support(field)), (400, *places, *field.channels_shape)) // 2
    values = support(field)[chosen]
    if isinstance(field, Categorical) and field.symmetric:
        values = values.tril(-1) + values.tril(-1).transpose(1, 2)
    statistics = measure(space, [Batch({"x": values}, sizes)])
    part = likelihood(field, components=5)
    exists = torch.ones(1, *places, dtype=torch.bool)
    bias = part.bias("x", statistics)
    assert bias.shape == (part.width,)
    parameters = part.arrange(bias.double().expand(1, *places, -1), exists)
    packed = pack_field(field, values, torch.ones(400, *places, dtype=torch.bool)).values
    found = -part.log_density(parameters[:, :1].expand(*packed.shape, -1), packed).mean().item()
    frequencies = torch.stack([(packed == x).double().mean() for x in support(field)])
    entropy = -torch.special.xlogy(frequencies, frequencies).sum().item()
    # Frequencies of classes are met exactly; a mixture of five must only be near them.
    assert entropy - 1e-6 <= found < entropy + (0.35 if isinstance(part, LogisticMixture) else 0.01)


def test_standardised_numbers_start_as_standard_normal():
    part = likelihood(Real((ROW,), channels=(2,)))
    parameters = part.arrange(part.bias("x", measure({}, [])).expand(1, 3, -1), torch.ones(1, 3, dtype=torch.bool))
    expected = distributions.Normal(0, 1).log_prob(torch.tensor(0.7)).expand(1, 6)
    torch.testing.assert_close(part.log_density(parameters, torch.full((1, 6), 0.7)), expected)


def test_a_kind_of_field_without_a_likelihood_is_named():
    with pytest.raises(UnsupportedSpace, match="kind Field"):
        likelihood(Field())


def test_collated_levels_are_in_the_middle_of_their_cells():
    """What an encoder stores is what the likelihood scores."""
    field = Real((ROW,), levels=4)
    batch = collate({"x": field}, [{"x": torch.tensor([0, 3, 1]).numpy()}])
    torch.testing.assert_close(batch.fields["x"].double(), support(field)[torch.tensor([[0, 3, 1]])])
