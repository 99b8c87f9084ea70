"""A condition over the axes of the samples, such as a picture of few pixels or a molecule without its places.

Letters in shapes: B batch, N elements.
"""

import math

import pytest
import torch

from molgen import registry
from molgen.backbone import make_build
from molgen.batch import Batch, Partial
from molgen.config import make_settings
from molgen.data.conditions import drop_at_random
from molgen.data.statistics import measure
from molgen.family import Density
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Real

AXIS = Axis("n", 5)
SPACE = {"x": Categorical((AXIS,), classes=3)}
CONDITION = {"low": Real((AXIS,)), "kind": Categorical(classes=2)}
FAMILIES = {
    "autoregressive": ("autoregressive", {}),
    "vae one shot": ("vae", {"slots": 2, "channels": 2}),
    "vae autoregressive": ("vae", {"slots": 2, "channels": 2, "decoder": "autoregressive"}),
    "diffusion": ("diffusion", {"steps": 3, "samples": 4}),
    "gan": ("gan", {"latent": 4}),
}
ROWS = 24
SIZES = torch.tensor([2, 4, 3, 1] * (ROWS // 4))


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES.keys())
def family(request):
    name, settings = request.param
    cls, network = registry.get("family", name), registry.get("backbone", "transformer")
    build = make_build(network, make_settings(network.Config, {"width": 16, "layers": 1, "heads": 2}, ""), CONDITION)
    torch.manual_seed(0)
    made = cls(SPACE, build, make_settings(cls.Config, settings, ""), CONDITION)
    batch = Batch({"x": torch.ones(8, 5, dtype=torch.long)}, {"n": torch.full((8,), 5)})
    made.initialise(batch, measure(SPACE, [batch]))
    made.set_statistics(measure(SPACE, [batch]))
    return made.eval()


def asked(sizes=SIZES):
    given = torch.arange(5) < sizes[:, None]
    fields = {"low": torch.where(given, 0.5, 0.0), "kind": torch.ones(len(sizes), dtype=torch.long)}
    return Partial(Batch(fields, {"n": sizes}), {"low": given, "kind": torch.ones(len(sizes), dtype=torch.bool)})


def test_samples_have_the_sizes_of_their_condition(family):
    """All of the training data have another size."""
    drawn = family.sample(ROWS, condition=asked(), rng=Rng(0, range(ROWS))).batch
    assert torch.equal(drawn.sizes["n"], SIZES)
    free = family.sample(ROWS, rng=Rng(0, range(ROWS))).batch
    assert not torch.equal(free.sizes["n"], SIZES)


def test_another_size_than_that_of_the_condition_is_impossible(family):
    condition, rng = asked(), Rng(0, range(ROWS))
    batch = Batch({"x": torch.zeros(ROWS, 5, dtype=torch.long)}, {"n": torch.full((ROWS,), 3)})
    found = family.log_density(batch, condition, rng)
    if found.kind is Density.CRITIC:
        pytest.skip("the value of a critic is no density, and says nothing of sizes")
    assert found.kind >= Density.LOWER_BOUND
    assert torch.equal(found.value > -math.inf, SIZES == 3)
    with pytest.raises(ValueError, match="condition"):
        family.sample(ROWS, condition=condition, rng=rng, sizes={"n": torch.full((ROWS,), 3)})


def test_training_reads_it_and_does_without_it(family):
    batch = Batch({"x": torch.where(torch.arange(5) < SIZES[:, None], 1, 0)}, {"n": SIZES})
    condition, rng = asked(), Rng(0, range(ROWS))
    given = family.loss(batch, condition, rng).total
    hidden = drop_at_random(condition, 0.5, rng, 0)
    some = family.loss(batch, hidden, rng).total
    none = family.loss(batch, None, rng).total
    assert all(bool(torch.isfinite(loss).all()) for loss in (given, some, none))
    # Nothing has to be paid for a size that is given.
    assert given.mean() < none.mean()
    nothing = ~hidden.given["low"].any(1) & ~hidden.given["kind"]
    assert nothing.any()
    torch.testing.assert_close(some[nothing], none[nothing], rtol=1e-4, atol=1e-4)


def test_a_condition_over_axes_is_dropped_as_a_whole():
    hidden = drop_at_random(asked(), 0.5, Rng(0, range(ROWS)), 0)
    kept = hidden.given["low"].any(1)
    assert 0 < kept.sum() < ROWS
    assert torch.equal(hidden.given["low"][kept], asked().given["low"][kept])
