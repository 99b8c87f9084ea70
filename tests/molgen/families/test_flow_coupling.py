"""Flows of invertible layers: determinants, inverses, another library, symmetry, scales, bounds against sums."""

import math

import pytest
import torch
import zuko
from torch.distributions import AffineTransform

from molgen import registry
from molgen.backbone import default_backbone, make_build
from molgen.batch import Batch, Partial, separate
from molgen.errors import UnsupportedSpace
from molgen.families.flow import Flow, FlowConfig
from molgen.families.flow.dequantise import DEQUANTISATIONS, Dequantisation
from molgen.families.flow.halves import halves
from molgen.families.flow.scales import Squeeze
from molgen.families.flow.splines import Affine, Knots, Spline
from molgen.families.flow.tokens import Row
from molgen.families.parts.elements import ElementNoise, PackedElements
from molgen.family import Density
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Real
from molgen.testing import SPACES, Case, Skipped
from molgen.testing.batches import in_float64, moved, padded, shake
from molgen.testing.fixtures import FamilyTrial, tiny_config
from molgen.testing.random_samples import enumerate_space
from molgen.testing.suites import FAMILY_CHECKS

_NODE = Axis("node", 3, ordered=False)
LAYOUTS = {
    "record": {"height": Real(), "position": Real(channels=(3,))},
    "sequence": {"hours": Real((Axis("hour", 5, minimum=2),), channels=(2,))},
    "grid": {"pixels": Real((Axis("row", 3, variable=False), Axis("column", 4, variable=False)), channels=(1,))},
    "set": {"kind": Real((_NODE,), channels=(2,)), "weight": Real((_NODE,))},
    "graph": {"nodes": Real((_NODE,), channels=(2,)), "edges": Real((_NODE, _NODE), channels=(2,), symmetric=True)},
}


def a_flow(space, *, seed=0, **settings):
    """A small flow in float64 with weights away from the start, over samples of a space."""
    case = Case.of("a space", space)
    trial = FamilyTrial(Flow, FlowConfig(**{"rounds": 2, "bins": 4, **settings}), case)
    return trial.family(seed=seed).double(), in_float64(case.batch), Rng(0, range(len(case.batch)))


def a_build(space):
    backbone = registry.get("backbone", default_backbone(space, False).name)
    return make_build(backbone, tiny_config(backbone), None, space)


SMALL = {"width": 16, "layers": 1, "heads": 2}
FLOWS = {
    "affine": {"transform": "affine"},
    "spline": {"transform": "spline"},
    "affine row": {"variant": "autoregressive", "transform": "affine", **SMALL},
    "spline row": {"variant": "autoregressive", "transform": "spline", **SMALL},
    "row of pairs": {"variant": "autoregressive", "token_size": 2, **SMALL},
}
SQUARE = {
    "pixels": Real((Axis("row", 4, variable=False), Axis("column", 8, variable=False)), channels=(1,)),
    "kind": Real(),
}
#: Layouts and flows; of squares those that arrange them anew.
EVERY = {f"{layout}-{flow}": (LAYOUTS[layout], FLOWS[flow]) for layout in LAYOUTS for flow in FLOWS} | {
    "squares-scales": (SQUARE, {"transform": "affine", "scales": 3}),
    "squares-patches": (SQUARE, {"variant": "autoregressive", "patch": 4, "token_size": 16, **SMALL}),
}
every_flow = pytest.mark.parametrize(("layout", "settings"), EVERY.values(), ids=EVERY.keys())


@every_flow
def test_determinants_are_those_of_autograd(layout, settings):
    flow, batch, _ = a_flow(layout, **{"rounds": 2 if "variant" in settings else 1, **settings})
    variant, row = flow.variant, batch.take(torch.tensor([0]))
    elements = PackedElements.of_batch(layout, row)
    states = elements.pack_batch(row)
    for layer, own in zip(variant._all(), variant._along(elements), strict=False):
        exists, behind = own.join(own.exists)[0], layer.after(own)
        left, x = behind.join(behind.exists)[0], own.join(states) + 0.1

        def result(values, layer=layer, x=x, own=own, exists=exists, behind=behind, left=left):
            full = x[0].masked_scatter(exists, values)[None]
            return behind.join(layer.map(own.split(full), own, None)[0])[0, left]

        jacobian = torch.autograd.functional.jacobian(result, x[0, exists])
        expected = torch.linalg.slogdet(jacobian).logabsdet
        states, found = layer.map(own.split(torch.where(exists, x, 0.0)), own, None)
        assert found.item() == pytest.approx(float(expected), abs=1e-9)


