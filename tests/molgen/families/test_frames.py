"""Coordinates in the frame of the first three points, and the families that tell points by them."""

import pytest
import torch

from molgen.batch import pack
from molgen.errors import UnsupportedSpace
from molgen.families.parts.elements import PackedElements
from molgen.families.parts.frames import Frames
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Real
from molgen.testing.batches import rotation, turned
from molgen.testing.fixtures import FamilyTrial, tiny_config
from molgen.testing.spaces import SPACES, Case

ATOM = Axis("atom", 4, ordered=False)
AT = Real((ATOM,), channels=(3,), centred=True, rotates=True)


def points(count, rows, seed=0, scale=1.0):
    space = {"at": AT}
    elements = PackedElements.of(
        space, {"atom": torch.full((rows,), count)}, {"atom": count}, rows, torch.device("cpu")
    )
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 3 * (count - 1), generator=generator, dtype=torch.float64) * scale
    return x, elements.unpack_batch({"at": x})


def shape(at):
    """All distances, and the volumes of all fours with their sign."""
    volumes = torch.linalg.det(at[:, 1:4] - at[:, :1]) if at.shape[1] > 3 else torch.zeros(len(at))
    return torch.cdist(at, at), volumes


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_points_come_back_turned_but_not_mirrored(count):
    frames = Frames({"at": AT})
    _, batch = points(count, 50)
    told = frames.to_coordinates(batch)
    for rng in (None, Rng(0, range(50))):
        for first, second in zip(
            shape(batch.fields["at"]), shape(frames.to_points(told, rng).fields["at"]), strict=True
        ):
            assert torch.allclose(first, second.to(first), atol=1e-9)


def test_coordinates_do_not_turn_and_tell_a_mirror_image():
    frames, turn = Frames({"at": AT}), rotation(2)
    _, batch = points(4, 20)
    told = frames.to_coordinates(batch).fields["at"]
    same = frames.to_coordinates(turned({"at": AT}, batch, turn)).fields["at"]
    other = frames.to_coordinates(turned({"at": AT}, batch, -turn)).fields["at"]
    assert torch.allclose(told, same, atol=1e-9)
    assert torch.allclose(told[:, 3, 2], -other[:, 3, 2], atol=1e-9)


def test_points_on_a_line_and_at_one_place_have_coordinates():
    frames = Frames({"at": AT})
    _, batch = points(4, 3)
    at = torch.zeros(3, 4, 3, dtype=torch.float64)
    at[0, :, 0] = torch.tensor([-1.5, -0.5, 0.5, 1.5])
    at[1, :, 2] = torch.tensor([-1.0, 1.0, 1.0, -1.0])
    told = frames.to_coordinates(batch.with_fields({"at": at}))
    assert torch.isfinite(told.fields["at"]).all()
    assert torch.isfinite(frames.log_volume(told)).all()
    assert torch.allclose(torch.cdist(at, at), torch.cdist(*[frames.to_points(told).fields["at"]] * 2), atol=1e-5)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_volume_makes_a_density_of_coordinates_one_of_points(count):
    """Normal coordinates, integrated over points by importance sampling."""
    frames, scale = Frames({"at": AT}), 0.9
    x, batch = points(count, 200_000, scale=scale)
    told = frames.to_coordinates(batch)
    packed = pack(frames.coordinates, told)["at"]
    normal = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), 1.0)
    log_p = torch.where(packed.mask, normal.log_prob(packed.values), 0.0).sum(1) + frames.log_volume(told)
    weights = (log_p - torch.distributions.Normal(0.0, scale).log_prob(x).sum(1)).exp()
    assert int(packed.mask[0].sum()) == max(1, 3 * count - 6)
    error = float(weights.std()) / len(weights) ** 0.5
    assert float(weights.mean()) == pytest.approx(1, abs=4 * error + 0.02)


def trial(family, **settings):
    from molgen import registry

    cls = registry.get("family", family)
    own = type(cls.__name__, (cls,), {"molgen_tiny": {**cls.molgen_tiny, **settings}})
    return FamilyTrial(own, tiny_config(own), Case.of("molecule", SPACES["molecule"]))


@pytest.mark.parametrize(
    ("family", "settings"), [("autoregressive", {}), ("vae", {}), ("vae", {"decoder": "autoregressive"})]
)
def test_densities_and_losses_do_not_depend_on_orientation(family, settings):
    own = trial(family, **settings)
    made, turn = own.family(), rotation(4)
    other = turned(own.space, own.batch, turn)
    for value in (lambda b: made.loss(b, None, own.rng).total, lambda b: made.log_density(b, rng=own.rng).value):
        assert torch.allclose(value(own.batch).double(), value(other).double(), atol=1e-3)


def test_samples_are_turned_at_random():
    own = trial("autoregressive")
    drawn = own.family().sample(400, rng=Rng(0, range(400)), sizes={"atom": torch.full((400,), 4)}).batch
    apart = drawn.fields["places"][:, 1] - drawn.fields["places"][:, 0]
    mean = (apart / apart.norm(dim=1, keepdim=True)).mean(0)
    assert float(mean.norm()) < 0.2


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"at": Real((ATOM,), channels=(3,), rotates=True)}, "are not points in space"),
        ({"at": AT, "was": AT}, "only one field of points"),
    ],
)
def test_what_has_no_frame_is_refused(space, message):
    with pytest.raises(UnsupportedSpace, match=message):
        Frames(space)


def test_a_matched_decoder_says_why_it_takes_no_points():
    from molgen.testing.checks import Skipped

    with pytest.raises(Skipped, match=r"a matched decoder finds its own order"):
        trial("vae", decoder="matched").family()


def test_spaces_without_points_stay_as_they_are():
    space = {"x": Real((ATOM,)), "y": Categorical((ATOM,), classes=2)}
    assert Frames(space).coordinates == space
