"""Families over points in space: losses do not depend on how space is turned, and samples turn with their noise."""

from dataclasses import replace

import pytest
import torch

from molgen import registry
from molgen.batch import Batch, Partial
from molgen.families.diffusion.gaussian import Gaussian
from molgen.families.flow.numbers import NumberSpace
from molgen.families.flow.pairing import aligned
from molgen.families.flow.variant import Items
from molgen.families.parts.elements import ElementNoise, PackedElements
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Real
from molgen.testing import families
from molgen.testing.batches import rotation, turned
from molgen.testing.fixtures import FamilyTrial, tiny_config
from molgen.testing.spaces import SPACES, Case

ATOM = Axis("atom", 6, ordered=False)
AT = {"at": Real((ATOM,), channels=(3,), centred=True, rotates=True)}


def trial(family, space="molecule", **settings):
    cls = registry.get("family", family)
    own = type(cls.__name__, (cls,), {"molgen_tiny": {**cls.molgen_tiny, **settings}})
    return FamilyTrial(own, tiny_config(own), Case.of(space, SPACES[space]))


def turning(noise, turn):
    """Packed noise of points, (B, 3 k), in a space that is turned."""
    return (noise.unflatten(1, (-1, 3)) @ turn.T.to(noise)).flatten(1)


@pytest.fixture
def turned_noise(monkeypatch):
    """Turns the noise that samples are made from."""

    def apply(turn):
        normal, prior = ElementNoise.normal, Gaussian.prior

        def of_flow(self, name, purpose, step=0):
            found = normal(self, name, purpose, step)
            return turning(found, turn) if self.elements.space[name].rotates else found

        def of_diffusion(self, noise):
            return turning(prior(self, noise), turn)

        monkeypatch.setattr(ElementNoise, "normal", of_flow)
        monkeypatch.setattr(Gaussian, "prior", of_diffusion)

    return apply


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("diffusion", {}),
        ("diffusion", {"self_conditioning": True, "categorical": "marginal"}),
        ("flow", {}),
        ("flow", {"pairing": "aligned"}),
    ],
)
def test_samples_turn_with_their_noise(family, settings, turned_noise):
    own, turn, rng = trial(family, **settings), rotation(1), Rng(0, range(8))
    made = own.family().double()
    before = made.sample(8, rng=rng).batch
    turned_noise(turn)
    after = made.sample(8, rng=rng).batch
    expected = turned(own.space, before, turn)
    assert torch.equal(expected.fields["types"], after.fields["types"])
    torch.testing.assert_close(
        expected.fields["places"].double(), after.fields["places"].double(), atol=1e-5, rtol=1e-4
    )


def test_the_exact_density_of_a_flow_does_not_depend_on_orientation_and_mirrors_differ():
    own = trial("flow", "cloud")
    made = own.family().double()
    batch = own.batch.with_fields({name: tensor.double() for name, tensor in own.batch.fields.items()})
    density = lambda b: made.log_density(b, rng=own.rng).value  # noqa: E731
    value = density(batch)
    torch.testing.assert_close(value, density(turned(own.space, batch, rotation(1))), atol=1e-8, rtol=1e-8)
    mirrored = density(turned(own.space, batch, -rotation(1)))
    assert bool((value - mirrored).abs().max() > 1e-6)


def test_the_value_of_a_critic_does_not_depend_on_orientation():
    own = trial("gan")
    made = own.family().double()
    batch = own.batch.with_fields({n: t.double() if t.is_floating_point() else t for n, t in own.batch.fields.items()})
    first, second = (made.log_density(b).value for b in (batch, turned(own.space, batch, rotation(1))))
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)


SELF_CONDITIONED = [
    families.gradients_reach_every_parameter,
    families.loss_is_per_item,
    families.padding_changes_nothing,
    families.weights_come_back,
    families.samples_repeat_with_their_seed,
    families.known_parts_are_kept,
    families.log_density_is_as_declared,
]


@pytest.mark.parametrize("check", SELF_CONDITIONED, ids=lambda check: check.__name__)
@pytest.mark.parametrize("space", ["molecule", "graph"])
def test_self_conditioning_keeps_the_guarantees(space, check):
    check(trial("diffusion", space, self_conditioning=True))