@every_flow
def test_the_inverse_is_the_inverse(layout, settings):
    flow, batch, _ = a_flow(layout, **settings)
    elements = PackedElements.of_batch(layout, batch)
    x = elements.pack_batch(batch)
    z, forth = flow.variant._map(x, elements, None)
    again, back = flow.variant._unmap(z, elements, None)
    assert not torch.allclose(torch.cat([*z.values()], 1).sort(1).values, elements.join(x).sort(1).values, atol=0.1)
    assert torch.allclose(elements.join(again), elements.join(x), atol=1e-5)
    assert torch.allclose(forth, -back, atol=1e-5)


def test_no_order_of_unordered_elements_is_preferred():
    for name in ("set", "graph"):
        space = LAYOUTS[name]
        flow, batch, rng = a_flow(space)
        rows = batch.sizes["node"] == 3
        batch, rng = batch.take(rows), rng.take(rows.numpy())
        other = moved(space, batch, {"node": torch.tensor([2, 0, 1])})
        first, second = (flow.log_density(one, rng=rng).value for one in (batch, other))
        assert torch.allclose(first, second, atol=1e-9)


@pytest.mark.parametrize("settings", FLOWS.values(), ids=FLOWS.keys())
def test_padding_leaves_exact_densities_alone(settings):
    hour = Axis("hour", 9, minimum=2)
    space = {"hours": Real((hour,), channels=(3,)), "between": Real((hour, hour), symmetric=True), "mean": Real()}
    flow, batch, rng = a_flow(space, **settings)
    first, second = (flow.log_density(one, rng=rng).value for one in (batch, padded(space, batch)))
    assert torch.allclose(first, second, atol=1e-9)


def test_splines_are_those_of_zuko():
    torch.manual_seed(0)
    parameters = torch.randn(50, Knots.count(6, tails=True), dtype=torch.float64)
    knots = Knots.of(parameters, -3.0, 3.0, tails=True)
    theirs = zuko.transforms.MonotonicRQSTransform(
        parameters[:, :6], parameters[:, 6:12], parameters[:, 12:], bound=3.0
    )
    theirs.horizontal, theirs.vertical, theirs.derivatives = knots.x, knots.y, knots.slope
    x = 2 * torch.randn(50, dtype=torch.float64)
    expected, slope = theirs.call_and_ladj(x)
    found, log_slope = knots.map(x)
    assert torch.allclose(found, expected, atol=1e-9)
    assert torch.allclose(log_slope, slope, atol=1e-9)
    assert torch.allclose(knots.unmap(expected)[0], x, atol=1e-9)


def test_the_density_of_a_coupling_is_that_of_zuko():
    space = {"x": Real(channels=(4,))}
    flow, batch, rng = a_flow(space, rounds=1, transform="affine")
    variant, x = flow.variant, batch.fields["x"]
    mean, scale = (own["x"].data for own in (variant.standardisation.mean, variant.standardisation.log_scale))
    layers = [AffineTransform(-mean * (-scale).exp(), (-scale).exp(), event_dim=1)]
    elements = PackedElements.of_batch(space, batch)
    for coupling in variant.layers:
        mask = coupling._packed("x", coupling._mask("x", elements))

        def meta(kept, coupling=coupling, mask=mask):
            full = torch.zeros_like(x).index_copy(1, (~mask).nonzero().squeeze(1), kept)
            read = coupling._read({"x": full}, {"x": mask}, elements)
            raw = coupling.network(read, None, None)["x"].unflatten(-1, (-1, 2))[:, mask]
            return AffineTransform(raw[..., 1], (3 * torch.tanh(raw[..., 0] / 3)).exp(), event_dim=1)

        layers.append(zuko.transforms.CouplingTransform(meta, ~mask))
    transform = zuko.transforms.ComposedTransform(*layers)
    base = zuko.distributions.DiagNormal(torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64))
    expected = zuko.distributions.NormalizingFlow(transform, base).log_prob(x)
    assert torch.allclose(flow.log_density(batch, rng=rng).value, expected, atol=1e-9)


def test_the_density_of_an_autoregressive_flow_is_that_of_zuko():
    space = {"x": Real(channels=(3,))}
    flow, batch, rng = a_flow(space, variant="autoregressive", transform="affine", **SMALL)
    variant, x = flow.variant, batch.fields["x"]
    mean, scale = (own["x"].data for own in (variant.standardisation.mean, variant.standardisation.log_scale))
    layers = [AffineTransform(-mean * (-scale).exp(), (-scale).exp(), event_dim=1)]
    for block in variant.layers:

        def meta(values, block=block):
            elements = PackedElements.of(space, {}, {}, len(values), values.device)
            row = Row.of(block.tokens, elements, block.backwards)
            outputs = block.reader(row.read({"x": values}), block.reader.questions(row, None))
            outputs = outputs.flip(1) if block.backwards else outputs
            return AffineTransform(outputs[..., 1], (3 * torch.tanh(outputs[..., 0] / 3)).exp(), event_dim=1)

        layers.append(zuko.transforms.AutoregressiveTransform(meta, passes=3))
    base = zuko.distributions.DiagNormal(torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))
    expected = zuko.distributions.NormalizingFlow(zuko.transforms.ComposedTransform(*layers), base)
    assert torch.allclose(flow.log_density(batch, rng=rng).value, expected.log_prob(x), atol=1e-9)
    z = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found, _ = variant._unmap({"x": z}, PackedElements.of(space, {}, {}, 4, z.device), None)
    assert torch.allclose(found["x"], expected.transform.inv(z), atol=1e-9)


@pytest.mark.parametrize("size", [1, 2])
def test_a_number_is_given_the_tokens_before_its_own(size):
    """Forwards and backwards: the Jacobian of each block is a triangle of blocks."""
    space = {"x": Real((Axis("n", 3, variable=False),), channels=(2,))}
    flow, batch, _ = a_flow(space, variant="autoregressive", token_size=size, **SMALL)
    row = batch.take(torch.tensor([0]))
    elements = PackedElements.of_batch(space, row)
    for block in flow.variant.layers:
        jacobian = torch.autograd.functional.jacobian(
            lambda x, block=block: block.map({"x": x}, elements, None)[0]["x"][0], elements.pack_batch(row)["x"]
        )
        number = torch.arange(6) // size
        before = number[None] > number[:, None] if block.backwards else number[None] < number[:, None]
        assert torch.equal(jacobian[:, 0] != 0, before | torch.eye(6, dtype=torch.bool))


def test_a_patch_is_one_place_and_half_of_each_middle_scale_is_finished():
    flow, batch, _ = a_flow(SQUARE, scales=3, transform="affine")
    elements = PackedElements.of_batch(SQUARE, batch)
    last = flow.variant._along(elements)[-1]
    shapes = {name: (tuple(last.places[name].shape[1:]), field.channels) for name, field in last.space.items()}
    assert shapes == {
        "pixels": ((1, 2), (8,)),
        "kind": ((), ()),
        "pixels, finished at scale 1": ((2, 4), (2,)),
    }
    squeezed, _ = Squeeze(SQUARE, 2).map(elements.pack_batch(batch), elements, None)
    first = squeezed["pixels"].view(len(batch), 2, 4, 4)[:, 1, 2]
    assert torch.equal(first, batch.fields["pixels"][:, 2:4, 4:6].flatten(1))
    with pytest.raises(UnsupportedSpace, match="fixed lengths that 2 divides, and there are n of 3"):
        a_flow_of({"x": Real((Axis("n", 3, variable=False),), channels=(2,))}, scales=2)
    with pytest.raises(UnsupportedSpace, match=r"2400 tokens, more than the 2048.*raise family.token_size"):
        a_flow_of({"x": Real((Axis("n", 1200),), channels=(2,))}, variant="autoregressive")