def test_earlier_predictions_are_read_in_half_of_training_and_in_sampling():
    own = trial("diffusion", self_conditioning=True)
    family, seen = own.family(), []
    read = family.denoiser._read
    family.denoiser._read = lambda *args: seen.append(args[3]) or read(*args)
    family.loss(own.batch, None, own.rng)
    first, second = seen
    assert first is None
    hidden = {float(row.abs().max()) == 0 for row in second["places"]}
    assert hidden == {True, False}
    seen.clear()
    family.sample(2, rng=Rng(0, range(2)))
    assert not seen[0]
    assert all(seen[1:])


# --- alignment --------------------------------------------------------------------------------------


def items(sizes, seed=0):
    sizes = {"atom": torch.tensor(sizes)}
    elements = PackedElements.of(AT, sizes, {"atom": 6}, len(sizes["atom"]), torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)
    exists = elements.exists["at"]
    x0, noise = (torch.randn(exists.shape, generator=generator, dtype=torch.float64) * exists for _ in range(2))
    return Items(Batch({}, sizes), elements, None, Rng(0, range(len(exists)))), x0, noise


def test_aligned_noise_is_the_same_points_nearer_to_the_sample():
    given, x0, noise = items([6, 5, 3, 1])
    found = aligned(given, x0, noise)
    assert bool(((found - x0).square().sum(1) <= (noise - x0).square().sum(1) + 1e-9).all())
    before, after = (given.elements.unpack("at", n) for n in (noise, found))
    for row, size in enumerate([6, 5, 3, 1]):
        distances = [torch.cdist(p[row, :size], p[row, :size]).flatten().sort().values for p in (before, after)]
        torch.testing.assert_close(*distances, atol=1e-6, rtol=0)


def test_points_that_a_condition_tells_apart_keep_their_order():
    given, x0, noise = items([6, 5])
    exists = given.elements.places["at"]
    asked = Partial(Batch({"kind": exists.long()}, given.batch.sizes), {"kind": exists})
    of_samples = Partial(Batch({"kind": torch.zeros(2)}, {}), {"kind": torch.ones(2, dtype=torch.bool)})
    found, free, same = (
        aligned(replace(given, condition=condition), x0, noise) for condition in (asked, None, of_samples)
    )
    before, after = (given.elements.unpack("at", n) for n in (noise, found))
    torch.testing.assert_close(torch.cdist(before, before), torch.cdist(after, after), atol=1e-6, rtol=0)
    assert bool(((found - x0).square().sum(1) <= (noise - x0).square().sum(1) + 1e-9).all())
    assert torch.equal(free, same)
    assert not torch.allclose(free, found)


def test_noise_that_is_a_turned_copy_of_the_sample_is_found():
    given, x0, _ = items([6, 6])
    points = given.elements.unpack("at", x0)
    small = torch.linalg.matrix_exp(0.2 * (rotation() - rotation().T))
    noise = given.elements.pack("at", points[:, [1, 0, 2, 3, 5, 4]] @ small)
    torch.testing.assert_close(aligned(given, x0, noise), x0, atol=1e-6, rtol=0)


def test_alignment_turns_with_the_sample():
    given, x0, noise = items([6, 4])
    turn = rotation(3)
    found = aligned(given, turning(x0, turn), turning(noise, turn))
    torch.testing.assert_close(found, turning(aligned(given, x0, noise), turn), atol=1e-6, rtol=0)


# --- classes as numbers -------------------------------------------------------------------------------


def test_numbers_of_classes_and_levels_come_back_and_their_noise_is_a_density():
    space = {"kind": Categorical((ATOM,), classes=3), "level": Real((ATOM,), levels=4)}
    numbers = NumberSpace(space)
    rows = 4000
    elements = PackedElements.of(space, {"atom": torch.full((rows,), 6)}, {"atom": 6}, rows, torch.device("cpu"))
    kind = torch.arange(6).repeat(rows, 1) % 3
    level = (2 * (torch.arange(6).repeat(rows, 1) % 4).double() + 1) / 4 - 1
    noise = ElementNoise(numbers.elements(elements), Rng(0, range(rows)))
    found, _ = numbers.numbers({"kind": kind, "level": level}, noise)
    back = numbers.values(found)
    assert torch.equal(back["kind"], kind)
    assert torch.equal(back["level"].double(), level)
    # The mean of 1 / q over what lies in an interval is its length.
    y, surprise = numbers.readings["kind"].numbers(kind, noise.uniform("kind", "as numbers"))
    inside = (y.abs() > 0.8) & (y.abs() < 1.2)
    assert float((surprise.exp() * inside).mean()) == pytest.approx(0.4, abs=0.02)