def test_weights_under_the_name_that_layers_once_had_are_taken():
    flow, batch, rng = a_flow(LAYOUTS["record"])
    old = {name.replace("variant.layers.", "variant.couplings."): own for name, own in flow.state_dict().items()}
    other, _, _ = a_flow(LAYOUTS["record"], seed=1)
    other.load_state_dict(old)
    assert torch.equal(other.log_density(batch, rng=rng).value, flow.log_density(batch, rng=rng).value)


def test_every_pair_of_channels_is_parted_by_some_half():
    space = {"x": Real(channels=(11,))}
    parted = torch.stack([split["x"]((), 11) for split in halves(space)])
    apart = (parted[:, :, None] != parted[:, None, :]).any(0)
    assert bool((apart | torch.eye(11, dtype=torch.bool)).all())


@pytest.mark.parametrize("transform", [Affine(), Spline(5, 3.0)], ids=["affine", "spline"])
def test_parameters_of_zero_mean_the_identity(transform):
    x = torch.linspace(-5, 5, 21, dtype=torch.float64)
    y, log_slope = transform.map(x, torch.zeros(21, transform.count, dtype=torch.float64))
    assert torch.allclose(y, x, atol=1e-12)
    assert torch.allclose(log_slope, torch.zeros(()).double(), atol=1e-12)


MIXED = {
    "kind": Categorical(classes=5),
    "level": Real((Axis("n", 2, variable=False),), levels=4),
    "pair": Categorical((_NODE, _NODE), classes=3, symmetric=True),
    "one": Categorical(classes=1),
    "height": Real(),
}


@pytest.mark.parametrize("name", DEQUANTISATIONS)
def test_dequantisation_comes_back_and_counts_its_volume(name):
    case = Case.of("mixed", MIXED)
    batch, rng = in_float64(case.batch), Rng(0, range(len(case.batch)))
    torch.manual_seed(0)
    own = Dequantisation(MIXED, a_build(MIXED), name)
    shake(own)
    own = own.double()
    originals = PackedElements.of_batch(MIXED, batch)
    elements = own.elements(originals)
    values = originals.pack_batch(batch)
    learned = own.learned(batch, None, elements)
    states, volume = own(values, learned, ElementNoise(elements, rng))
    for field, back in own.values(states).items():
        assert torch.equal(back[originals.exists[field]], values[field][originals.exists[field]])

    class Shifted(ElementNoise):
        """The same noise a little higher."""

        def uniform(self, name, purpose, step=0):
            return super().uniform(name, purpose, step) + 1e-7

    further, _ = own(values, learned, Shifted(elements, rng))
    expected = torch.zeros_like(volume)
    for field in own.codes:
        slope = ((further[field] - states[field]) / 1e-7).log()
        expected += torch.where(elements.exists[field], slope, 0.0).sum(1)
    assert torch.allclose(volume, expected, atol=1e-3)


@pytest.mark.parametrize("name", DEQUANTISATIONS)
def test_bounds_approach_what_is_drawn(name):
    """Importance weights are unbiased: over few samples their mean is the frequency with which samples come."""
    space = {"a": Categorical(classes=4), "b": Real(levels=2)}
    torch.manual_seed(1)
    flow = Flow(space, a_build(space), FlowConfig(rounds=1, bins=4, dequantisation=name)).double().eval()
    drawn = flow.sample(2000, rng=Rng(0, range(2000))).batch
    every = in_float64(enumerate_space(space)[0][0])
    copies = every.take(torch.arange(8).repeat(200))
    bound = flow.log_density(copies, rng=Rng(0, range(1600)), draws=8)
    found = [str(sample) for sample in separate(space, drawn)]
    shares = torch.tensor([found.count(str(key)) / 2000 for key in separate(space, every)], dtype=torch.float64)
    weights = bound.value.exp().view(200, 8)
    doubt = 4 * (weights.var(0) / 200 + shares * (1 - shares) / 2000).sqrt()
    assert bool(((weights.mean(0) - shares).abs() < doubt).all())
    assert float(doubt.median()) < 0.05
    assert bound.kind is Density.LOWER_BOUND
    one = flow.log_density(copies, rng=Rng(0, range(1600)), draws=1)
    assert one.standard_error is None
    assert float(one.value.sum()) < float(bound.value.sum())


def test_a_flow_learns_two_moons():
    """The density of a curved distribution, known up to the fit: far above that of the best normal distribution."""
    torch.manual_seed(0)
    angle, side = math.pi * torch.rand(128), torch.randint(2, (128,)) * 2 - 1
    x = torch.stack([side * angle.cos() + 0.5 * side, side * angle.sin() - 0.25 * side], 1) + 0.05 * torch.randn(128, 2)
    space = {"x": Real(channels=(2,))}
    flow = Flow(space, a_build(space), FlowConfig(rounds=2))
    batch = Batch({"x": x}, {})
    flow.initialise(batch, Case.of("moons", space).statistics)
    optimiser = torch.optim.Adam(flow.parameters(), lr=1e-2)
    for step in range(60):
        optimiser.zero_grad()
        flow.loss(batch, None, Rng(step, range(128))).total.mean().backward()
        optimiser.step()
    covariance = torch.cov(x.T)
    normal = -0.5 * torch.logdet(2 * math.pi * math.e * covariance)
    assert float(flow.eval().log_density(batch).value.mean()) > float(normal) + 0.5


def test_what_a_coupling_cannot_do_is_said():
    with pytest.raises(UnsupportedSpace, match="one channel"):
        a_flow_of({"weight": Real((_NODE,))})
    with pytest.raises(UnsupportedSpace, match="rotate"):
        a_flow_of(SPACES["cloud"], variant="coupling")
    with pytest.raises(ValueError, match="variant must be one of coupling"):
        a_flow_of(LAYOUTS["record"], variant="nothing")
    with pytest.raises(ValueError, match="rounds must be at least 1"):
        FlowConfig(rounds=0)
    flow, batch, rng = a_flow(LAYOUTS["record"])
    given = {"height": torch.ones(len(batch), dtype=torch.bool)}
    with pytest.raises(ValueError, match="cannot keep known parts"):
        flow.sample(len(batch), rng=rng, known=Partial(batch, given))


def a_flow_of(space, **settings):
    return Flow(space, a_build(LAYOUTS["set"]), FlowConfig(**settings))


def test_temperature_narrows_samples():
    flow, _, _ = a_flow(LAYOUTS["record"])
    wide, narrow = (flow.sample(200, rng=Rng(0, range(200)), temperature=temperature) for temperature in (1.0, 0.1))
    assert wide.log_density is not None
    assert narrow.log_density is None
    assert narrow.batch.fields["height"].std() < wide.batch.fields["height"].std() / 2


@pytest.mark.parametrize("check", FAMILY_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("over", "rounds"),
    [("set", 2), ("numbers", 1)],
)
def test_the_kit(over, rounds, check):
    """Of autoregressive flows; that of couplings is part of that of all families."""
    config = FlowConfig(variant="autoregressive", rounds=rounds, bins=4, draws=2, **SMALL)
    trial = FamilyTrial(Flow, config, Case.of(over, SPACES[over]))
    try:
        check(trial)
    except Skipped as reason:
        pytest.skip(str(reason))


def test_a_condition_over_the_places_of_a_sample_is_read_place_by_place():
    axis = Axis("n", 3, variable=False)
    space, condition = {"x": Real((axis,))}, {"low": Real((axis,))}
    config = FlowConfig(variant="autoregressive", rounds=1, **SMALL)
    torch.manual_seed(0)
    flow = Flow(space, a_build(space), config, condition).double()
    shake(flow)
    x, low = torch.zeros(1, 3, dtype=torch.float64), torch.zeros(2, 3, dtype=torch.float64)
    low[1, 2] = 1.0
    given = torch.ones(2, 3, dtype=torch.bool)
    asked = Partial(Batch({"low": low}, {}), {"low": given})
    elements = PackedElements.of(space, {}, {"n": 3}, 2, x.device)
    first, second = flow.variant.layers[0].map({"x": x.expand(2, 3)}, elements, asked)[0]["x"]
    assert ((first - second).abs() > 1e-6).tolist() == [False, False, True]
